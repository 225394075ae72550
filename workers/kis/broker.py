"""KIS as `workers.ports.Broker`: Korean stocks in one account."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from trading.errors import BadQuote
from trading.ticks import check_quote
from trading.types import Account, Fill, Holdings, Instrument, OrderIntent, OrderState, Placement, Position, Quote
from workers.dated import in_force, load
from workers.errors import BadCredentials, BadReply, Rejected, Throttled, Unproven, VenueError
from workers.kis.matching import CLOCK_SLACK, Known, Sent, match
from workers.kis.trading import KisTrading
from workers.kis.trading_wire import NO_ORDER, YES, BalanceRow, Ordered, OrderRow
from workers.kis.wire import KST

CURRENCY = "KRW"
LIMIT_IOC, MARKET_ORDER = "limit_ioc", "market"
# an order can appear late in the list, so it is called absent only after this many looks over that time
LOOKS = 4
LOOK_SECONDS = 30.0
# after an accepted order: an immediate-or-cancel order has its end at once
FILL_LOOKS = 3
FILL_PAUSE_SECONDS = 0.5
REMEMBERED = 4_096
# below the smallest amount KIS shows
PRICE_STEP = Decimal("0.00000001")


class KisBroker:
    """Orders of one account. `known` asks the order journal, see `workers.kis.known.journal_known`.

    An order is called absent after `looks` looks over `look_seconds`.
    """

    market = "kis"

    def __init__(
        self,
        trading: KisTrading,
        known: Known,
        *,
        looks: int = LOOKS,
        look_seconds: float = LOOK_SECONDS,
        fill_pause_seconds: float = FILL_PAUSE_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._trading = trading
        self._known = known
        self._looks = looks
        self._look_pause = look_seconds / max(looks - 1, 1)
        self._fill_pause = fill_pause_seconds
        self._clock = clock
        self._fees = load("workers.kis", "fees.json")["rates"]
        # the journal lets nobody send twice; this holds it also where the journal is not asked
        self._begun: OrderedDict[str, Placement | None] = OrderedDict()

    async def account(self, instrument: Instrument) -> Account:
        """What can be spent on the instrument without debt, open orders and today's purchases taken off, and what of
        it can be sold now."""
        if instrument.currency != CURRENCY:
            raise VenueError(f"kis: the account is in {CURRENCY}, {instrument.symbol} is in {instrument.currency}")
        rows, _ = await self._trading.balance()
        # asked as a market order, as KIS advises: for a limit order it leaves the symbol's margin rate out
        buyable = await self._trading.buyable(instrument.symbol, Decimal(0), self._order_type(MARKET_ORDER))
        held = next((row for row in rows if row.pdno == instrument.symbol and row.hldg_qty > 0), None)
        position = Position(held.ord_psbl_qty, held.pchs_avg_pric) if held else Position(Decimal(0), Decimal(0))
        return Account(CURRENCY, buyable.nrcvb_buy_amt, position)

    async def holdings(self) -> Holdings | None:
        """Everything held, and the cash there will be when all that was traded until now is settled."""
        rows, sums = await self._trading.balance()
        held = {row.pdno: _position(row) for row in rows if row.hldg_qty > 0}
        return Holdings(CURRENCY, sums.prvs_rcdl_excc_amt, held)

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once, immediate-or-cancel, and read what it traded.

        Raises `Throttled` (also as `TurnedAway`) and `BadCredentials` only if it was not created, and `Unproven` if
        nothing proves what became of it: `find` settles it. An order that was accepted is returned as such, also
        if the list of orders could not be read. The same `client_order_id` again sends nothing while the first
        one may exist, and looks for it. Raises `ValueError` for an order or quote of something else.
        """
        if intent.market != self.market or not intent.symbol == instrument.symbol == quote.symbol:
            raise ValueError(f"kis: order for {intent.market} {intent.symbol}, instrument {instrument.symbol}")
        if reason := refusal(intent, instrument, quote):
            return Placement(None, OrderState.REJECTED, reason=reason)
        sent = await self._known(intent.client_order_id)
        if sent is not None and sent.venue_order_id is not None:
            return await self._of_number(sent.intent, sent.venue_order_id)
        if not self._begin(intent.client_order_id):
            return await self._first_placement(intent.client_order_id)
        try:
            ordered = await self._trading.order(
                intent.side, intent.symbol, intent.quantity, intent.price, self._order_type(LIMIT_IOC)
            )
        except Rejected as error:
            refused = Placement(None, OrderState.REJECTED, reason=str(error))
            self._begun[intent.client_order_id] = refused
            return refused
        except (Throttled, BadCredentials):
            self._begun.pop(intent.client_order_id, None)
            raise
        return await self._after(intent, self._number(ordered))

    async def find(self, client_order_id: str) -> Placement | None:
        """What became of an order the journal knows as sent; None where KIS has none after all looks, or the
        journal does not know it. Takes up to `look_seconds`.

        Raises `Ambiguous` where two orders could be it, and what a look raises: a look that fails proves nothing.
        """
        sent = await self._known(client_order_id)
        if sent is None:
            return None
        if sent.venue_order_id is not None:
            return await self._of_number(sent.intent, sent.venue_order_id)
        for look in range(self._looks):
            if look:
                await asyncio.sleep(self._look_pause)
            row = match(sent.intent, sent.sent_at, sent.owned, await self._rows(sent))
            if row is not None:
                return self._placement(row)
        return None

    def _begin(self, client_order_id: str) -> bool:
        """Whether this process has not begun to send that order before."""
        if client_order_id in self._begun:
            return False
        self._begun[client_order_id] = None
        if len(self._begun) > REMEMBERED:
            self._begun.popitem(last=False)
        return True

    async def _first_placement(self, client_order_id: str) -> Placement:
        placement = self._begun[client_order_id] or await self.find(client_order_id)
        if placement is None:
            raise Unproven(
                f"kis order {client_order_id}: it was sent before, and KIS does not show it; ask again later"
            )
        return placement

    async def _after(self, intent: OrderIntent, number: str) -> Placement:
        """What became of an order that KIS just took; `accepted` while its list does not say."""
        placement = Placement(number, OrderState.ACCEPTED)
        for look in range(FILL_LOOKS):
            if look:
                await asyncio.sleep(self._fill_pause)
            try:
                placement = await self._of_number(intent, number)
            except VenueError:
                # it is proven to exist; the next look is the settling of accepted orders
                return placement
            if placement.state is not OrderState.ACCEPTED:
                return placement
        return placement

    async def _of_number(self, intent: OrderIntent, number: str) -> Placement:
        day = trade_day(number)
        rows = await self._trading.daily_fills(day, day, side=intent.side, symbol=intent.symbol)
        row = next((row for row in rows if row.venue_order_id == number), None)
        if row is None:
            return Placement(number, OrderState.ACCEPTED)
        return self._placement(row)

    async def _rows(self, sent: Sent) -> list[OrderRow]:
        first = (sent.sent_at - CLOCK_SLACK).astimezone(KST).date()
        # a day more, for an order sent right before midnight
        last = max(first, min(first + timedelta(days=1), self._trading.today()))
        return await self._trading.daily_fills(first, last, side=sent.intent.side, symbol=sent.intent.symbol)

    def _number(self, ordered: Ordered) -> str:
        """The order number with its trade day in Korea, which is now, unless midnight came in between."""
        if ordered.ODNO == NO_ORDER:
            raise Unproven("kis order: taken under no number; look for the order")
        now = self._clock().astimezone(KST)
        before_midnight = (now + timedelta(minutes=5)).time() < ordered.ORD_TMD and now.hour == 0
        day = now.date() - timedelta(days=1) if before_midnight else now.date()
        return f"{day:%Y%m%d}-{ordered.ODNO}"

    def _placement(self, row: OrderRow) -> Placement:
        rate = Decimal(in_force(self._fees, row.ord_dt)["brokerage"])
        return placement_of(row, rate)

    def _order_type(self, kind: str) -> str:
        return self._trading.environment.order_type(kind, self._trading.today())


