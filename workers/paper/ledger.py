"""The paper venue's books as tables: accounts, positions, orders and fills.

Every change of a market's books is made in a transaction that has taken the lock of its account first
(`lock_account`). What resting orders reserve is not stored but follows from them, so it cannot go astray.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import paper_accounts, paper_fills, paper_orders, paper_positions
from trading.types import Fill, OpenOrder, OrderIntent, OrderState, Placement, Position, Side
from workers.paper.matching import EXACT_DIGITS, RestingOrder

RESTING = (OrderState.ACCEPTED, OrderState.PARTLY_FILLED)
_ZERO = Decimal(0)

_orders, _fills = paper_orders.c, paper_fills.c
_rests = _orders.state.in_([state.value for state in RESTING])
_remaining = _orders.quantity - _orders.filled_quantity


@dataclass(frozen=True, slots=True)
class Books:
    """An account's cash and the units of one symbol, with what resting orders reserve of them."""

    currency: str
    cash: Decimal
    reserved_cash: Decimal
    held: Decimal
    cost: Decimal
    reserved_units: Decimal

    @property
    def free_cash(self) -> Decimal:
        with localcontext(prec=EXACT_DIGITS):
            return self.cash - self.reserved_cash

    @property
    def free_units(self) -> Decimal:
        return self.held - self.reserved_units


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order of whichever market, and the venue's word on it."""

    market: str
    symbol: str
    quantity: Decimal
    filled: Decimal
    placement: Placement


async def open_account(connection: AsyncConnection, market: str, currency: str, cash: Decimal) -> None:
    """Open the market's account unless there is one."""
    values = {"market": market, "currency": currency, "cash": cash, "opening_cash": cash}
    await connection.execute(insert(paper_accounts).values(values).on_conflict_do_nothing())


async def lock_account(connection: AsyncConnection, market: str) -> None:
    """Wait for the market's books and keep them until the transaction ends."""
    await connection.execute(select(paper_accounts.c.cash).where(paper_accounts.c.market == market).with_for_update())


async def books(connection: AsyncConnection, market: str, symbol: str) -> Books:
    """The account and one of its positions, read in one statement: no fill comes between. The account is open."""
    accounts, positions = paper_accounts.c, paper_positions.c
    reserved_cash = (
        select(func.coalesce(func.sum(_remaining * _orders.price * (1 + _orders.fee_rate)), 0))
        .where(_orders.market == market, _rests, _orders.side == Side.BUY.value)
        .scalar_subquery()
    )
    reserved_units = (
        select(func.coalesce(func.sum(_remaining), 0))
        .where(_orders.market == market, _orders.symbol == symbol, _rests, _orders.side == Side.SELL.value)
        .scalar_subquery()
    )
    statement = (
        select(
            accounts.currency,
            accounts.cash,
            reserved_cash.label("reserved_cash"),
            func.coalesce(positions.quantity, 0).label("held"),
            func.coalesce(positions.cost, 0).label("cost"),
            reserved_units.label("reserved_units"),
        )
        .select_from(
            paper_accounts.outerjoin(
                paper_positions, (positions.market == accounts.market) & (positions.symbol == symbol)
            )
        )
        .where(accounts.market == market)
    )
    row = (await connection.execute(statement)).one()
    return Books(row.currency, row.cash, row.reserved_cash, row.held, row.cost, row.reserved_units)


async def find_order(connection: AsyncConnection, client_order_id: str) -> StoredOrder | None:
    """The order of that id with its fills, oldest first, or None. A rejected order has no id at the venue, as at the
    real ones."""
    fill = (_fills.trade_id, _fills.quantity.label("traded"), _fills.price.label("traded_at"), _fills.fee, _fills.at)
    statement = (
        select(paper_orders, *fill)
        .select_from(paper_orders.outerjoin(paper_fills))
        .where(_orders.client_order_id == client_order_id)
        .order_by(_fills.at)
    )
    rows = (await connection.execute(statement)).all()
    if not rows:
        return None
    first = rows[0]
    executed = tuple(
        Fill(row.trade_id, row.traded, row.traded_at, row.fee, row.at) for row in rows if row.trade_id is not None
    )
    state = OrderState(first.state)
    venue_order_id = None if state is OrderState.REJECTED else _venue_order_id(client_order_id)
    placement = Placement(venue_order_id, state, executed, first.reason)
    return StoredOrder(first.market, first.symbol, first.quantity, first.filled_quantity, placement)


async def resting_symbols(connection: AsyncConnection, market: str) -> list[str]:
    """The symbols of a market in which orders rest."""
    statement = select(_orders.symbol).where(_orders.market == market, _rests).distinct().order_by(_orders.symbol)
    return list((await connection.scalars(statement)).all())


async def resting_orders(connection: AsyncConnection, market: str, symbol: str) -> list[RestingOrder]:
    """The book of a symbol."""
    of_order = _fills.client_order_id == _orders.client_order_id
    statement = select(
        paper_orders,
        select(func.count()).where(of_order).scalar_subquery().label("fills"),
        select(func.max(_fills.at)).where(of_order).scalar_subquery().label("last_fill_at"),
    ).where(_orders.market == market, _orders.symbol == symbol, _rests)
    return [
        RestingOrder(
            client_order_id=row.client_order_id,
            symbol=row.symbol,
            side=Side(row.side),
            quantity=row.quantity,
            filled=row.filled_quantity,
            price=row.price,
            fee_rate=row.fee_rate,
            created_at=row.created_at,
            fills=row.fills,
            last_fill_at=row.last_fill_at,
        )
        for row in (await connection.execute(statement)).all()
    ]


