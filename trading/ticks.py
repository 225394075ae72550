"""Rounding to the grid a venue trades on."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from trading.errors import BadQuote
from trading.types import Quote


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """The highest multiple of `step` not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """The lowest multiple of `step` not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def check_quote(quote: Quote) -> None:
    """Raise `BadQuote` unless price, bid, ask and tick are finite and positive, and bid <= ask."""
    for name in ("price", "bid", "ask", "tick_size"):
        value: Decimal = getattr(quote, name)
        if not value.is_finite() or value <= 0:
            raise BadQuote(f"{quote.symbol}: quote of {quote.at.isoformat()}: {name} is {value}; wait for the next one")
    if quote.bid > quote.ask:
        raise BadQuote(
            f"{quote.symbol}: quote of {quote.at.isoformat()}: bid {quote.bid} is above ask {quote.ask}; "
            "wait for the next one"
        )
