"""What a row of KIS's list says of a US order, and what is not worth sending."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from trading.errors import BadQuote
from trading.ticks import check_quote
from trading.types import Fill, Instrument, OpenOrder, OrderIntent, OrderState, Placement, Quote
from workers.errors import BadReply
from workers.kis.overseas_client import our_symbol
from workers.kis.overseas_matching import SentUs
from workers.kis.overseas_wire import NEW_YORK, UsOrderRow, session_of
from workers.kis.wire import KST
from workers.yfinance.market import tick_at

CURRENCY = "USD"
RESTING = (OrderState.ACCEPTED, OrderState.PARTLY_FILLED)
# the smallest amount the journal is asked to hold; KIS shows eight places of a price
PRICE_STEP = Decimal("0.00000001")
# the after-hours session in New York ends then, and with it every order of the day; what is ordered later is for the
# next one
LAST_TRADE = time(20)


def refusal(intent: OrderIntent, instrument: Instrument, quote: Quote) -> str | None:
    """Why the order is not worth sending, as `name: figures`, or None."""
    try:
        check_quote(quote)
    except BadQuote as error:
        return f"bad_quote: {error}"
    if not intent.price.is_finite() or intent.price <= 0:
        return f"bad_price: {intent.price}"
    if not intent.quantity.is_finite() or intent.quantity <= 0 or intent.quantity % instrument.quantity_step:
        return f"bad_quantity: {intent.quantity}, a multiple of {instrument.quantity_step} is needed"
    if intent.quantity != intent.quantity.to_integral_value():
        return f"bad_quantity: {intent.quantity}, whole shares are needed"
    step = tick_at(intent.price)
    if intent.price % step:
        return f"off_tick: price {intent.price} is no multiple of {step}"
    return None


def placement_of(
    row: UsOrderRow, changes: Iterable[UsOrderRow], sent: SentUs, *, fee_rate: Decimal, now: datetime
) -> Placement:
    """A row of the list as the venue's word on the order; `changes` are the rows that are about it.

    The list knows no single executions, only their sum, so what is more than the journal has is told as one fill with
    the key `{number}-{before}-{after}` at the mean price of that part. The fee is estimated from `fee_rate`.

    Nothing left of an order is not enough to call it ended: a row can stand so before KIS is through with it. It is
    ended when it was refused, has a reason, has a change or cancellation that is done, or its session is over, then
    also where the list still has something left of it. Raises `BadReply` for quantities that cannot be.
    """
    whole, filled, left = row.ft_ord_qty, row.ft_ccld_qty, row.nccs_qty
    number = row.venue_order_id
    if filled + left > whole or whole != sent.intent.quantity:
        raise BadReply(
            f"kis us_fills {row.pdno}: order {number} of {sent.intent.quantity} has {whole} ordered, {filled} filled "
            f"and {left} left, which cannot be"
        )
    fills = _fills(row, sent, fee_rate, now)
    if filled == whole:
        return Placement(number, OrderState.FILLED, fills)
    done = [change for change in changes if change.done]
    if ended(row, now) or (left == 0 and (row.refused or row.rjct_rson_name or done or row.ord_dt < session_of(now))):
        if row.refused and filled == 0:
            return Placement(number, OrderState.REJECTED, fills, f"rejected: {row.rjct_rson_name or 'no reason given'}")
        return Placement(number, OrderState.CANCELLED, fills, _end(row))
    return Placement(number, OrderState.PARTLY_FILLED if filled else OrderState.ACCEPTED, fills)


def ended(row: UsOrderRow, now: datetime) -> bool:
    """Whether the session that an order can trade in is over, whatever the list still shows as left of it."""
    taken = row.at.astimezone(NEW_YORK)
    session = taken.date() if taken.time() < LAST_TRADE else taken.date() + timedelta(days=1)
    return max(row.ord_dt, session) < session_of(now)


def unseen(sent: SentUs, number: str) -> Placement:
    """The word on an order that is proven to exist, and that the list does not show."""
    return Placement(number, OrderState.PARTLY_FILLED if sent.fills else OrderState.ACCEPTED, sent.fills)


def open_order(row: UsOrderRow) -> OpenOrder:
    """A row that rests as the port's value; KIS keeps no client order id."""
    return OpenOrder(
        venue_order_id=row.venue_order_id,
        client_order_id=None,
        symbol=our_symbol(row.pdno),
        side=row.side,
        quantity=row.ft_ord_qty,
        filled=row.ft_ccld_qty,
        price=row.ft_ord_unpr3,
        currency=CURRENCY,
        at=row.at,
    )


def split_number(number: str) -> tuple[date, str]:
    """The day in Korea and the order number in a venue order id. Raises `BadReply` for an id not of this broker."""
    day, _, odno = number.partition("-")
    try:
        return datetime.strptime(day, "%Y%m%d").replace(tzinfo=KST).date(), odno
    except ValueError:
        raise BadReply(
            f"kis: {number[:32]!r} is no order number of this broker; it has the form 20260102-0000000001"
        ) from None


def days_of(number: str) -> tuple[date, date]:
    """The dates in New York that a day in Korea can have."""
    day, _ = split_number(number)
    return day - timedelta(days=1), day


def _end(row: UsOrderRow) -> str:
    if row.ft_ccld_qty:
        return f"partly_filled: {row.ft_ccld_qty:f} of {row.ft_ord_qty:f} traded, the rest is cancelled"
    return f"cancelled: {row.rjct_rson_name}" if row.rjct_rson_name else "not_crossed: nothing was filled"


def _fills(row: UsOrderRow, sent: SentUs, fee_rate: Decimal, now: datetime) -> tuple[Fill, ...]:
    before, after = sent.filled, row.ft_ccld_qty
    if after <= before:
        # as much as is known, or an older list
        return sent.fills
    value = row.value - sent.value
    if value <= 0:
        raise BadReply(
            f"kis us_fills {row.pdno}: order {row.venue_order_id} traded {after} for {row.value} USD, and {before} of "
            f"them for {sent.value} USD, which cannot be"
        )
    fill = Fill(
        trade_id=f"{row.venue_order_id}-{before.normalize():f}-{after.normalize():f}",
        quantity=after - before,
        price=(value / (after - before)).quantize(PRICE_STEP),
        fee=value * fee_rate,
        at=_traded_at(row, now),
    )
    return (*sent.fills, fill)


def _traded_at(row: UsOrderRow, now: datetime) -> datetime:
    """When a fill seen now was made at the latest: KIS tells no time of it, and an order lives for one session."""
    return max(row.at, min(now, datetime.combine(row.ord_dt, LAST_TRADE, NEW_YORK).astimezone(now.tzinfo)))
