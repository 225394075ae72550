"""Checks of an analysis before anything is done with it: what fails one becomes a HOLD that says why.

The analyst only proposes. Six checks are those of the replaced system, in its order; the others are about prices.
A BUY is refused where a number it needs is missing; a SELL is not, since leaving matters more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from trading.confidence import MEDIUM
from trading.indicators import Indicators
from trading.market_risk import MarketRisk
from trading.signals import Language
from trading.ticks import check_quote
from trading.types import Analysis, Decision, PriceRange, PriceRanges, Quote

# the storage keeps one to three; the last is then the reason of the rejection
MAXIMUM_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where each check begins to refuse; the first seven are those of the replaced system.

    `atr_percent` is ATR over the close in percent, volumes are multiples of the 20-day mean, `width` is a fraction
    of the middle band. The distances are fractions of the quote: `near` for the appropriate range of the decision's
    side, `far` for its hoped-for dip or target, `moved` for the price the analyst saw.
    """

    buy_max_rsi: float = 70
    sell_min_rsi: float = 30
    buy_max_atr_percent: float = 6
    breakout_min_volume: float = 1.5
    breakout_min_adx: float = 20
    trend_min_adx: float = 25
    trend_min_volume: float = 1.5
    trend_min_width: float = 0.04
    min_confidence: int = MEDIUM
    near: Decimal = Decimal("0.30")
    far: Decimal = Decimal("0.60")
    moved: Decimal = Decimal("0.05")


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


def range_bounds(case: Case) -> Rejection | None:
    """Every range is two finite prices above 0, the lower one first."""
    for name, prices in _ranges(case.analysis):
        if not (prices.min.is_finite() and prices.max.is_finite() and 0 < prices.min <= prices.max):
            return Rejection(
                "range_bounds",
                {
                    "ko": f"가격 범위 오류: {name} {prices.min}~{prices.max}",
                    "en": f"Not a price range: {name} {prices.min} to {prices.max}",
                },
            )
    return None


def rsi_extreme(case: Case) -> Rejection | None:
    """1: no BUY above RSI 70, no SELL below RSI 30."""
    rsi = case.indicator("rsi")
    if rsi is None:
        return _missing("rsi_extreme", "RSI", case)
    if case.buying and rsi > case.thresholds.buy_max_rsi:
        return _refused("rsi_extreme", f"RSI {rsi:.1f} > {case.thresholds.buy_max_rsi:g}", "과매수", "overbought")
    if not case.buying and rsi < case.thresholds.sell_min_rsi:
        return _refused("rsi_extreme", f"RSI {rsi:.1f} < {case.thresholds.sell_min_rsi:g}", "과매도", "oversold")
    return None


def volatility(case: Case) -> Rejection | None:
    """2: no BUY while ATR is above 6 % of the price."""
    if not case.buying:
        return None
    atr, close = case.indicator("atr"), case.indicator("close")
    if atr is None or close is None or close <= 0:
        return _missing("volatility", "ATR", case)
    percent, most = atr / close * 100, case.thresholds.buy_max_atr_percent
    if percent > most:
        return _refused("volatility", f"ATR {percent:.1f} % > {most:g} %", "변동성 과다", "too volatile")
    return None


def market_risk(case: Case) -> Rejection | None:
    """3: no BUY into a falling bitcoin, a flash crash or a bearish RSI divergence."""
    if not case.buying:
        return None
    market = case.market or MarketRisk(None, None, None)
    for risk, ko, en in (
        (market.reference_falling, "비트코인 급락 위험", "bitcoin is falling"),
        (market.flash_crash, "급락 발생", "flash crash"),
        (market.bearish_divergence, "RSI 하락 다이버전스", "bearish RSI divergence"),
    ):
        if risk is None:
            return _missing("market_risk", en, case)
        if risk:
            return Rejection("market_risk", {"ko": f"매수 보류: {ko}", "en": f"No buy: {en}"})
    return None


def fake_breakout(case: Case) -> Rejection | None:
    """4: no BUY on less than 1.5 times the usual volume, or below ADX 20."""
    limits = case.thresholds
    return _at_least(
        "fake_breakout",
        case,
        (("volume_ratio", limits.breakout_min_volume), ("adx", limits.breakout_min_adx)),
        "거짓 돌파 의심",
        "maybe a fake breakout",
    )


