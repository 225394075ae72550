"""Round trips: from nothing held of a symbol to nothing held of it again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.pnl import Trade, book
from trading.types import Side


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What the sales between two moments with nothing held earned, in the symbol's currency."""

    ended_at: datetime
    profit: Decimal


def round_trips(trades: Iterable[Trade], *, exempt: Collection[str] = ()) -> list[RoundTrip]:
    """The round trips of one symbol, in order of time, from all its fills. Raises `BadFills`."""
    once = {trade.fill.trade_id: trade for trade in trades}
    # the order in which `book` works them off, so that its sales are these
    in_order = sorted(once.values(), key=lambda trade: (trade.fill.at, trade.side is Side.SELL, trade.fill.trade_id))
    sales = iter(book(in_order, exempt=exempt).realised)
    held = profit = Decimal(0)
    found = []
    for trade in in_order:
        if trade.side is Side.BUY:
            held += trade.fill.quantity
            continue
        held -= trade.fill.quantity
        profit += next(sales).profit
        if not held:
            found.append(RoundTrip(trade.fill.at, profit))
            profit = Decimal(0)
    return found
