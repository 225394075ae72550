"""Which row of KIS's list is the order that was sent, for US stocks; the idea is that of `workers.kis.matching`.

KIS takes no client order id, so an order whose answer was lost is found by its facts. What stays open: an equal order
placed by hand in the same account, after ours was sent and never arrived.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from trading.types import Fill, OrderIntent
from workers.errors import Ambiguous
from workers.kis.overseas_client import our_symbol
from workers.kis.overseas_wire import UsOrderRow

# a clock may be that far ahead of KIS's and an order of ours is still found; what else was ordered in that time is kept
# apart by its number, or is a doubt
CLOCK_SLACK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class SentUs:
    """What the journal knows of an order that was sent: the intent, when the right to send it was taken, its number
    at the venue where that is proven, the numbers that belong to other orders, and the fills written down so far."""

    intent: OrderIntent
    sent_at: datetime
    venue_order_id: str | None
    owned: frozenset[str]
    fills: tuple[Fill, ...] = ()

    @property
    def filled(self) -> Decimal:
        """Units known to be traded."""
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def value(self) -> Decimal:
        """What they were traded for, USD, without fees."""
        return sum((fill.quantity * fill.price for fill in self.fills), Decimal(0))


KnownUs: TypeAlias = Callable[[str], Awaitable[SentUs | None]]
"""Asks the journal for an order by its client order id; None for one that was never sent."""


def match_us(
    intent: OrderIntent, sent_at: datetime, owned: Collection[str], rows: Iterable[UsOrderRow]
) -> UsOrderRow | None:
    """The one row that can be the order, None where there is none. Raises `Ambiguous` for two or more.

    A row can be it when side, symbol, quantity and price are equal, it was taken no earlier than a minute before
    `sent_at`, it belongs to no other order of ours and it is not the change or cancellation of another one.
    """
    since = (sent_at - CLOCK_SLACK).replace(microsecond=0)
    found = {
        row.venue_order_id: row
        for row in rows
        if row.side is intent.side
        and our_symbol(row.pdno) == intent.symbol
        and row.ft_ord_qty == intent.quantity
        and row.ft_ord_unpr3 == intent.price
        and row.at >= since
        and row.venue_order_id not in owned
        and not row.is_change
    }
    if len(found) > 1:
        raise Ambiguous(
            f"kis {intent.symbol}: {', '.join(sorted(found))} could each be order {intent.client_order_id} "
            f"({intent.side} {intent.quantity} at {intent.price}); compare them with the account by hand"
        )
    return next(iter(found.values()), None)
