"""KIS as `workers.ports.Broker` for US stocks: one account, USD, limit orders for the day.

KIS has no immediate-or-cancel order for the US, so one is made of three calls: a limit order, looks at what it
traded, and the cancellation of the rest. What that means:
- Between the order and its cancellation the rest stands in the book for a few seconds and can trade at its limit.
- If this process dies in between, or the cancellation does not get through, the rest stands there until somebody
  asks for it: `find` and `cancel` both take it out, so an order of that kind that is told as `accepted` or
  `partly_filled` has to be asked for again. At the latest KIS ends it with the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

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
    Side,
    TimeInForce,
)
from workers.dated import in_force, load
from workers.errors import BadCredentials, Rejected, Throttled, UnknownSymbol, Unproven, VenueError
from workers.http import NotSent
from workers.kis.environment import MOCK
from workers.kis.errors import TurnedAway
from workers.kis.overseas_client import EXCHANGES, Exchange, KisOverseasClient, kis_symbol, our_symbol
from workers.kis.overseas_matching import CLOCK_SLACK, KnownUs, SentUs, match_us
from workers.kis.overseas_orders import (
    CURRENCY,
    RESTING,
    days_of,
    ended,
    open_order,
    placement_of,
    refusal,
    split_number,
    unseen,
)
from workers.kis.overseas_trading import KisOverseasTrading
from workers.kis.overseas_wire import UsOrdered, UsOrderRow, session_of
from workers.kis.wire import day_of
from workers.ports import Absence

log = logging.getLogger(__name__)

ABSENCE = Absence(looks=4, seconds=30.0)
# after an accepted order and after its cancellation; KIS passes both on to the exchange, which takes seconds
LOOKS = 4
PAUSE_SECONDS = 1.0
REMEMBERED = 4_096
# what the account can spend does not hang on the symbol: any that is listed will do
REFERENCE, REFERENCE_PRICE = "AAPL", Decimal(1)


class KisOverseasBroker:
    """US orders of one account. `known` asks the order journal, see `workers.kis.overseas_known`."""

    market = "yfinance"
    absence = ABSENCE

    def __init__(
        self,
        trading: KisOverseasTrading,
        quotes: KisOverseasClient,
        known: KnownUs,
        *,
        looks: int = LOOKS,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._trading = trading
        self._quotes = quotes
        self._known = known
        self._looks = looks
        self._pause = pause_seconds
        self._clock = clock
        self._fees = load("workers.yfinance", "fees.json")["rates"]
        # the journal lets nobody send twice; this holds it also where the journal is not asked
        self._begun: OrderedDict[str, Placement | None] = OrderedDict()

    async def account(self, instrument: Instrument) -> Account:
        """What the USD in hand can buy, and what of the symbol can be sold now."""
        if instrument.currency != CURRENCY:
            raise VenueError(f"kis: US orders are in {CURRENCY}, {instrument.symbol} is in {instrument.currency}")
        exchange = await self._quotes.exchange_of(instrument.symbol)
        last = (await self._quotes.price(exchange, instrument.symbol)).last
        buyable = await self._trading.buyable(exchange, instrument.symbol, last or REFERENCE_PRICE)
        rows = await self._trading.balance()
        held = next((row for row in rows if our_symbol(row.ovrs_pdno) == instrument.symbol), None)
        position = Position(Decimal(0), Decimal(0))
        if held is not None and held.ovrs_cblc_qty > 0:
            position = Position(held.ord_psbl_qty, held.pchs_avg_pric)
        return Account(CURRENCY, buyable.ovrs_ord_psbl_amt, position)

    async def holdings(self) -> Holdings | None:
        """Everything held in USD, and the USD there are to spend. Money and shares that resting orders reserve are in
        it: an order that has not traded changes nothing."""
        rows = await self._trading.balance()
        buyable = await self._trading.buyable(EXCHANGES[0], REFERENCE, REFERENCE_PRICE)
        resting = [order for order in await self.open_orders() if order.side is Side.BUY]
        reserved = sum(((order.quantity - order.filled) * order.price for order in resting), Decimal(0))
        held = {
            our_symbol(row.ovrs_pdno): Position(row.ovrs_cblc_qty, row.pchs_avg_pric)
            for row in rows
            if row.ovrs_cblc_qty > 0
        }
        return Holdings(CURRENCY, buyable.ovrs_ord_psbl_amt + reserved, held)

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once and read what it traded; the rest of an immediate-or-cancel one is cancelled.

        Raises `Throttled` (also as `TurnedAway`), `BadCredentials`, `UnknownSymbol` and `NotSent` only if it was not
        created, and `Unproven` if nothing proves what became of it: `find` settles it. An order that was accepted is
        returned as such, also if the list could not be read. The same `client_order_id` again sends nothing while the
        first one may exist, and looks for it. Raises `ValueError` for an order or quote of something else.
        """
        if intent.market != self.market or not intent.symbol == instrument.symbol == quote.symbol:
            raise ValueError(f"kis: order for {intent.market} {intent.symbol}, instrument {instrument.symbol}")
        if intent.currency != CURRENCY:
            raise ValueError(f"kis: US orders are in {CURRENCY}, this one is in {intent.currency}")
        if reason := refusal(intent, instrument, quote):
            return Placement(None, OrderState.REJECTED, reason=reason)
        sent = await self._known(intent.client_order_id)
        if sent is not None and sent.venue_order_id is not None:
            return await self._look(sent, sent.venue_order_id)
        if not self._begin(intent.client_order_id):
            return await self._first_placement(intent.client_order_id)
        try:
            number = await self._send(intent)
        except Rejected as error:
            refused = Placement(None, OrderState.REJECTED, reason=str(error))
            self._begun[intent.client_order_id] = refused
            return refused
        except (Throttled, BadCredentials, UnknownSymbol, NotSent):
            self._begun.pop(intent.client_order_id, None)
            raise
        return await self._after(sent or SentUs(intent, self._clock(), number, frozenset()), number)

    async def find(self, client_order_id: str, venue_order_id: str | None = None) -> Placement | None:
        """What became of an order the journal knows as sent, by its number where that is known; None where this look
        found none, or the journal does not know it. What still rests of an immediate-or-cancel order is taken out.

        Raises `Ambiguous` where two orders could be it, `Unproven` for one that its day's list has lost, and what a
        look raises: a look that fails proves nothing.
        """
        sent = await self._known(client_order_id)
        if sent is None:
            return None
        found = await self._identified(sent, venue_order_id)
        if found is None:
            return None
        number = str(found.venue_order_id)
        placement = await self._look(found, number)
        if placement.state in RESTING and found.intent.time_in_force is TimeInForce.IOC:
            return await self._end(found, number, placement, looks=1)
        return placement

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        """Take what rests of an order out of the book; one that has ended is told as it is.

        Where KIS refuses and the order rests on, `reason` has its words. Raises `Unproven` for an order that the
        journal does not know as sent or that KIS does not show, and where nothing tells whether it rests.
        """
        sent = await self._known(client_order_id)
        found = await self._identified(sent, venue_order_id) if sent is not None else None
        if found is None:
            raise Unproven(f"kis order {client_order_id}: there is no order of it to cancel that KIS shows")
        return await self._take_out(found, str(found.venue_order_id), looks=self._looks)

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """Every order that rests, oldest first. Mock trading has no list of them: there it is read off all orders."""
        if self._trading.calls.environment.name == MOCK:
            today = session_of(self._clock())
            rows = await self._trading.fills(today - timedelta(days=1), max(today, self._trading.calls.today()))
        else:
            rows = await self._trading.open()
        now = self._clock()
        resting = [
            row for row in rows if row.nccs_qty > 0 and not row.refused and _is_order(row) and not ended(row, now)
        ]
        wanted = [row for row in resting if symbol is None or our_symbol(row.pdno) == symbol]
        return [open_order(row) for row in sorted(wanted, key=lambda row: (row.at, row.odno))]

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

    async def _send(self, intent: OrderIntent) -> str:
        """Send the order once and return its number."""
        try:
            exchange = await self._quotes.exchange_of(intent.symbol)
        except (UnknownSymbol, BadCredentials):
            raise
        except VenueError as error:
            raise TurnedAway(f"kis us_order {intent.symbol}: not sent, its exchange is not known: {error}") from None
        ordered = await self._trading.order(intent.side, exchange, intent.symbol, intent.quantity, intent.price)
        return self._number(ordered)

    def _number(self, ordered: UsOrdered) -> str:
        """The order number with its day in Korea."""
        return f"{day_of(ordered.ORD_TMD, self._clock()):%Y%m%d}-{ordered.ODNO}"

    async def _after(self, sent: SentUs, number: str) -> Placement:
        """What became of an order that KIS just took. It is proven to exist, so nothing is raised from here on."""
        placement = unseen(sent, number)
        is_ioc = sent.intent.time_in_force is TimeInForce.IOC
        for look in range(self._looks if is_ioc else 1):
            if look:
                await asyncio.sleep(self._pause)
            try:
                placement = await self._look(sent, number)
            except VenueError as error:
                log.warning("%s: order %s was taken, a look at it failed: %s", sent.intent.symbol, number, error)
            if placement.state not in RESTING:
                return placement
        if is_ioc:
            return await self._end(sent, number, placement, looks=self._looks)
        return placement

    async def _end(self, sent: SentUs, number: str, placement: Placement, *, looks: int) -> Placement:
        """The end of an immediate-or-cancel order, or `placement` where it could not be brought about."""
        try:
            return await self._take_out(sent, number, looks=looks)
        except VenueError as error:
            log.warning("%s: the rest of order %s may still rest: %s", sent.intent.symbol, number, error)
            return placement

    async def _take_out(self, sent: SentUs, number: str, *, looks: int) -> Placement:
        """Cancel what rests, unless nothing does, and return the venue's word afterwards."""
        row, changes = await self._row(sent, number)
        left = sent.intent.quantity - sent.filled
        if row is not None:
            placement = self._placement(row, changes, sent)
            if placement.state not in RESTING:
                return placement
            # none left, but not ended either: what the list does not tell yet is cancelled as a whole
            left = row.nccs_qty or row.ft_ord_qty - row.ft_ccld_qty
        exchange = await self._exchange(sent, row)
        _, odno = split_number(number)
        try:
            await self._trading.cancel(exchange, sent.intent.symbol, odno, left)
        except Rejected as error:
            # it may have ended just now: the list tells
            placement = await self._look_after(sent, number)
            return replace(placement, reason=f"still_resting: {error}") if placement.state in RESTING else placement
        except Unproven as error:
            placement = await self._look_after(sent, number)
            if placement.state in RESTING:
                raise error from None
            return placement
        placement = await self._look_after(sent, number)
        for _ in range(looks - 1):
            if placement.state not in RESTING:
                break
            await asyncio.sleep(self._pause)
            placement = await self._look_after(sent, number)
        return placement

    async def _look_after(self, sent: SentUs, number: str) -> Placement:
        """A look after a cancellation was sent, whose failure proves nothing of it. Raises `Unproven`."""
        try:
            return await self._look(sent, number)
        except VenueError as error:
            raise Unproven(
                f"kis us_cancel {sent.intent.symbol}: sent for order {number}, and what became of it could not be "
                f"read; ask again ({error})"
            ) from None

    async def _exchange(self, sent: SentUs, row: UsOrderRow | None) -> Exchange:
        told = next((known for known in EXCHANGES if row is not None and row.ovrs_excg_cd == known.orders), None)
        return told or await self._quotes.exchange_of(sent.intent.symbol)

    async def _identified(self, sent: SentUs, number: str | None) -> SentUs | None:
        """The order with its number; None where KIS shows no order that could be it. Raises `Ambiguous`."""
        if sent.venue_order_id is not None or number is not None:
            return replace(sent, venue_order_id=sent.venue_order_id or number)
        first = session_of(sent.sent_at - CLOCK_SLACK)
        # a day on either side, for an order of midnight or of the hours that belong to the next session
        last = max(first, min(first + timedelta(days=2), self._trading.calls.today()))
        rows = await self._trading.fills(first - timedelta(days=1), last)
        row = match_us(sent.intent, sent.sent_at, sent.owned, rows)
        return None if row is None else replace(sent, venue_order_id=row.venue_order_id)

    async def _look(self, sent: SentUs, number: str) -> Placement:
        row, changes = await self._row(sent, number)
        if row is not None:
            return self._placement(row, changes, sent)
        if days_of(number)[1] < session_of(self._clock()):
            raise Unproven(f"kis {sent.intent.symbol}: the list of its day has no order {number}; compare it by hand")
        return unseen(sent, number)

    async def _row(self, sent: SentUs, number: str) -> tuple[UsOrderRow | None, list[UsOrderRow]]:
        """The order's row, None where the list does not show it, and the rows of changes to it."""
        _, odno = split_number(number)
        rows = await self._trading.fills(*days_of(number))
        ours = [row for row in rows if row.pdno == kis_symbol(sent.intent.symbol)]
        order = next((row for row in ours if row.venue_order_id == number), None)
        # numbers begin anew every day, so a change of that number can be about an order of the day before
        changes = [row for row in ours if row.orgn_odno == odno and (order is None or row.at >= order.at)]
        return order, changes

    def _placement(self, row: UsOrderRow, changes: list[UsOrderRow], sent: SentUs) -> Placement:
        rate = Decimal(in_force(self._fees, row.ord_dt)["brokerage"])
        return placement_of(row, changes, sent, fee_rate=rate, now=self._clock())


def _is_order(row: UsOrderRow) -> bool:
    # what was changed by hand rests under its new number; a cancellation never rests
    return row.rvse_cncl_dvsn != "02"
