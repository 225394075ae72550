"""KIS as `workers.ports.Broker`: Korean stocks in one account."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from trading.errors import BadQuote
from trading.ticks import check_quote
from trading.types import (
    Account,
    Holdings,
    Instrument,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    Quote,
    TimeInForce,
)
from workers.dated import in_force, load
from workers.errors import BadCredentials, BadReply, Rejected, Throttled, Unproven, VenueError
from workers.http import NotSent
from workers.kis.errors import NotOffered
from workers.kis.floors import DayFloors
from workers.kis.matching import CLOCK_SLACK, Known, Sent, match
from workers.kis.placements import placement_of, trade_day
from workers.kis.ticks import tick_beside
from workers.kis.trading import KisTrading
from workers.kis.trading_wire import KRX, NO_ORDER, BalanceRow, CancellableRow, Ordered, OrderRow
from workers.kis.wire import KST, day_of
from workers.ports import Absence

CURRENCY = "KRW"
LIMIT, LIMIT_IOC, MARKET_ORDER = "limit", "limit_ioc", "market"
ORDER_TYPES = {TimeInForce.IOC: LIMIT_IOC, TimeInForce.GTC: LIMIT}
# an order can appear late in the list
ABSENCE = Absence(looks=4, seconds=30.0)
# an immediate-or-cancel order has its end at once, and so has a cancellation
LOOKS = 3
PAUSE_SECONDS = 0.5
REMEMBERED = 4_096
# KIS closes its books at night; before any exchange opens, the list of the day before is whole
BOOKS_CLOSED = time(7)
# three months, which is how far back the list goes
LISTED = timedelta(days=89)
# they may still trade
RESTING = (OrderState.ACCEPTED, OrderState.PARTLY_FILLED)


class KisBroker:
    """Orders of one account. `known` asks the order journal, see `workers.kis.known.journal_known`.

    What a placement tells as fills is what was traded beyond those the journal has, so it must be written down before
    the next look at that order. `pause_seconds` lies between the looks that `place` and `cancel` take. With `floors` an
    immediate sale is never sent below the lowest price of its day, which the exchange would refuse.
    """

    market = "kis"

    def __init__(
        self,
        trading: KisTrading,
        known: Known,
        *,
        absence: Absence = ABSENCE,
        pause_seconds: float = PAUSE_SECONDS,
        floors: DayFloors | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.absence = absence
        self._trading = trading
        self._known = known
        self._pause = pause_seconds
        self._floors = floors
        self._clock = clock
        self._fees = load("workers.kis", "fees.json")["rates"]
        # the journal lets nobody send twice; this holds it also where the journal is not asked
        self._begun: OrderedDict[str, Placement | None] = OrderedDict()

    async def account(self, instrument: Instrument) -> Account:
        """What can be spent on the instrument without debt, open orders and today's purchases taken off, and what of
        it can be sold now: shares in resting sales are not in the position, and come back when those are cancelled.
        `holdings` tells all that is held."""
        if instrument.currency != CURRENCY:
            raise VenueError(f"kis: the account is in {CURRENCY}, {instrument.symbol} is in {instrument.currency}")
        rows, _ = await self._trading.balance()
        # asked as a market order, as KIS advises: for a limit order it leaves the symbol's margin rate out
        buyable = await self._trading.buyable(instrument.symbol, Decimal(0), self._order_type(MARKET_ORDER))
        held = next((row for row in rows if row.pdno == instrument.symbol and row.hldg_qty > 0), None)
        position = Position(held.ord_psbl_qty, held.pchs_avg_pric) if held else Position(Decimal(0), Decimal(0))
        return Account(CURRENCY, buyable.nrcvb_buy_amt, position)

    async def holdings(self) -> Holdings | None:
        """Everything held, and the cash there will be when all that was traded until now is settled. Money and shares
        that resting orders reserve are in it: an order that has not traded changes nothing."""
        rows, sums = await self._trading.balance()
        held = {row.pdno: _position(row) for row in rows if row.hldg_qty > 0}
        return Holdings(CURRENCY, sums.prvs_rcdl_excc_amt, held)

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once and read what it traded; `gtc` is an order for the day and is looked at once.

        Raises `Throttled` (also as `TurnedAway`), `BadCredentials` and `NotSent` only if it was not created, and
        `Unproven` if nothing proves what became of it: `find` settles it. An order that was accepted is returned as
        such, also if the list of orders could not be read. The same `client_order_id` again sends nothing while the
        first one may exist, and looks for it. Raises `ValueError` for an order or quote of something else.
        """
        if intent.market != self.market or not intent.symbol == instrument.symbol == quote.symbol:
            raise ValueError(f"kis: order for {intent.market} {intent.symbol}, instrument {instrument.symbol}")
        if reason := refusal(intent, instrument, quote, self._trading.today()):
            return Placement(None, OrderState.REJECTED, reason=reason)
        sent = await self._known(intent.client_order_id)
        if sent is not None and sent.venue_order_id is not None:
            return await self._of_number(sent, sent.venue_order_id)
        if not self._begin(intent.client_order_id):
            return await self._first_placement(intent.client_order_id)
        order_type = self._order_type(ORDER_TYPES[intent.time_in_force])
        sent = sent or Sent(intent, self._clock(), None, frozenset())
        price = intent.price if self._floors is None else await self._floors.price_to_send(intent, quote)
        try:
            ordered = await self._trading.order(intent.side, intent.symbol, intent.quantity, price, order_type)
        except Rejected as error:
            refused = Placement(None, OrderState.REJECTED, reason=str(error))
            self._begun[intent.client_order_id] = refused
            return refused
        except (Throttled, BadCredentials, NotSent):
            self._begun.pop(intent.client_order_id, None)
            raise
        number = self._number(ordered)
        looks = LOOKS if intent.time_in_force is TimeInForce.IOC else 1
        # where nothing can be read it is proven to exist; the next look is the settling of accepted orders
        return await self._looked(sent, number, looks) or Placement(number, OrderState.ACCEPTED)

    async def find(self, client_order_id: str, venue_order_id: str | None = None) -> Placement | None:
        """The word of one look on an order the journal knows as sent, by its number where that is known; None where
        KIS shows none, or the journal does not know it.

        One of an earlier day that the list of its day does not show is told as `cancelled`: orders end with their day,
        though what it traded is not known. Raises `Ambiguous` where two orders could be it, `Unproven` where that list
        may not be whole yet, and what a look raises: a look that fails proves nothing.
        """
        sent = await self._known(client_order_id)
        if sent is None:
            return None
        number = sent.venue_order_id or venue_order_id
        if number is not None:
            return await self._of_number(sent, number)
        row = await self._matched(sent)
        return None if row is None else self._placement(row, sent)

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        """Take all that rests of the order out of the book, and read what it traded until then.

        One that has ended is only read, see `find` for one that no list shows. Where KIS refuses and the order rests
        on, `reason` has its words. Raises `Throttled`, `BadCredentials` and `NotSent` if nothing was sent, and
        `Unproven` where the list does not show it, or cannot be read after it.
        """
        sent = await self._known(client_order_id)
        if sent is None:
            raise Unproven(f"kis order {client_order_id}: the journal has not sent it, so KIS cannot be asked for it")
        number = sent.venue_order_id or venue_order_id
        row = await self._matched(sent) if number is None else await self._row(sent, number)
        if row is None:
            if number is not None and trade_day(number) < self._trading.today():
                return await self._unlisted(sent, number)
            raise Unproven(f"kis order {client_order_id}: KIS does not show it, so it cannot be cancelled; ask again")
        before = self._placement(row, sent)
        if before.state not in RESTING:
            return before
        refused = await self._send_cancellation(row, sent)
        after = await self._looked(sent, row.venue_order_id, LOOKS)
        if after is None:
            raise Unproven(f"kis order {client_order_id}: its cancellation was sent, and the list cannot be read")
        if after.state in RESTING and refused is not None:
            return replace(after, reason=f"still_resting: {refused}")
        return after

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """Every order that rests, oldest first, whoever sent it; KIS keeps no client order ids. `quantity` is what it
        traded and what rests of it: a part that was cancelled or changed by hand is no longer of it."""
        today = self._trading.today()
        try:
            found = [_cancellable(row, today) for row in await self._trading.cancellable() if row.psbl_qty > 0]
        except NotOffered:
            rows = await self._trading.daily_fills(today, today, symbol=symbol or "")
            found = [_open(row) for row in rows if row.rmn_qty > 0]
        wanted = [order for order in found if symbol in (None, order.symbol)]
        return sorted(wanted, key=lambda order: (order.at, order.venue_order_id))

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

    async def _send_cancellation(self, row: OrderRow, sent: Sent) -> VenueError | None:
        """Why KIS did not take it, or may not have; None where it did. Raises what proves that nothing was sent."""
        branch, exchange = await self._address(row)
        order_type = self._order_type(ORDER_TYPES[sent.intent.time_in_force])
        try:
            await self._trading.cancel(branch, row.odno, order_type, exchange)
        except (Rejected, Unproven) as error:
            # refused it may have ended just now, without an answer it may be cancelled: the list tells
            return error
        return None

    async def _address(self, row: OrderRow) -> tuple[str, str]:
        """The branch that numbered the order and the exchange it rests at, also where the list of the day leaves them
        out."""
        if row.ord_gno_brno and row.exchange:
            return row.ord_gno_brno, row.exchange
        try:
            rows = await self._trading.cancellable()
        except NotOffered:
            rows = []
        shown = next((each for each in rows if each.odno == row.odno), None)
        branch, exchange = (shown.ord_gno_brno, shown.exchange) if shown is not None else ("", "")
        # ours go to the KRX
        return row.ord_gno_brno or branch, row.exchange or exchange or KRX

    async def _looked(self, sent: Sent, number: str, looks: int) -> Placement | None:
        """The word on an order that KIS just worked on, of the first look that sees its end or else of the last one
        that could be read; None where none could."""
        placement: Placement | None = None
        for look in range(looks):
            if look:
                await asyncio.sleep(self._pause)
            try:
                placement = await self._of_number(sent, number)
            except VenueError:
                continue
            if placement.state not in RESTING:
                return placement
        return placement

    async def _of_number(self, sent: Sent, number: str) -> Placement:
        row = await self._row(sent, number)
        if row is not None:
            return self._placement(row, sent)
        if trade_day(number) < self._trading.today():
            return await self._unlisted(sent, number)
        return Placement(number, OrderState.ACCEPTED)

    async def _row(self, sent: Sent, number: str) -> OrderRow | None:
        """The order's row in the list of its day. Raises `BadReply` where two exchanges have that number."""
        day, intent = trade_day(number), sent.intent
        rows = await self._trading.daily_fills(day, day, side=intent.side, symbol=intent.symbol)
        found = [row for row in rows if row.venue_order_id == number]
        if len(found) > 1:
            exchanges = " and ".join(row.exchange or "none" for row in found)
            raise BadReply(f"kis {intent.symbol}: {exchanges} have an order {number} each; compare them by hand")
        return found[0] if found else None

    async def _unlisted(self, sent: Sent, number: str) -> Placement:
        """The word on an order of an earlier day that no list shows: orders end with their day, so it rests no more.

        That it was left out is believed of the whole day's list alone, unnarrowed and once its books are closed.
        Raises `Unproven` where there is no such list.
        """
        day, order = trade_day(number), f"kis {sent.intent.symbol}: order {number}"
        closed_at = datetime.combine(day + timedelta(days=1), BOOKS_CLOSED, KST)
        if self._clock() < closed_at:
            raise Unproven(f"{order} is not in the list of its day, which is final at {closed_at:%H:%M} KST; ask again")
        if day < self._trading.today() - LISTED:
            raise Unproven(f"{order} is older than KIS's list goes back; compare it by hand")
        shown = next((row for row in await self._trading.daily_fills(day, day) if row.venue_order_id == number), None)
        if shown is not None:
            raise Unproven(f"{order} is listed as one for {shown.pdno} ({shown.side}); compare it by hand")
        reason = (
            f"day_is_over: KIS's list of {day} has no order {number}; it rests no more, what it traded is not known"
        )
        return Placement(number, OrderState.CANCELLED, reason=reason)

    async def _matched(self, sent: Sent) -> OrderRow | None:
        """The row that can be an order whose number is not known. Raises `Ambiguous` for two or more."""
        raised = None if self._floors is None else await self._floors.raised_price(sent.intent)
        return match(sent.intent, sent.sent_at, sent.owned, await self._rows(sent), raised=raised)

    async def _rows(self, sent: Sent) -> list[OrderRow]:
        first = (sent.sent_at - CLOCK_SLACK).astimezone(KST).date()
        # a day more, for an order sent right before midnight
        last = max(first, min(first + timedelta(days=1), self._trading.today()))
        return await self._trading.daily_fills(first, last, side=sent.intent.side, symbol=sent.intent.symbol)

    def _number(self, ordered: Ordered) -> str:
        """The order number with its trade day in Korea."""
        if ordered.ODNO == NO_ORDER:
            raise Unproven("kis order: taken under no number; look for the order")
        return f"{day_of(ordered.ORD_TMD, self._clock()):%Y%m%d}-{ordered.ODNO}"

    def _placement(self, row: OrderRow, sent: Sent) -> Placement:
        rate = Decimal(in_force(self._fees, row.ord_dt)["brokerage"])
        return placement_of(row, sent, rate, self._clock())

    def _order_type(self, kind: str) -> str:
        return self._trading.environment.order_type(kind, self._trading.today())


