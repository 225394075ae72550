"""What traded, read from the fills, and what may have traded without proof yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import fills, order_events, orders
from trading.orders import UNPROVEN
from trading.pnl import Trade
from trading.types import Fill, OrderState, Side

_UNPROVEN = sorted(state.value for state in UNPROVEN)
_FILLS_OF_ORDERS = fills.join(orders, orders.c.id == fills.c.order_id)


@dataclass(frozen=True, slots=True)
class OldestUnknown:
    """The order that has waited longest for proof, and the seconds since it was sent, by the database's clock."""

    age_seconds: float
    client_order_id: str


async def trades(engine: AsyncEngine, asset_types: Mapping[str, str]) -> list[Trade]:
    """Every fill since the beginning, in order of time, as `trading.pnl.book` takes them.

    `asset_types` says by market what is traded there. Raises `ValueError` for a market it leaves out.
    """
    statement = (
        select(
            *(orders.c[name] for name in ("market", "symbol", "side", "currency")),
            *(fills.c[name] for name in ("trade_id", "quantity", "price", "fee", "at")),
        )
        .select_from(_FILLS_OF_ORDERS)
        .order_by(fills.c.at, fills.c.trade_id)
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).all()
    unknown = {row.market for row in rows} - asset_types.keys()
    if unknown:
        raise ValueError(f"no asset type is given for {', '.join(sorted(unknown))}, where there are fills")
    return [
        Trade(
            row.market,
            row.symbol,
            asset_types[row.market],
            row.currency,
            Side(row.side),
            Fill(row.trade_id, row.quantity, row.price, row.fee, row.at),
        )
        for row in rows
    ]


async def net_units(engine: AsyncEngine, market: str) -> dict[str, Decimal]:
    """What each symbol's position is by our own fills alone, bought less sold; the symbols that come to 0 are left
    out, and one that was held before anything was bought here may be below it."""
    signed = case((orders.c.side == Side.BUY.value, fills.c.quantity), else_=-fills.c.quantity)
    net = func.sum(signed)
    statement = (
        select(orders.c.symbol, net.label("net"))
        .select_from(_FILLS_OF_ORDERS)
        .where(orders.c.market == market)
        .group_by(orders.c.symbol)
        .having(net != 0)
    )
    async with engine.connect() as connection:
        return {row.symbol: row.net for row in await connection.execute(statement)}


async def last_fill_at(engine: AsyncEngine, market: str, symbol: str) -> datetime | None:
    """When the symbol traded last, either side."""
    statement = select(func.max(fills.c.at)).select_from(_FILLS_OF_ORDERS).where(*_of_symbol(market, symbol))
    async with engine.connect() as connection:
        found: datetime | None = await connection.scalar(statement)
    return found


async def orders_filled_since(engine: AsyncEngine, market: str, symbol: str, since: datetime) -> int:
    """How many orders of the symbol traded at or after `since`; one that traded in ten parts is one."""
    count = select(func.count(fills.c.order_id.distinct())).select_from(_FILLS_OF_ORDERS)
    statement = count.where(*_of_symbol(market, symbol), fills.c.at >= since)
    async with engine.connect() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def unproven_count(engine: AsyncEngine) -> int:
    """How many orders are `sending` or `unknown`."""
    statement = select(func.count()).select_from(orders).where(orders.c.state.in_(_UNPROVEN))
    async with engine.connect() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def oldest_unknown(engine: AsyncEngine) -> OldestUnknown | None:
    """Of the orders that are `sending` or `unknown` the one that was sent first, or None."""
    # from its event, since `updated_at` moves with every look at the venue that finds something
    sent_at = func.min(order_events.c.at)
    statement = (
        select(orders.c.client_order_id, func.extract("epoch", func.clock_timestamp() - sent_at).label("age"))
        .join(order_events, order_events.c.order_id == orders.c.id)
        .where(orders.c.state.in_(_UNPROVEN), order_events.c.to_state == OrderState.SENDING.value)
        .group_by(orders.c.id, orders.c.client_order_id)
        .order_by(sent_at, orders.c.client_order_id)
        .limit(1)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else OldestUnknown(float(row.age), row.client_order_id)


def _of_symbol(market: str, symbol: str) -> tuple[ColumnElement[bool], ...]:
    return orders.c.market == market, orders.c.symbol == symbol
