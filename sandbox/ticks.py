"""Price steps of the three markets, so that what the sandbox quotes could be traded there."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

# (from this price, step), highest first
# Upbit KRW market, in force since 2025-07-31 (docs.upbit.com, krw-market-info)
_UPBIT = (
    ("500000", "500"), ("100000", "100"), ("50000", "50"), ("10000", "10"), ("5000", "5"), ("100", "1"),
    ("10", "0.1"), ("1", "0.01"), ("0.1", "0.001"), ("0.01", "0.0001"), ("0.001", "0.00001"),
    ("0.0001", "0.000001"), ("0.00001", "0.0000001"), ("0", "0.00000001"),
)  # fmt: skip
# KRX, KOSPI and KOSDAQ alike, in force since 2023-01-25
_KRX = (
    ("500000", "1000"), ("200000", "500"), ("50000", "100"), ("20000", "50"), ("5000", "10"), ("2000", "5"), ("0", "1"),
)  # fmt: skip
# SEC Rule 612: a cent from one dollar on
_US = (("1", "0.01"), ("0", "0.0001"))

_TABLES = {
    "upbit": tuple((Decimal(start), Decimal(step)) for start, step in (("1000000", "1000"), *_UPBIT)),
    "kis": tuple((Decimal(start), Decimal(step)) for start, step in _KRX),
    "yfinance": tuple((Decimal(start), Decimal(step)) for start, step in _US),
}


def tick_size(market: str, price: Decimal) -> Decimal:
    """The price step at `price` (> 0), in the market's currency."""
    return next(step for start, step in _TABLES[market] if price >= start)


def to_tick(market: str, price: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """`price` on the market's grid, never below one step."""
    step = tick_size(market, price)
    return max((price / step).to_integral_value(rounding), Decimal(1)) * step


def best_bid_and_ask(market: str, price: Decimal) -> tuple[Decimal, Decimal]:
    """The grid prices right below and right above `price`: a book one tick wide on either side of the last trade."""
    step = tick_size(market, price)
    below = to_tick(market, price, ROUND_FLOOR)
    above = to_tick(market, price, ROUND_CEILING)
    if below == price:
        # the grid may be finer right below a step of the table
        below = max(price - tick_size(market, max(price - step / 2, Decimal("0.00000001"))), step)
    return below, above + step if above == price else above
