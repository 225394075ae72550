"""What a check looks at, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from trading.indicators import Indicators
from trading.market_risk import MarketRisk
from trading.signals import Language
from trading.thresholds import Thresholds
from trading.types import Analysis, Decision, Quote


@dataclass(frozen=True, slots=True)
class Case:
    """What a check may look at; `indicators` and `market` are None where they could not be had."""

    analysis: Analysis
    indicators: Indicators | None
    quote: Quote
    market: MarketRisk | None
    thresholds: Thresholds

    @property
    def buying(self) -> bool:
        return self.analysis.decision is Decision.BUY

    def indicator(self, name: str) -> float | None:
        """The finite value of an indicator, or None."""
        value: float | None = getattr(self.indicators, name) if self.indicators else None
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Rejection:
    """The name of the rule and its reason in each language."""

    rule: str
    texts: dict[Language, str]


Check: TypeAlias = Callable[[Case], Rejection | None]


def missing(rule: str, name: str, case: Case) -> Rejection | None:
    """The rejection of a BUY for which a number is missing; a SELL is not refused, since leaving matters more."""
    if not case.buying:
        return None
    return Rejection(rule, {"ko": f"매수 보류: {name} 값 없음", "en": f"No buy: {name} is missing"})


def refused(rule: str, figures: str, ko: str, en: str) -> Rejection:
    """A rejection that says its figures after its reason."""
    return Rejection(rule, {"ko": f"{ko}: {figures}", "en": f"{en[0].upper()}{en[1:]}: {figures}"})
