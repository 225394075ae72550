"""Which row of the venue's list is the order that was sent: KIS takes no client order id, so it is found by its facts.

Never two unproven orders of one symbol and side at a time is what makes this sharp (the journal refuses a second).
What stays open: an equal order placed by hand in the same account, after ours was sent and never arrived.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from trading.types import OrderIntent
from workers.errors import Ambiguous
from workers.kis.trading_wire import KRX, OrderRow

# a clock may be that far ahead of KIS's and an order of ours is still found; what else was ordered in that time is kept
# apart by its number, or is a doubt
CLOCK_SLACK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Sent:
    """What the journal knows of an order that was sent: the intent, when the right to send it was taken, its number
    at the venue where that is proven, the numbers that belong to other orders, and how many units of it the journal
    has as fills and what they were worth together (price x quantity)."""

    intent: OrderIntent
    sent_at: datetime
    venue_order_id: str | None
    owned: frozenset[str]
    filled: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)


Known: TypeAlias = Callable[[str], Awaitable[Sent | None]]
"""Asks the journal for an order by its client order id; None for one that was never sent."""


def match(
    intent: OrderIntent,
    sent_at: datetime,
    owned: Collection[str],
    rows: Iterable[OrderRow],
    *,
    raised: Decimal | None = None,
) -> OrderRow | None:
    """The one row that can be the order, None where there is none. Raises `Ambiguous` for two or more.

    A row can be it when side, symbol, quantity and price are equal, it was taken no earlier than a minute before
    `sent_at`, it belongs to no other order of ours, it is not the change or cancellation of another one, and it is not
    of an exchange that we send nothing to. `raised` is the price it was sent at where that is not the intent's, see
    `workers.kis.floors`.
    """
    since = sent_at - CLOCK_SLACK
    found = {
        row.venue_order_id: row
        for row in rows
        if row.side is intent.side
        and row.pdno == intent.symbol
        and row.ord_qty == intent.quantity
        and row.ord_unpr in (intent.price, raised)
        and row.at >= since.replace(microsecond=0)
        and row.venue_order_id not in owned
        and not row.orgn_odno
        and row.exchange in (KRX, "")
    }
    if len(found) > 1:
        raise Ambiguous(
            f"kis {intent.symbol}: {', '.join(sorted(found))} could each be order {intent.client_order_id} "
            f"({intent.side} {intent.quantity} at {intent.price}); compare them with the account by hand"
        )
    return next(iter(found.values()), None)
