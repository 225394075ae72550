"""What the accounts were worth, market by market, at the end of each run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Row, Select, func, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import paper_accounts, portfolio_snapshots
from trading.breaker import Equity


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Cash, positions at their last prices, and the sum, in `currency`."""

    run_id: UUID
    market: str
    currency: str
    cash: Decimal
    positions_value: Decimal
    total: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Opening:
    """What a market's account was worth before its first trade, in `currency`."""

    currency: str
    total: Decimal


async def snapshot(
    engine: AsyncEngine,
    *,
    run_id: UUID,
    market: str,
    currency: str,
    cash: Decimal,
    positions_value: Decimal,
    at: datetime,
) -> Snapshot:
    """Store what the account is worth after a run; a repeat returns the first snapshot of that run."""
    statement = (
        insert(portfolio_snapshots)
        .values(run_id=run_id, market=market, currency=currency, cash=cash, positions_value=positions_value, at=at)
        .on_conflict_do_nothing(index_elements=[portfolio_snapshots.c.run_id])
        .returning(portfolio_snapshots)
    )
    async with engine.begin() as connection:
        row = (await connection.execute(statement)).one_or_none()
        if row is None:
            first = select(portfolio_snapshots).where(portfolio_snapshots.c.run_id == run_id)
            row = (await connection.execute(first)).one()
    return _read(row)


async def latest(engine: AsyncEngine) -> dict[str, Snapshot]:
    """The newest snapshot of each market."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_one_per_market(newest=True))).all()
    return {row.market: _read(row) for row in rows}


async def opening(engine: AsyncEngine) -> dict[str, Opening]:
    """What each market started with: its paper account's opening cash, or where there is none its first
    snapshot, which is taken after the first run's trades and so already bears their fees."""
    first = _one_per_market(newest=False).subquery()
    statement = select(
        func.coalesce(paper_accounts.c.market, first.c.market).label("market"),
        func.coalesce(paper_accounts.c.currency, first.c.currency).label("currency"),
        func.coalesce(paper_accounts.c.opening_cash, first.c.total).label("total"),
    ).select_from(paper_accounts.join(first, first.c.market == paper_accounts.c.market, full=True))
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).all()
    return {row.market: Opening(row.currency, row.total) for row in rows}


async def equity(engine: AsyncEngine, market: str, since: datetime) -> list[Equity]:
    """What a market's account was worth after `since`, in order of time, led by the last snapshot not after it."""
    table = portfolio_snapshots
    of_market = select(table.c.at, table.c.total).where(table.c.market == market)
    before = of_market.where(table.c.at <= since).order_by(table.c.at.desc()).limit(1).subquery()
    after = of_market.where(table.c.at > since).subquery()
    statement = union_all(select(before), select(after)).order_by("at")
    async with engine.connect() as connection:
        return [Equity(row.at, row.total) for row in await connection.execute(statement)]


def _one_per_market(*, newest: bool) -> Select[tuple[object, ...]]:
    table = portfolio_snapshots
    by_time = table.c.at.desc() if newest else table.c.at
    return select(table).ext(distinct_on(table.c.market)).order_by(table.c.market, by_time)


def _read(row: Row[tuple[object, ...]]) -> Snapshot:
    return Snapshot(row.run_id, row.market, row.currency, row.cash, row.positions_value, row.total, row.at)
