"""Pages of what is stored, newest first, with the number of all rows that meet the conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, Select, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import analyses, fills, orders, pnl_reports, portfolio_snapshots, run_symbols, runs

# the price ranges of an analysis, each two columns: `…_min` and `…_max`
RANGES = ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target")

Row: TypeAlias = Mapping[str, Any]
"""Values by the names of their columns."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: `since` is inclusive, `before` exclusive, both aware; None is no condition. Confidence is 0-100."""

    market: str | None = None
    symbol: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    decision: str | None = None
    least_confidence: int | None = None
    most_confidence: int | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """`limit` rows after the first `offset`."""

    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and how many there are in all."""

    rows: Sequence[Row]
    total: int


_OF_ANALYSIS = (run_symbols.c.run_id == analyses.c.run_id) & (run_symbols.c.symbol == analyses.c.symbol)


async def analyses_page(engine: AsyncEngine, wanted: Wanted, slice: Slice) -> Page:
    """Analyses with their price ranges and what came of them; `outcome` and `error` are None while the task runs."""
    conditions = _meeting(
        (analyses.c.market, wanted.market),
        (analyses.c.symbol, wanted.symbol),
        (analyses.c.decision, wanted.decision),
    )
    if wanted.least_confidence is not None:
        conditions.append(analyses.c.confidence >= wanted.least_confidence)
    if wanted.most_confidence is not None:
        conditions.append(analyses.c.confidence <= wanted.most_confidence)
    statement = (
        select(
            *(analyses.c[name] for name in ("id", "run_id", "market", "symbol", "decision", "confidence", "reasons")),
            *(analyses.c[name] for name in ("price", "model", "rejected_by", "at", "trace_id")),
            *(analyses.c[f"{name}_{end}"] for name in RANGES for end in ("min", "max")),
            run_symbols.c.outcome,
            run_symbols.c.error,
        )
        .join(run_symbols, _OF_ANALYSIS)
        .where(*conditions, *_between(analyses.c.created_at, wanted))
    )
    return await _page(engine, statement, (analyses.c.created_at.desc(), analyses.c.id), slice)


async def orders_page(engine: AsyncEngine, wanted: Wanted, slice: Slice) -> Page:
    """Orders as they stand, the one changed last first; the times are those of the last change."""
    conditions = _meeting(
        (orders.c.market, wanted.market), (orders.c.symbol, wanted.symbol), (orders.c.state, wanted.state)
    )
    statement = select(orders).where(*conditions, *_between(orders.c.updated_at, wanted))
    return await _page(engine, statement, (orders.c.updated_at.desc(), orders.c.id), slice)


async def fills_page(engine: AsyncEngine, wanted: Wanted, slice: Slice) -> Page:
    """Executions with the symbol and side of their order."""
    conditions = _meeting((orders.c.market, wanted.market), (orders.c.symbol, wanted.symbol))
    statement = (
        select(fills, orders.c.symbol, orders.c.side, orders.c.currency)
        .join(orders, orders.c.id == fills.c.order_id)
        .where(*conditions, *_between(fills.c.at, wanted))
    )
    return await _page(engine, statement, (fills.c.at.desc(), fills.c.market, fills.c.trade_id), slice)


async def snapshots_page(engine: AsyncEngine, wanted: Wanted, slice: Slice) -> Page:
    """What the accounts were worth after each run."""
    table = portfolio_snapshots
    statement = select(table).where(*_meeting((table.c.market, wanted.market)), *_between(table.c.at, wanted))
    return await _page(engine, statement, (table.c.at.desc(), table.c.id), slice)


async def reports_page(engine: AsyncEngine, period: str | None, slice: Slice) -> Page:
    """The profit reports of days and weeks."""
    statement = select(pnl_reports).where(*_meeting((pnl_reports.c.period, period)))
    return await _page(engine, statement, (pnl_reports.c.starts_at.desc(), pnl_reports.c.period), slice)


async def runs_page(engine: AsyncEngine, wanted: Wanted, slice: Slice) -> Page:
    """Runs with how many of their symbols are pending, done and failed."""
    conditions = _meeting((runs.c.market, wanted.market), (runs.c.status, wanted.state))
    statement = _runs().where(*conditions, *_between(runs.c.opened_at, wanted))
    return await _page(engine, statement, (runs.c.opened_at.desc(), runs.c.id), slice)


async def run(engine: AsyncEngine, run_id: UUID) -> Row | None:
    """One run, as in `runs_page`."""
    async with engine.connect() as connection:
        return _one(await connection.execute(_runs().where(runs.c.id == run_id)))


async def run_of_task(engine: AsyncEngine, task_id: str, since: datetime) -> UUID | None:
    """The run that a sweep's task opened at or after `since`."""
    statement = select(runs.c.id).where(runs.c.opened_at >= since, runs.c.task_id == task_id)
    async with engine.connect() as connection:
        found: UUID | None = await connection.scalar(statement)
        return found