def refusal(intent: OrderIntent, instrument: Instrument, quote: Quote, on: date) -> str | None:
    """Why the order is not worth sending, as `name: figures`, or None.

    `aspr_unit` is the tick at the last price; an order in another band of the tick table has that band's. The best bid
    and ask are on the grid whatever their own tick is: next to a step of the table it can be another one.
    """
    try:
        check_quote(quote)
    except BadQuote as error:
        return f"bad_quote: {error}"
    if not intent.price.is_finite() or intent.price <= 0 or intent.price != intent.price.to_integral_value():
        return f"bad_price: {intent.price}"
    if not intent.quantity.is_finite() or intent.quantity <= 0 or intent.quantity % instrument.quantity_step:
        return f"bad_quantity: {intent.quantity}, a multiple of {instrument.quantity_step} is needed"
    tick = tick_beside(quote, intent.price, on)
    if intent.price % tick and intent.price not in (quote.bid, quote.ask):
        return f"off_tick: price {intent.price} is no multiple of {tick}"
    return None


def _position(row: BalanceRow) -> Position:
    return Position(row.hldg_qty, row.pchs_avg_pric)


def _cancellable(row: CancellableRow, today: date) -> OpenOrder:
    return OpenOrder(
        venue_order_id=f"{today:%Y%m%d}-{row.odno}",
        client_order_id=None,
        symbol=row.pdno,
        side=row.side,
        quantity=row.tot_ccld_qty + row.psbl_qty,
        filled=row.tot_ccld_qty,
        price=row.ord_unpr,
        currency=CURRENCY,
        at=datetime.combine(today, row.ord_tmd, KST).astimezone(UTC),
    )


def _open(row: OrderRow) -> OpenOrder:
    return OpenOrder(
        venue_order_id=row.venue_order_id,
        client_order_id=None,
        symbol=row.pdno,
        side=row.side,
        quantity=row.tot_ccld_qty + row.rmn_qty,
        filled=row.tot_ccld_qty,
        price=row.ord_unpr,
        currency=CURRENCY,
        at=row.at,
    )
