"""Rows that only pages show: an order's history, what failed lately, and the curves of the accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, cast, func, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.reading import Row
from storage.tables import order_events, orders, portfolio_snapshots, run_symbols, runs
from trading.orders import UNPROVEN
from trading.types import OrderState

# what may still change: the states of the partial index of open orders
OPEN_STATES = (OrderState.PLANNED, *sorted(UNPROVEN), OrderState.ACCEPTED, OrderState.PARTLY_FILLED)
MOST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """A change of an order: of its state, or with both equal, of its fills. `payload` is what was known then."""

    order_id: UUID
    from_state: OrderState | None
    to_state: OrderState
    payload: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class FailedSymbol:
    """A symbol whose analysis ended with an error."""

    run_id: UUID
    market: str
    symbol: str
    error: str
    at: datetime


@dataclass(frozen=True, slots=True)
class WorthPoint:
    """What a market's account was worth, in `currency`."""

    market: str
    currency: str
    at: datetime
    total: Decimal


async def events_of(engine: AsyncEngine, order_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[OrderEvent]]:
    """The history of each order, oldest first; of all together the first `MOST_EVENTS`."""
    found: dict[UUID, list[OrderEvent]] = {order_id: [] for order_id in order_ids}
    if not found:
        return found
    names = ("order_id", "from_state", "to_state", "payload", "at")
    statement = (
        select(*(order_events.c[name] for name in names))
        .where(order_events.c.order_id.in_(order_ids))
        .order_by(order_events.c.seq)
        .limit(MOST_EVENTS)
    )
    async with engine.connect() as connection:
        for row in await connection.execute(statement):
            before = None if row.from_state is None else OrderState(row.from_state)
            found[row.order_id].append(OrderEvent(row.order_id, before, OrderState(row.to_state), row.payload, row.at))
    return found


async def open_orders(engine: AsyncEngine, market: str | None, limit: int) -> list[Row]:
    """The orders that may still change, of one market or all, the one changed last first."""
    statement = select(orders).where(orders.c.state.in_([state.value for state in OPEN_STATES]))
    if market is not None:
        statement = statement.where(orders.c.market == market)
    async with engine.connect() as connection:
        rows = await connection.execute(statement.order_by(orders.c.updated_at.desc()).limit(limit))
        return [dict(row) for row in rows.mappings()]


async def failed_since(engine: AsyncEngine, since: datetime, limit: int) -> list[FailedSymbol]:
    """The symbols that failed in runs opened at or after `since`, the last failure first."""
    statement = (
        select(
            run_symbols.c.run_id, runs.c.market, run_symbols.c.symbol, run_symbols.c.error, run_symbols.c.finished_at
        )
        .join(runs, runs.c.id == run_symbols.c.run_id)
        .where(runs.c.opened_at >= since, run_symbols.c.state == "failed")
        .order_by(run_symbols.c.finished_at.desc(), run_symbols.c.symbol)
        .limit(limit)
    )
    async with engine.connect() as connection:
        rows = await connection.execute(statement)
        return [FailedSymbol(row.run_id, row.market, row.symbol, row.error, row.finished_at) for row in rows]


async def curves(
    engine: AsyncEngine, markets: Iterable[str], since: datetime, step_seconds: int
) -> Mapping[str, Sequence[WorthPoint]]:
    """What each market's account was worth from `since` on, oldest first: the last snapshot of every step, led by the
    last one before `since`."""
    table = portfolio_snapshots
    columns = (table.c.market, table.c.currency, table.c.at, table.c.total)
    step = cast(func.floor(func.extract("epoch", table.c.at) / step_seconds), Integer)
    parts = []
    for market in markets:
        of_market = select(*columns).where(table.c.market == market)
        before = of_market.where(table.c.at < since).order_by(table.c.at.desc()).limit(1).subquery()
        after = of_market.where(table.c.at >= since).ext(distinct_on(step)).order_by(step, table.c.at.desc()).subquery()
        parts += [select(before), select(after)]
    found: dict[str, list[WorthPoint]] = {}
    async with engine.connect() as connection:
        for row in await connection.execute(union_all(*parts).order_by("market", "at")):
            found.setdefault(row.market, []).append(WorthPoint(row.market, row.currency, row.at, row.total))
    return found