async def run_at(engine: AsyncEngine, market: str, slot: datetime) -> UUID | None:
    """The run that has the slot of a market."""
    statement = select(runs.c.id).where(runs.c.market == market, runs.c.slot == slot)
    async with engine.connect() as connection:
        found: UUID | None = await connection.scalar(statement)
        return found


async def symbols_of(engine: AsyncEngine, run_id: UUID) -> Sequence[Row]:
    """The symbols of a run with how each stands and the id of its analysis, in alphabetical order."""
    statement = _symbols().where(run_symbols.c.run_id == run_id).order_by(run_symbols.c.symbol)
    async with engine.connect() as connection:
        return _all(await connection.execute(statement))


async def symbol_of(engine: AsyncEngine, run_id: UUID, symbol: str) -> Row | None:
    """One symbol of a run, as in `symbols_of`."""
    statement = _symbols().where(run_symbols.c.run_id == run_id, run_symbols.c.symbol == symbol)
    async with engine.connect() as connection:
        return _one(await connection.execute(statement))


async def symbols_since(engine: AsyncEngine, since: datetime) -> list[tuple[UUID, str]]:
    """Run and symbol of every analysis that was asked for at or after `since`, the newest first."""
    statement = (
        select(run_symbols.c.run_id, run_symbols.c.symbol)
        .join(runs, runs.c.id == run_symbols.c.run_id)
        .where(runs.c.opened_at >= since)
        .order_by(runs.c.opened_at.desc())
    )
    async with engine.connect() as connection:
        return [(row.run_id, row.symbol) for row in await connection.execute(statement)]


async def known_symbols(engine: AsyncEngine, market: str) -> list[str]:
    """The symbols of a market that were ever analysed."""
    statement = select(analyses.c.symbol).where(analyses.c.market == market).distinct().order_by(analyses.c.symbol)
    async with engine.connect() as connection:
        return list((await connection.scalars(statement)).all())


def _runs() -> Select[tuple[object, ...]]:
    def standing(state: str) -> ColumnElement[int]:
        of_run = (run_symbols.c.run_id == runs.c.id) & (run_symbols.c.state == state)
        return select(func.count()).where(of_run).scalar_subquery().label(state)

    return select(runs, *(standing(state) for state in ("pending", "done", "failed")))


def _symbols() -> Select[tuple[object, ...]]:
    return select(
        runs.c.market,
        *(run_symbols.c[name] for name in ("symbol", "state", "outcome", "error", "finished_at")),
        analyses.c.id.label("analysis_id"),
    ).select_from(run_symbols.join(runs, runs.c.id == run_symbols.c.run_id).join(analyses, _OF_ANALYSIS, isouter=True))


def _meeting(*pairs: tuple[ColumnElement[str], str | None]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in pairs if value is not None]


def _between(column: ColumnElement[datetime], wanted: Wanted) -> list[ColumnElement[bool]]:
    since = [] if wanted.since is None else [column >= wanted.since]
    return since if wanted.before is None else [*since, column < wanted.before]


async def _page(
    engine: AsyncEngine, statement: Select[tuple[object, ...]], order: Sequence[ColumnElement[object]], slice: Slice
) -> Page:
    count = select(func.count()).select_from(statement.subquery())
    rows = statement.order_by(*order).limit(slice.limit).offset(slice.offset)
    async with engine.connect() as connection:
        total = int((await connection.execute(count)).scalar_one())
        return Page(_all(await connection.execute(rows)), total)


def _all(result: CursorResult[tuple[object, ...]]) -> list[Row]:
    return [dict(row) for row in result.mappings()]


def _one(result: CursorResult[tuple[object, ...]]) -> Row | None:
    row = result.mappings().one_or_none()
    return None if row is None else dict(row)
