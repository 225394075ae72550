"""Who trades how many units at a quote: price-time priority, and never more than is on offer.

A quote is the book at its time. What the account has traded since then is `taken` from the sizes it shows, so that no
unit on offer is sold twice, whichever order, call or process asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from trading.types import Fill, Quote, Side

# more digits than a price, a quantity and a fee rate have together: money is never rounded
EXACT_DIGITS = 60
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """An order in the book: it has traded `filled` of `quantity` units in `fills` trades, the last one at
    `last_fill_at`."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    price: Decimal
    fee_rate: Decimal
    created_at: datetime
    fills: int = 0
    last_fill_at: datetime | None = None

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled


def at_once(side: Side, quantity: Decimal, limit: Decimal, quote: Quote, taken: Decimal) -> Decimal:
    """How many units an incoming order trades at the best opposite price; 0 where its limit does not reach it."""
    if not _reaches(side, limit, quote):
        return _ZERO
    return _at_most(quantity, _left(side, quote, taken))


def matches(
    orders: Iterable[RestingOrder], quote: Quote, taken: Mapping[Side, Decimal]
) -> list[tuple[RestingOrder, Decimal]]:
    """Which orders in the book of the quote's symbol trade how many units at it, each at its own price.

    The best price comes first, then the oldest order (of the same instant: the lower id). An order trades only at a
    quote that is not older than itself, and newer than its last fill.
    """
    traded = []
    left = {side: _left(side, quote, taken.get(side, _ZERO)) for side in Side}
    for order in sorted(orders, key=_priority):
        if not _reaches(order.side, order.price, quote) or not _is_news(order, quote):
            continue
        quantity = _at_most(order.remaining, left[order.side])
        if quantity:
            traded.append((order, quantity))
            size = left[order.side]
            left[order.side] = None if size is None else size - quantity
    return traded


def opposite_price(side: Side, quote: Quote) -> Decimal:
    """The best price an incoming order of that side finds."""
    return quote.ask if side is Side.BUY else quote.bid


def execution(
    client_order_id: str, number: int, quantity: Decimal, price: Decimal, fee_rate: Decimal, at: datetime
) -> Fill:
    """The order's fill of that number, counted from 1; the fee is exact, however many digits it has."""
    with localcontext(prec=EXACT_DIGITS):
        return Fill(f"paper-{client_order_id}-{number}", quantity, price, price * quantity * fee_rate, at)


def _reaches(side: Side, limit: Decimal, quote: Quote) -> bool:
    return limit >= quote.ask if side is Side.BUY else limit <= quote.bid


def _is_news(order: RestingOrder, quote: Quote) -> bool:
    return quote.at >= order.created_at and (order.last_fill_at is None or quote.at > order.last_fill_at)


def _priority(order: RestingOrder) -> tuple[Decimal, datetime, str]:
    price = -order.price if order.side is Side.BUY else order.price
    return price, order.created_at, order.client_order_id


def _left(side: Side, quote: Quote, taken: Decimal) -> Decimal | None:
    """The units still on offer for orders of that side; None: as many as they want."""
    size = quote.ask_size if side is Side.BUY else quote.bid_size
    return None if size is None else max(size - taken, _ZERO)


def _at_most(quantity: Decimal, left: Decimal | None) -> Decimal:
    return quantity if left is None else min(quantity, left)
