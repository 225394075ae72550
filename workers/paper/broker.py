"""The paper broker: orders against real quotes, with a book of its own, one database transaction per change.

The venue has no clock of its own: it matches what rests when it is looked at. Quotes are asked for before a
transaction begins, so no lock is ever held over a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
from workers.errors import VenueError
from workers.http import check_in_time
from workers.paper import ledger, rules
from workers.paper.matching import at_once, execution, matches, opposite_price
from workers.ports import Absence

log = logging.getLogger(__name__)

MAX_QUOTE_AGE = timedelta(seconds=60)
_ZERO = Decimal(0)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PaperBroker:
    """`workers.ports.Broker` for one market. The account is opened with `opening_cash[currency]` on first use.

    `find`, `cancel` and `open_orders` first match what rests in the symbols concerned against `quotes(symbol)`;
    where that raises a `VenueError`, or its quote is bad or older than `max_quote_age` at `now()`, the book stays as
    it is and a warning says so. Without `quotes` only `place` matches, against the quote it is
    given. `tick_size` is the price step at an order's own price; without it the quote's step holds for every price.

    An order fills at most by the size that the quote shows, less what the account has traded since. Own orders never
    trade with one another, and none ends with a session.
    """

    # longer than an order may take from its claim to here, so that what is called absent cannot come any more
    absence = Absence(looks=1, seconds=15.0)

    def __init__(
        self,
        engine: AsyncEngine,
        market: str,
        *,
        opening_cash: Mapping[str, Decimal],
        quotes: Callable[[str], Awaitable[Quote]] | None = None,
        tick_size: Callable[[Instrument, Decimal], Decimal] | None = None,
        now: Callable[[], datetime] = _utc_now,
        max_quote_age: timedelta = MAX_QUOTE_AGE,
    ) -> None:
        self.market = market
        self._engine = engine
        self._opening_cash = opening_cash
        self._quotes = quotes
        self._tick_size = tick_size
        self._now = now
        self._max_quote_age = max_quote_age

    async def account(self, instrument: Instrument) -> Account:
        """Free cash and the units free to sell: without what resting orders reserve, as the venues count them. The
        average price is that of the whole position. Raises `VenueError` for a currency the account is not in."""
        async with self._engine.begin() as connection:
            await self._open(connection, instrument.currency)
            books = await ledger.books(connection, self.market, instrument.symbol)
        self._check_currency(books.currency, instrument.currency)
        average = books.cost / books.held if books.held else _ZERO
        return Account(books.currency, books.free_cash, Position(books.free_units, average))

    async def holdings(self) -> Holdings | None:
        """Everything the account holds, or None before its first use: cash and positions are whole, with what resting
        orders reserve of them."""
        async with self._engine.connect() as connection:
            # one snapshot for both reads, or a fill between them would be counted twice or not at all
            await connection.execution_options(isolation_level="REPEATABLE READ")
            account = await ledger.account_row(connection, self.market)
            positions = await ledger.positions(connection, self.market)
        return None if account is None else Holdings(*account, positions)

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Trade what crosses at the quote; the rest of a `gtc` order rests, that of an `ioc` order is cancelled. A
        refusal is `rejected`, with a reason that names the figures.

        What rests in the symbol already is matched against the quote first. The same `client_order_id` again places
        nothing and returns the placement as it is now, whatever the quote is. Orders of one market are worked off one
        after the other, under the lock of its account. What is no order at all (quantity or price not positive) is
        rejected without a trace, as at the venues. Raises `VenueError` for a currency the account is not in, and
        `ValueError` for an order or quote of something else.
        """
        if intent.market != self.market or not intent.symbol == instrument.symbol == quote.symbol:
            raise ValueError(
                f"paper {self.market}: order for {intent.market} {intent.symbol}, "
                f"instrument {instrument.symbol}, quote {quote.symbol}"
            )
        async with self._engine.begin() as connection:
            await self._open(connection, instrument.currency)
            await ledger.lock_account(connection, self.market)
            known = await ledger.find_order(connection, intent.client_order_id)
            if known is not None and known.market != self.market:
                raise ValueError(f"paper {self.market}: order {intent.client_order_id} is one of {known.market}")
            if known is None and (reason := rules.bad_number(intent)) is not None:
                # no order at all: the tables hold none of such a quantity, and asking again gives the same answer
                return Placement(None, OrderState.REJECTED, reason=reason)
            if known is None:
                check_in_time(f"paper {self.market} order {intent.symbol}")
                await self._take(connection, intent, instrument, quote)
                known = await ledger.find_order(connection, intent.client_order_id)
        if known is None:
            raise AssertionError(f"order {intent.client_order_id} was written in this transaction")
        return known.placement

    async def find(self, client_order_id: str, venue_order_id: str | None = None) -> Placement | None:
        """The placement as it is now, or None: the venue never saw that id, and one look proves it."""
        order = await self._order(client_order_id)
        if order is None:
            # one that is being placed just now is waited for: only then a look proves that there is none
            async with self._engine.begin() as connection:
                await ledger.lock_account(connection, self.market)
            order = await self._order(client_order_id)
        if order is not None and order.placement.state in ledger.RESTING:
            await self._match([order.symbol])
            order = await self._order(client_order_id)
        return None if order is None else order.placement

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        """Take the rest of an order out of the book, which frees what it reserved; of an order that has ended, its
        word as it stands. Raises `ValueError` where there is no such order."""
        if await self.find(client_order_id) is None:
            raise ValueError(f"paper {self.market}: no such order: {client_order_id}")
        async with self._engine.begin() as connection:
            await ledger.lock_account(connection, self.market)
            order = await ledger.find_order(connection, client_order_id)
            if order is not None and order.placement.state in ledger.RESTING:
                reason = rules.cancelled_rest(order.filled, order.quantity) if order.filled else rules.CANCELLED
                await ledger.end(connection, client_order_id, reason)
                order = await ledger.find_order(connection, client_order_id)
        if order is None:
            raise AssertionError(f"order {client_order_id} was there a moment ago, and orders are never deleted")
        return order.placement

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """Every order that rests in the account, of one symbol or all, oldest first."""
        await self._match(None if symbol is None else [symbol])
        async with self._engine.connect() as connection:
            return await ledger.open_orders(connection, self.market, symbol)

    async def _order(self, client_order_id: str) -> ledger.StoredOrder | None:
        async with self._engine.connect() as connection:
            order = await ledger.find_order(connection, client_order_id)
        return order if order is not None and order.market == self.market else None

    async def _open(self, connection: AsyncConnection, currency: str) -> None:
        cash = self._opening_cash.get(currency)
        if cash is None:
            known = ", ".join(sorted(self._opening_cash)) or "none"
            raise VenueError(f"paper {self.market}: no opening cash in {currency} (there is: {known}); set it")
        await ledger.open_account(connection, self.market, currency, cash)

    async def _take(
        self, connection: AsyncConnection, intent: OrderIntent, instrument: Instrument, quote: Quote
    ) -> None:
        """Write down a new order with what it trades at once. The account is locked."""
        books = await ledger.books(connection, self.market, intent.symbol)
        self._check_currency(books.currency, instrument.currency)
        self._check_currency(books.currency, intent.currency)
        now = self._now()
        fee_rate = instrument.fee_rate
        reason = rules.quote_fault(quote, now=now, max_quote_age=self._max_quote_age)
        if reason is None:
            await self._trade_resting(connection, quote, now)
            books = await ledger.books(connection, self.market, intent.symbol)
            tick_size = self._tick(instrument, intent.price, quote)
            reason = rules.off_grid(intent, instrument, tick_size) or rules.shortfall(
                intent, instrument, cash=books.free_cash, held=books.free_units
            )
        if reason is not None:
            rejected = OrderState.REJECTED
            await ledger.add_order(connection, intent, fee_rate=fee_rate, state=rejected, reason=reason, at=now)
            return
        taken = await ledger.taken_since(connection, self.market, intent.symbol, quote.at)
        traded = at_once(intent.side, intent.quantity, intent.price, quote, taken.get(intent.side, _ZERO))
        state, reason = _outcome(intent, quote, traded)
        await ledger.add_order(connection, intent, fee_rate=fee_rate, state=state, filled=traded, reason=reason, at=now)
        if traded:
            price = opposite_price(intent.side, quote)
            fill = execution(intent.client_order_id, 1, traded, price, fee_rate, _traded_at(quote, now))
            await ledger.book_fill(connection, self.market, intent.symbol, intent.side, intent.client_order_id, fill)

    async def _match(self, symbols: Iterable[str] | None = None) -> None:
        """Match what rests in these symbols, or in all, against their quotes now. Only symbols with resting orders
        are asked for, all at once: a venue that is down costs one time-out, not one per symbol."""
        if self._quotes is None:
            return
        async with self._engine.connect() as connection:
            resting = await ledger.resting_symbols(connection, self.market)
        asked = resting if symbols is None else sorted(set(resting) & set(symbols))
        if not asked:
            return
        async with asyncio.TaskGroup() as group:
            answers = [(symbol, group.create_task(self._quote(self._quotes, symbol))) for symbol in asked]
        for symbol, answer in answers:
            quote = answer.result()
            if quote is None:
                continue
            if quote.symbol != symbol:
                raise ValueError(f"paper {self.market}: asked for a quote of {symbol}, got one of {quote.symbol}")
            now = self._now()
            fault = rules.quote_fault(quote, now=now, max_quote_age=self._max_quote_age)
            if fault is not None:
                log.warning("paper %s: %s: the book stays as it is: %s", self.market, symbol, fault)
                continue
            async with self._engine.begin() as connection:
                await ledger.lock_account(connection, self.market)
                await self._trade_resting(connection, quote, now)

    async def _quote(self, quotes: Callable[[str], Awaitable[Quote]], symbol: str) -> Quote | None:
        try:
            return await quotes(symbol)
        except VenueError as error:
            log.warning("paper %s: %s: the book stays as it is: %s", self.market, symbol, error)
            return None

    async def _trade_resting(self, connection: AsyncConnection, quote: Quote, now: datetime) -> None:
        """Fill what the quote reaches in its symbol's book, at the orders' own prices. The account is locked."""
        resting = await ledger.resting_orders(connection, self.market, quote.symbol)
        if not resting:
            return
        taken = await ledger.taken_since(connection, self.market, quote.symbol, quote.at)
        for order, quantity in matches(resting, quote, taken):
            number = order.fills + 1
            at = _traded_at(quote, now)
            fill = execution(order.client_order_id, number, quantity, order.price, order.fee_rate, at)
            await ledger.book_fill(connection, self.market, order.symbol, order.side, order.client_order_id, fill)
            await ledger.advance(connection, order, quantity)

    def _tick(self, instrument: Instrument, price: Decimal, quote: Quote) -> Decimal:
        return quote.tick_size if self._tick_size is None else self._tick_size(instrument, price)

    def _check_currency(self, account: str, wanted: str) -> None:
        if account != wanted:
            raise VenueError(f"paper {self.market}: the account is in {account}, not in {wanted}; correct the symbol")


def _outcome(intent: OrderIntent, quote: Quote, traded: Decimal) -> tuple[OrderState, str | None]:
    """The state and reason of an order that has just traded that many units."""
    if traded == intent.quantity:
        return OrderState.FILLED, None
    if intent.time_in_force is TimeInForce.GTC:
        return (OrderState.PARTLY_FILLED if traded else OrderState.ACCEPTED), None
    if traded:
        return OrderState.CANCELLED, rules.cancelled_rest(traded, intent.quantity)
    return OrderState.CANCELLED, rules.not_crossed(intent, quote)


def _traded_at(quote: Quote, now: datetime) -> datetime:
    """The time of a fill: never before its quote, whose clock may be ahead, so that the quote is known as used."""
    return max(now, quote.at)
