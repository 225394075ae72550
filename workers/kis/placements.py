"""What a row of KIS's list of the day says of an order, as the venue's word on it.

The list knows no single executions, only how much of an order has traded until now. So a fill is what was added since
the journal's last one, and two looks at the same row make the same fill.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal

from trading.types import Fill, OrderState, Placement, TimeInForce
from workers.errors import BadReply
from workers.kis.matching import Sent
from workers.kis.trading_wire import YES, OrderRow
from workers.kis.wire import KST

# below the smallest amount KIS shows
PRICE_STEP = Decimal("0.00000001")
# so long the list may show an order it is not through with: nothing left of it, and no word on how it ended
SETTLING = timedelta(seconds=60)
LAST_SECOND = time(23, 59, 59)


def placement_of(row: OrderRow, sent: Sent, fee_rate: Decimal, now: datetime) -> Placement:
    """The venue's word on the order of that row, with one fill for what it traded since the journal's last, if any.

    What is left of an order of an earlier day rests no more: orders end with their session. Fees are estimated from
    `fee_rate`; KIS tells them per day only. Raises `BadReply` for quantities that cannot be, also where the list says
    less than the journal has proof of.
    """
    _check(row, sent)
    number, traded = row.venue_order_id, row.tot_ccld_qty
    fills = _fills(row, sent, fee_rate, now)
    if traded == sent.intent.quantity:
        return Placement(number, OrderState.FILLED, fills)
    reason = _how_it_ended(row, sent, now)
    if reason is None:
        return Placement(number, OrderState.PARTLY_FILLED if traded else OrderState.ACCEPTED, fills)
    if row.rjct_qty > 0 and not traded:
        return Placement(number, OrderState.REJECTED, reason=reason)
    return Placement(number, OrderState.CANCELLED, fills, reason)


def trade_day(number: str) -> date:
    """The trade day in a venue order id. Raises `BadReply` for an id that is not of this broker."""
    try:
        return datetime.strptime(number.partition("-")[0], "%Y%m%d").date()  # noqa: DTZ007 - a day in Korea
    except ValueError:
        raise BadReply(
            f"kis: {number[:32]!r} is no order number of this broker; it has the form 20260102-0000000001"
        ) from None


def _check(row: OrderRow, sent: Sent) -> None:
    order = f"kis daily_fills {row.pdno}: order {row.venue_order_id} of {row.ord_qty}"
    if row.tot_ccld_qty + row.rmn_qty > row.ord_qty or row.ord_qty == 0 or row.tot_ccld_qty > sent.intent.quantity:
        raise BadReply(f"{order} has {row.tot_ccld_qty} filled and {row.rmn_qty} left, which cannot be")
    if row.tot_ccld_qty < sent.filled:
        raise BadReply(f"{order} has {row.tot_ccld_qty} filled, the journal has {sent.filled} already; compare by hand")


def _how_it_ended(row: OrderRow, sent: Sent, now: datetime) -> str | None:
    """Why nothing of the order rests any more, as `name: figures`; None while something does."""
    day_is_over = row.ord_dt < now.astimezone(KST).date()
    if row.rmn_qty > 0 and not day_is_over:
        return None
    marked = row.rjct_qty > 0 or row.cncl_yn == YES or row.cncl_cfrm_qty > 0
    if not marked and not day_is_over and now - row.at < SETTLING:
        # the list is not through with it
        return None
    if row.tot_ccld_qty > 0:
        return f"partly_filled: {row.tot_ccld_qty} of {row.ord_qty} traded, the rest is cancelled"
    if row.rjct_qty > 0:
        return f"rejected: {row.rjct_qty} of {row.ord_qty} by the exchange"
    if sent.intent.time_in_force is TimeInForce.IOC:
        return "not_crossed: nothing was filled, the rest is cancelled"
    if marked:
        return f"cancelled: 0 of {row.ord_qty} traded"
    return f"session_ended: 0 of {row.ord_qty} traded, and the order ended with its session"


def _fills(row: OrderRow, sent: Sent, fee_rate: Decimal, now: datetime) -> tuple[Fill, ...]:
    added = row.tot_ccld_qty - sent.filled
    if added == 0:
        return ()
    value = (row.tot_ccld_amt or row.avg_prvs * row.tot_ccld_qty) - sent.filled_value
    price = (value / added).quantize(PRICE_STEP)
    if price <= 0:
        raise BadReply(f"kis daily_fills {row.pdno}: order {row.venue_order_id} traded {added} more, but at no price")
    trade_id = f"{row.venue_order_id}-{sent.filled.normalize():f}-{row.tot_ccld_qty.normalize():f}"
    return (Fill(trade_id, added, price, value * fee_rate, _traded_at(row, sent, now)),)


def _traded_at(row: OrderRow, sent: Sent, now: datetime) -> datetime:
    """When it traded, as near as can be told: an immediate order when it was taken, a resting one when that was
    seen, and no later than on its day."""
    if sent.intent.time_in_force is TimeInForce.IOC:
        return row.at
    return max(row.at, min(now, datetime.combine(row.ord_dt, LAST_SECOND, KST).astimezone(row.at.tzinfo)))
