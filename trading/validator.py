"""Checks of an analysis before anything is done with it: what fails one becomes a HOLD that says why.

The analyst only proposes. Six checks are those of the replaced system, in its order (`checks/indicators.py`); the
others are about prices (`checks/prices.py`). A BUY is refused where a number it needs is missing; a SELL is not, since
leaving matters more.
"""

from __future__ import annotations

from dataclasses import replace

from trading.checks.case import Case, Check, Rejection
from trading.checks.indicators import fake_breakout, low_confidence, market_risk, rsi_extreme, trend, volatility
from trading.checks.prices import price_distance, quote_moved, range_bounds, range_order
from trading.indicators import Indicators
from trading.market_risk import MarketRisk
from trading.signals import Language
from trading.thresholds import Thresholds
from trading.ticks import check_quote
from trading.types import Analysis, Decision, PriceRange, PriceRanges, Quote

__all__ = ["CHECKS", "PRICE_CHECKS", "Thresholds", "rejection", "validate"]

# the storage keeps one to three; the last is then the reason of the rejection
MAXIMUM_REASONS = 3

# bounds first: no other check can read ranges that are none
CHECKS: tuple[Check, ...] = (
    range_bounds,
    rsi_extreme,
    volatility,
    market_risk,
    fake_breakout,
    trend,
    low_confidence,
    range_order,
    price_distance,
    quote_moved,
)

PRICE_CHECKS: tuple[Check, ...] = (range_bounds, range_order, price_distance, quote_moved)


def validate(
    analysis: Analysis,
    indicators: Indicators | None,
    quote: Quote,
    market: MarketRisk | None,
    *,
    thresholds: Thresholds | None = None,
    checks: tuple[Check, ...] | None = None,
    language: Language = "ko",
) -> Analysis:
    """The analysis itself, or a HOLD with the reason as its last one and the rule in `rejected_by`.

    `checks` are all by default; those of `PRICE_CHECKS` hold for an analyst of rules as well, whose signals are made
    of the indicators already.

    Ranges that are no ranges at all cannot be stored: they become the quoted price. Raises `BadQuote`.
    """
    check_quote(quote)
    found = rejection(Case(analysis, indicators, quote, market, thresholds or Thresholds()), checks or CHECKS)
    if found is None:
        return analysis
    point = PriceRange(quote.price, quote.price)
    return replace(
        analysis,
        decision=Decision.HOLD,
        reasons=(*analysis.reasons[: MAXIMUM_REASONS - 1], found.texts[language]),
        ranges=PriceRanges(point, point, point, point) if found.rule == "range_bounds" else analysis.ranges,
        rejected_by=found.rule,
    )


def rejection(case: Case, checks: tuple[Check, ...]) -> Rejection | None:
    """The first of `checks` that refuses; a HOLD needs only ranges that can be stored."""
    wanted = (range_bounds,) if case.analysis.decision is Decision.HOLD else checks
    return next((found for check in wanted if (found := check(case)) is not None), None)
