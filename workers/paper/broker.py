"""The paper broker: immediate-or-cancel orders against real quotes, one database transaction each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.tables import paper_accounts, paper_fills, paper_orders, paper_positions
from trading.types import Account, Fill, Holdings, Instrument, OrderIntent, OrderState, Placement, Position, Quote, Side
from workers.errors import VenueError
from workers.paper import rules

MAX_QUOTE_AGE = timedelta(seconds=60)
_ZERO = Decimal(0)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Book:
    """One account and one of its positions, both locked."""

    currency: str
    cash: Decimal
    held: Decimal
    cost: Decimal


class PaperBroker:
    """`workers.ports.Broker` for one market. The account is opened with `opening_cash[currency]` on first use.

    A quote older than `max_quote_age` at `now()` is refused.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        market: str,
        *,
        opening_cash: Mapping[str, Decimal],
        now: Callable[[], datetime] = _utc_now,
        max_quote_age: timedelta = MAX_QUOTE_AGE,
    ) -> None:
        self.market = market
        self._engine = engine
        self._opening_cash = opening_cash
        self._now = now
        self._max_quote_age = max_quote_age

    async def account(self, instrument: Instrument) -> Account:
        """Free cash and the position in that instrument. Raises `VenueError` for a currency the market's
        account is not in."""
        async with self._engine.begin() as connection:
            await self._open(connection, instrument.currency)
            book = await self._book(connection, instrument.symbol, lock=False)
        self._check_currency(book.currency, instrument.currency)
        return Account(book.currency, book.cash, _position(book.held, book.cost))

    async def holdings(self) -> Holdings | None:
        """Everything the account holds, or None before its first use."""
        accounts, positions = paper_accounts.c, paper_positions.c
        of_market = select(positions.symbol, positions.quantity, positions.cost).where(
            positions.market == self.market, positions.quantity > 0
        )
        async with self._engine.connect() as connection:
            # one snapshot for both reads, or a fill between them would be counted twice or not at all
            await connection.execution_options(isolation_level="REPEATABLE READ")
            found = select(accounts.currency, accounts.cash).where(accounts.market == self.market)
            account = (await connection.execute(found)).one_or_none()
            rows = (await connection.execute(of_market.order_by(positions.symbol))).all()
        if account is None:
            return None
        held = {row.symbol: _position(row.quantity, row.cost) for row in rows}
        return Holdings(account.currency, account.cash, held)

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Fill the whole quantity at the quote, cancel it, or reject it with a reason that names the figures.

        The same `client_order_id` again returns the first placement, whatever the quote is by then. Orders
        of one market are worked off one after the other, under the lock of its account. Raises `VenueError`
        for a currency the account is not in, and `ValueError` for an order or quote of something else.
        """
        if intent.market != self.market or not intent.symbol == instrument.symbol == quote.symbol:
            raise ValueError(
                f"paper {self.market}: order for {intent.market} {intent.symbol}, "
                f"instrument {instrument.symbol}, quote {quote.symbol}"
            )
        async with self._engine.begin() as connection:
            await self._open(connection, instrument.currency)
            book = await self._book(connection, intent.symbol, lock=True)
            first = await _placement(connection, intent.client_order_id)
            if first is not None:
                return first
            self._check_currency(book.currency, instrument.currency)
            self._check_currency(book.currency, intent.currency)
            now = self._now()
            reason = rules.refusal(
                intent, instrument, quote, now=now, max_quote_age=self._max_quote_age
            ) or rules.shortfall(intent, instrument, cash=book.cash, held=book.held)
            if reason is not None:
                return await self._write(connection, intent, OrderState.REJECTED, now, reason=reason)
            price = rules.fill_price(intent, quote)
            if price is None:
                reason = rules.not_crossed(intent, quote)
                return await self._write(connection, intent, OrderState.CANCELLED, now, reason=reason)
            fee = price * intent.quantity * instrument.fee_rate
            fill = Fill(f"paper-{intent.client_order_id}", intent.quantity, price, fee, now)
            await self._settle(connection, intent, book, fill)
            return await self._write(connection, intent, OrderState.FILLED, now, fill=fill)

    async def find(self, client_order_id: str) -> Placement | None:
        """The placement of an order placed earlier, or None if the venue never saw that id."""
        async with self._engine.connect() as connection:
            return await _placement(connection, client_order_id)

    async def _open(self, connection: AsyncConnection, currency: str) -> None:
        cash = self._opening_cash.get(currency)
        if cash is None:
            known = ", ".join(sorted(self._opening_cash)) or "none"
            raise VenueError(f"paper {self.market}: no opening cash in {currency} (there is: {known}); set it")
        values = {"market": self.market, "currency": currency, "cash": cash, "opening_cash": cash}
        await connection.execute(insert(paper_accounts).values(values).on_conflict_do_nothing())

    async def _book(self, connection: AsyncConnection, symbol: str, *, lock: bool) -> _Book:
        accounts, positions = paper_accounts.c, paper_positions.c
        account = select(accounts.currency, accounts.cash).where(accounts.market == self.market)
        position = select(positions.quantity, positions.cost).where(
            positions.market == self.market, positions.symbol == symbol
        )
        if lock:
            account, position = account.with_for_update(), position.with_for_update()
        money = (await connection.execute(account)).one()
        held = (await connection.execute(position)).one_or_none()
        return _Book(money.currency, money.cash, *(held or (_ZERO, _ZERO)))

    async def _settle(self, connection: AsyncConnection, intent: OrderIntent, book: _Book, fill: Fill) -> None:
        value = fill.price * fill.quantity
        if intent.side is Side.BUY:
            after = replace(
                book,
                cash=book.cash - value - fill.fee,
                held=book.held + fill.quantity,
                cost=book.cost + value + fill.fee,
            )
        else:
            rest = book.held - fill.quantity
            after = replace(
                book, cash=book.cash + value - fill.fee, held=rest, cost=book.cost * rest / book.held if rest else _ZERO
            )
        await connection.execute(
            update(paper_accounts).where(paper_accounts.c.market == self.market).values(cash=after.cash)
        )
        position = {"quantity": after.held, "cost": after.cost}
        await connection.execute(
            insert(paper_positions)
            .values(market=self.market, symbol=intent.symbol, **position)
            .on_conflict_do_update(index_elements=["market", "symbol"], set_=position)
        )

    async def _write(
        self,
        connection: AsyncConnection,
        intent: OrderIntent,
        state: OrderState,
        now: datetime,
        *,
        fill: Fill | None = None,
        reason: str | None = None,
    ) -> Placement:
        await connection.execute(
            insert(paper_orders).values(
                client_order_id=intent.client_order_id,
                market=self.market,
                symbol=intent.symbol,
                side=intent.side.value,
                quantity=intent.quantity,
                price=intent.price,
                state=state.value,
                reason=reason,
                created_at=now,
            )
        )
        if fill is not None:
            await connection.execute(
                insert(paper_fills).values(
                    trade_id=fill.trade_id,
                    client_order_id=intent.client_order_id,
                    quantity=fill.quantity,
                    price=fill.price,
                    fee=fill.fee,
                    at=fill.at,
                )
            )
        return _word(intent.client_order_id, state, reason, fill)

    def _check_currency(self, account: str, wanted: str) -> None:
        if account != wanted:
            raise VenueError(f"paper {self.market}: the account is in {account}, not in {wanted}; correct the symbol")


async def _placement(connection: AsyncConnection, client_order_id: str) -> Placement | None:
    order, fill = paper_orders.c, paper_fills.c
    statement = (
        select(order.state, order.reason, fill.trade_id, fill.quantity, fill.price, fill.fee, fill.at)
        .select_from(paper_orders.outerjoin(paper_fills))
        .where(order.client_order_id == client_order_id)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    executed = None if row.trade_id is None else Fill(row.trade_id, row.quantity, row.price, row.fee, row.at)
    return _word(client_order_id, OrderState(row.state), row.reason, executed)


def _word(client_order_id: str, state: OrderState, reason: str | None, fill: Fill | None) -> Placement:
    """A rejected order has no id at the venue, as at the real ones."""
    venue_order_id = None if state is OrderState.REJECTED else f"paper-{client_order_id}"
    return Placement(venue_order_id, state, () if fill is None else (fill,), reason)


def _position(quantity: Decimal, cost: Decimal) -> Position:
    return Position(quantity, cost / quantity if quantity else _ZERO)