def trend(case: Case) -> Rejection | None:
    """5: no BUY below ADX 25, 1.5 times the usual volume, or a Bollinger width of 4 %."""
    limits = case.thresholds
    return _at_least(
        "trend",
        case,
        (
            ("adx", limits.trend_min_adx),
            ("volume_ratio", limits.trend_min_volume),
            ("bollinger_width", limits.trend_min_width),
        ),
        "추세 없음",
        "no trend",
    )


def low_confidence(case: Case) -> Rejection | None:
    """6: neither BUY nor SELL on low confidence."""
    have, need = case.analysis.confidence, case.thresholds.min_confidence
    if have >= need:
        return None
    return Rejection(
        "low_confidence", {"ko": f"신뢰도 낮음: {have} < {need}", "en": f"Low confidence: {have} < {need}"}
    )


def range_order(case: Case) -> Rejection | None:
    """The hoped-for dip lies not above the appropriate buy, the target not below the appropriate sell."""
    ranges = case.analysis.ranges
    for low, high, ko, en in (
        (ranges.buy_hope, ranges.appropriate_buy, "매수 희망가 > 적절한 매수가", "buy_hope is above appropriate_buy"),
        (
            ranges.appropriate_sell,
            ranges.sell_target,
            "적절한 매도가 > 매도 목표가",
            "appropriate_sell is above sell_target",
        ),
    ):
        if low.min > high.min or low.max > high.max:
            return Rejection("range_order", {"ko": f"가격 순서 오류: {ko}", "en": f"Prices out of order: {en}"})
    return None


def price_distance(case: Case) -> Rejection | None:
    """The ranges of the decision's side are near the quote, or they are of another instrument, unit or day."""
    ranges, limits = case.analysis.ranges, case.thresholds
    near, far = (
        (ranges.appropriate_buy, ranges.buy_hope) if case.buying else (ranges.appropriate_sell, ranges.sell_target)
    )
    for price, most in ((near.min, limits.near), (near.max, limits.near), (far.min, limits.far), (far.max, limits.far)):
        distance = abs(price / case.quote.price - 1)
        if distance > most:
            figures = f"{price:f}, {case.quote.price:f}: {distance:.0%} > {most:.0%}"
            return Rejection(
                "price_distance",
                {"ko": f"현재가와 너무 먼 가격: {figures}", "en": f"Too far from the current price: {figures}"},
            )
    return None


def quote_moved(case: Case) -> Rejection | None:
    """The market has not run away from the price the analyst saw."""
    seen, most = case.analysis.price, case.thresholds.moved
    if seen.is_finite() and abs(seen / case.quote.price - 1) <= most:
        return None
    figures = f"{seen} → {case.quote.price:f}, > {most:.0%}"
    return Rejection(
        "quote_moved",
        {"ko": f"분석 이후 가격 변동: {figures}", "en": f"The price moved since the analysis: {figures}"},
    )


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


def _ranges(analysis: Analysis) -> tuple[tuple[str, PriceRange], ...]:
    names = ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target")
    return tuple((name, getattr(analysis.ranges, name)) for name in names)


def _at_least(rule: str, case: Case, needed: tuple[tuple[str, float], ...], ko: str, en: str) -> Rejection | None:
    if not case.buying:
        return None
    for name, least in needed:
        value = case.indicator(name)
        if value is None:
            return _missing(rule, name, case)
        if value < least:
            return _refused(rule, f"{name} {value:.3g} < {least:g}", ko, en)
    return None


def _missing(rule: str, name: str, case: Case) -> Rejection | None:
    if not case.buying:
        return None
    return Rejection(rule, {"ko": f"매수 보류: {name} 값 없음", "en": f"No buy: {name} is missing"})


def _refused(rule: str, figures: str, ko: str, en: str) -> Rejection:
    return Rejection(rule, {"ko": f"{ko}: {figures}", "en": f"{en[0].upper()}{en[1:]}: {figures}"})