async def open_orders(connection: AsyncConnection, market: str, symbol: str | None) -> list[OpenOrder]:
    """What rests in the account, of one symbol or all, oldest first."""
    statement = (
        select(paper_orders, paper_accounts.c.currency)
        .join_from(paper_orders, paper_accounts)
        .where(_orders.market == market, _rests)
        .order_by(_orders.created_at, _orders.client_order_id)
    )
    if symbol is not None:
        statement = statement.where(_orders.symbol == symbol)
    return [
        OpenOrder(
            venue_order_id=_venue_order_id(row.client_order_id),
            client_order_id=row.client_order_id,
            symbol=row.symbol,
            side=Side(row.side),
            quantity=row.quantity,
            filled=row.filled_quantity,
            price=row.price,
            currency=row.currency,
            at=row.created_at,
        )
        for row in (await connection.execute(statement)).all()
    ]


async def taken_since(connection: AsyncConnection, market: str, symbol: str, since: datetime) -> dict[Side, Decimal]:
    """How many units the account has traded in a symbol at or after that time, by side."""
    statement = (
        select(_orders.side, func.sum(_fills.quantity).label("taken"))
        .join_from(paper_fills, paper_orders)
        .where(_orders.market == market, _orders.symbol == symbol, _fills.at >= since)
        .group_by(_orders.side)
    )
    return {Side(row.side): row.taken for row in (await connection.execute(statement)).all()}


async def account_row(connection: AsyncConnection, market: str) -> tuple[str, Decimal] | None:
    """The account's currency and its whole cash, or None before its first use."""
    accounts = paper_accounts.c
    statement = select(accounts.currency, accounts.cash).where(accounts.market == market)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else (row.currency, row.cash)


async def positions(connection: AsyncConnection, market: str) -> dict[str, Position]:
    """The market's positions by symbol, whole, without those sold off."""
    of = paper_positions.c
    statement = select(of.symbol, of.quantity, of.cost).where(of.market == market, of.quantity > 0)
    rows = (await connection.execute(statement.order_by(of.symbol))).all()
    return {row.symbol: Position(row.quantity, row.cost / row.quantity) for row in rows}


async def add_order(
    connection: AsyncConnection,
    intent: OrderIntent,
    *,
    fee_rate: Decimal,
    state: OrderState,
    filled: Decimal = _ZERO,
    reason: str | None = None,
    at: datetime,
) -> None:
    """Write down a new order as it stands."""
    await connection.execute(
        insert(paper_orders).values(
            client_order_id=intent.client_order_id,
            market=intent.market,
            symbol=intent.symbol,
            side=intent.side.value,
            quantity=intent.quantity,
            price=intent.price,
            state=state.value,
            reason=reason,
            created_at=at,
            fee_rate=fee_rate,
            time_in_force=intent.time_in_force.value,
            filled_quantity=filled,
        )
    )


async def advance(connection: AsyncConnection, order: RestingOrder, quantity: Decimal) -> None:
    """Add traded units to a resting order; it leaves the book when it has traded all."""
    filled = order.filled + quantity
    state = OrderState.FILLED if filled == order.quantity else OrderState.PARTLY_FILLED
    await connection.execute(
        update(paper_orders)
        .where(_orders.client_order_id == order.client_order_id)
        .values(filled_quantity=filled, state=state.value)
    )


async def end(connection: AsyncConnection, client_order_id: str, reason: str) -> None:
    """Take a resting order out of the book; it reserves nothing any more."""
    await connection.execute(
        update(paper_orders)
        .where(_orders.client_order_id == client_order_id, _rests)
        .values(state=OrderState.CANCELLED.value, reason=reason)
    )


async def book_fill(
    connection: AsyncConnection, market: str, symbol: str, side: Side, client_order_id: str, fill: Fill
) -> None:
    """Write down an order's fill and move cash and units by it. Selling keeps the average price of the rest."""
    await connection.execute(
        insert(paper_fills).values(
            trade_id=fill.trade_id,
            client_order_id=client_order_id,
            quantity=fill.quantity,
            price=fill.price,
            fee=fill.fee,
            at=fill.at,
        )
    )
    before = await books(connection, market, symbol)
    with localcontext(prec=EXACT_DIGITS):
        value = fill.price * fill.quantity
        if side is Side.BUY:
            cash, held = before.cash - value - fill.fee, before.held + fill.quantity
            cost = before.cost + value + fill.fee
        else:
            cash, held = before.cash + value - fill.fee, before.held - fill.quantity
    if side is Side.SELL:
        cost = before.cost * held / before.held
    await connection.execute(update(paper_accounts).where(paper_accounts.c.market == market).values(cash=cash))
    position = {"quantity": held, "cost": cost}
    await connection.execute(
        insert(paper_positions)
        .values(market=market, symbol=symbol, **position)
        .on_conflict_do_update(index_elements=["market", "symbol"], set_=position)
    )


def _venue_order_id(client_order_id: str) -> str:
    return f"paper-{client_order_id}"
