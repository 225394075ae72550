"""Runs: one per market and slot, with the symbols each has to see through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.errors import NotFound
from storage.tables import run_symbols, runs


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """The run of a slot. `fresh`: this call opened it. `resumed`: an earlier delivery of the same task opened
    it and did not get to the end of publishing, so this one goes on. Neither: the slot is someone else's."""

    id: UUID
    fresh: bool
    resumed: bool = False

    @property
    def duplicate(self) -> bool:
        return not (self.fresh or self.resumed)


async def open_run(
    engine: AsyncEngine,
    *,
    market: str,
    slot: datetime,
    task_id: str,
    symbols: Iterable[str],
    trace_id: str | None = None,
    run_id: UUID | None = None,
) -> OpenedRun:
    """Take the slot of a market with its symbols pending, or say who has it. `slot` is aware; a new run is called
    `run_id`, if that is given."""
    named = {} if run_id is None else {"id": run_id}
    async with engine.begin() as connection:
        run_id = await _insert(
            connection, market=market, slot=slot, task_id=task_id, status="opened", trace_id=trace_id, **named
        )
        if run_id is not None:
            rows = [{"run_id": run_id, "symbol": symbol} for symbol in dict.fromkeys(symbols)]
            if rows:
                await connection.execute(insert(run_symbols), rows)
            return OpenedRun(run_id, fresh=True)
        taken = await _at(connection, market, slot)
    resumed = taken.task_id == task_id and taken.status == "opened"
    return OpenedRun(taken.id, fresh=False, resumed=resumed)


async def skip_run(
    engine: AsyncEngine,
    *,
    market: str,
    slot: datetime,
    task_id: str,
    reason: str,
    trace_id: str | None = None,
) -> OpenedRun:
    """Take the slot and end it at once as skipped, with the reason."""
    async with engine.begin() as connection:
        run_id = await _insert(
            connection,
            market=market,
            slot=slot,
            task_id=task_id,
            status="skipped",
            reason=reason,
            finished_at=func.now(),
            trace_id=trace_id,
        )
        if run_id is not None:
            return OpenedRun(run_id, fresh=True)
        return OpenedRun((await _at(connection, market, slot)).id, fresh=False)


async def mark_published(engine: AsyncEngine, run_id: UUID) -> bool:
    """Note that every symbol's task is on its queue. False if the run had gone further already."""
    statement = update(runs).where(runs.c.id == run_id, runs.c.status == "opened").values(status="published")
    async with engine.begin() as connection:
        return (await connection.execute(statement)).rowcount == 1


async def pending_symbols(engine: AsyncEngine, run_id: UUID) -> list[str]:
    """The symbols of a run that have not come to an end, in alphabetical order."""
    statement = select(run_symbols.c.symbol).where(run_symbols.c.run_id == run_id, run_symbols.c.state == "pending")
    async with engine.connect() as connection:
        return list((await connection.scalars(statement.order_by(run_symbols.c.symbol))).all())


@dataclass(frozen=True, slots=True)
class Pending:
    """A symbol of a run that has not come to an end, `age_seconds` after the run was opened."""

    run_id: UUID
    symbol: str
    age_seconds: float


async def left_pending(engine: AsyncEngine, market: str, seconds: float) -> list[Pending]:
    """The symbols of a market's runs that were opened more than `seconds` ago and have not ended, oldest first."""
    age = func.extract("epoch", func.now() - runs.c.opened_at)
    statement = (
        select(run_symbols.c.run_id, run_symbols.c.symbol, age.label("age"))
        .join(runs, runs.c.id == run_symbols.c.run_id)
        .where(run_symbols.c.state == "pending", runs.c.market == market, age > seconds)
        .order_by(runs.c.opened_at, run_symbols.c.symbol)
    )
    async with engine.connect() as connection:
        return [Pending(row.run_id, row.symbol, float(row.age)) for row in await connection.execute(statement)]


async def is_pending(engine: AsyncEngine, run_id: UUID, symbol: str) -> bool:
    """Whether the symbol has still to come to an end in this run. Raises `NotFound`."""
    statement = select(run_symbols.c.state).where(run_symbols.c.run_id == run_id, run_symbols.c.symbol == symbol)
    async with engine.connect() as connection:
        state = await connection.scalar(statement)
    if state is None:
        raise NotFound(f"run {run_id} has no symbol {symbol}")
    return bool(state == "pending")


async def finish_symbol(
    engine: AsyncEngine, run_id: UUID, symbol: str, outcome: str, *, task_id: str | None = None
) -> bool:
    """End a symbol with its outcome. False if it had ended before: the first word stays. Raises `NotFound`."""
    return await _end(engine, run_id, symbol, state="done", outcome=outcome, task_id=task_id)


async def fail_symbol(
    engine: AsyncEngine, run_id: UUID, symbol: str, error: str, *, task_id: str | None = None
) -> bool:
    """End a symbol with its error. False if it had ended before: the first word stays. Raises `NotFound`."""
    return await _end(engine, run_id, symbol, state="failed", error=error, task_id=task_id)


async def finish_run_if_complete(engine: AsyncEngine, run_id: UUID) -> bool:
    """Finish the run if none of its symbols is pending. True for exactly one of all callers.

    A run that is still being published may finish too: its last symbol can be faster than `mark_published`.
    """
    pending = exists().where(run_symbols.c.run_id == run_id, run_symbols.c.state == "pending")
    statement = (
        update(runs)
        .where(runs.c.id == run_id, runs.c.status.in_(("opened", "published")), ~pending)
        .values(status="finished", finished_at=func.now())
    )
    async with engine.begin() as connection:
        return (await connection.execute(statement)).rowcount == 1


async def _insert(connection: AsyncConnection, **values: object) -> UUID | None:
    statement = (
        insert(runs)
        .values(**values)
        .on_conflict_do_nothing(index_elements=[runs.c.market, runs.c.slot])
        .returning(runs.c.id)
    )
    run_id: UUID | None = await connection.scalar(statement)
    return run_id


@dataclass(frozen=True, slots=True)
class _Taken:
    id: UUID
    task_id: str | None
    status: str


async def _at(connection: AsyncConnection, market: str, slot: datetime) -> _Taken:
    statement = select(runs.c.id, runs.c.task_id, runs.c.status).where(runs.c.market == market, runs.c.slot == slot)
    row = (await connection.execute(statement)).one()
    return _Taken(row.id, row.task_id, row.status)


async def _end(engine: AsyncEngine, run_id: UUID, symbol: str, *, task_id: str | None, **values: str) -> bool:
    this = (run_symbols.c.run_id == run_id, run_symbols.c.symbol == symbol)
    if task_id is not None:
        values["task_id"] = task_id
    statement = update(run_symbols).where(*this, run_symbols.c.state == "pending")
    async with engine.begin() as connection:
        ended = await connection.execute(statement.values(**values, finished_at=func.now()))
        if ended.rowcount == 1:
            return True
        if await connection.scalar(select(run_symbols.c.state).where(*this)) is None:
            raise NotFound(f"run {run_id} has no symbol {symbol}")
        return False