def refusal(intent: OrderIntent, instrument: Instrument, quote: Quote) -> str | None:
    """Why the order is not worth sending, as `name: figures`, or None.

    `aspr_unit` is the tick at the last price. The best bid and ask are on the grid whatever their own tick is: next to
    a step of the tick table it can be another one.
    """
    try:
        check_quote(quote)
    except BadQuote as error:
        return f"bad_quote: {error}"
    if not intent.price.is_finite() or intent.price <= 0 or intent.price != intent.price.to_integral_value():
        return f"bad_price: {intent.price}"
    if not intent.quantity.is_finite() or intent.quantity <= 0 or intent.quantity % instrument.quantity_step:
        return f"bad_quantity: {intent.quantity}, a multiple of {instrument.quantity_step} is needed"
    if intent.price % quote.tick_size and intent.price not in (quote.bid, quote.ask):
        return f"off_tick: price {intent.price} is no multiple of {quote.tick_size}"
    return None


def placement_of(row: OrderRow, fee_rate: Decimal) -> Placement:
    """A row of the daily list as the venue's word on the order.

    Fills are told when nothing of the order rests any more, as one: the list knows no single executions, only
    their sum. Its key is trade day, order number and quantity. The fee is estimated from `fee_rate`; KIS tells fees
    per day only. Raises `BadReply` for quantities that cannot be.
    """
    if row.tot_ccld_qty + row.rmn_qty > row.ord_qty or row.ord_qty == 0:
        raise BadReply(
            f"kis daily_fills {row.pdno}: order {row.venue_order_id} of {row.ord_qty} has {row.tot_ccld_qty} filled "
            f"and {row.rmn_qty} left, which cannot be"
        )
    number = row.venue_order_id
    if row.rmn_qty > 0:
        return Placement(number, OrderState.ACCEPTED)
    if row.tot_ccld_qty > 0:
        state = OrderState.FILLED if row.tot_ccld_qty == row.ord_qty else OrderState.PARTLY_FILLED
        return Placement(number, state, (_fill(row, fee_rate),))
    if row.rjct_qty > 0:
        return Placement(
            number, OrderState.REJECTED, reason=f"rejected: {row.rjct_qty} of {row.ord_qty} by the exchange"
        )
    if row.cncl_yn == YES or row.cncl_cfrm_qty > 0:
        return Placement(number, OrderState.CANCELLED, reason="not_crossed: nothing was filled, the rest is cancelled")
    # neither filled nor left, neither refused nor cancelled: the list is not through with it
    return Placement(number, OrderState.ACCEPTED)


def trade_day(number: str) -> date:
    """The trade day in a venue order id. Raises `BadReply` for an id that is not of this broker."""
    try:
        return datetime.strptime(number.partition("-")[0], "%Y%m%d").date()  # noqa: DTZ007 - a day in Korea
    except ValueError:
        raise BadReply(
            f"kis: {number[:32]!r} is no order number of this broker; it has the form 20260102-0000000001"
        ) from None


def _fill(row: OrderRow, fee_rate: Decimal) -> Fill:
    value = row.tot_ccld_amt or row.avg_prvs * row.tot_ccld_qty
    if value <= 0:
        raise BadReply(f"kis daily_fills {row.pdno}: order {row.venue_order_id} is filled, but at no price")
    return Fill(
        trade_id=f"{row.venue_order_id}-{row.tot_ccld_qty:f}",
        quantity=row.tot_ccld_qty,
        price=(value / row.tot_ccld_qty).quantize(PRICE_STEP),
        fee=value * fee_rate,
        at=row.at,
    )


def _position(row: BalanceRow) -> Position:
    return Position(row.hldg_qty, row.pchs_avg_pric)
