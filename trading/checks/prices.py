"""The checks of prices: that ranges are ranges, in order, near the quote, and still of this moment."""

from __future__ import annotations

from trading.checks.case import Case, Rejection
from trading.types import Analysis, PriceRange


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


def _ranges(analysis: Analysis) -> tuple[tuple[str, PriceRange], ...]:
    names = ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target")
    return tuple((name, getattr(analysis.ranges, name)) for name in names)
