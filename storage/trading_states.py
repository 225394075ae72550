"""Trading states: append-only rows, of which the newest of each scope holds.

The hold of a deployment (`storage.holding`) is the exception: once it has ended, what lies beneath it is in force
again, whether anybody came to lift it or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, func, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.holding import HOLDER
from storage.tables import trading_states
from trading.state import State, TradingState, tightens


@dataclass(frozen=True, slots=True)
class Written:
    """A state with who wrote it and when."""

    state: TradingState
    by: str
    at: datetime


async def write(engine: AsyncEngine, state: TradingState, *, by: str) -> None:
    """Put a scope into a state; `by` says who did. An `active` row takes an earlier one back."""
    async with engine.begin() as connection:
        await _insert(connection, state, by)


async def tighten(
    engine: AsyncEngine, state: TradingState, *, by: str, now: datetime, at: datetime | None = None
) -> TradingState | None:
    """Put a scope into a state unless its own is as strict for as long already; that one, or None if it was written.
    The row is of the database's own time, unless `at` is given.

    A deployment's hold makes no scope strict: it ends by itself, so the row goes beneath it.

    One transaction: of two who tighten the same scope at once, the second sees what the first wrote.
    """
    async with engine.begin() as connection:
        every = await _written(connection, now, alone=True)
        states = [row.state for row in await _written(connection, now, holds=False)]
        if tightens(state, states, now):
            await _insert(connection, state, by, at)
            for row in every:
                if row.by.startswith(HOLDER) and (row.state.market, row.state.symbol) == (state.market, state.symbol):
                    await _insert(connection, row.state, row.by)
            return None
    [own] = [one for one in states if (one.market, one.symbol) == (state.market, state.symbol)]
    return own


async def put(engine: AsyncEngine, state: TradingState, *, by: str, now: datetime) -> bool:
    """Put a scope into a state, be its own stricter or not; False if it is in that state until the same time already.

    One transaction: of two who put the same scope into the same state at once, one does.
    """
    async with engine.begin() as connection:
        states = [row.state for row in await _written(connection, now, alone=True)]
        if any(_same(own, state) for own in states):
            return False
        await _insert(connection, state, by)
    return True


async def take_back(engine: AsyncEngine, active: TradingState, *, by: str, now: datetime) -> tuple[bool, list[Written]]:
    """Write `active` over the state of its scope, if one is in force there: whether it was, and what else holds.

    One transaction: of two who take the same state back at once, one does.
    """
    async with engine.begin() as connection:
        states = await _written(connection, now, alone=True)
        others = [row for row in states if (row.state.market, row.state.symbol) != (active.market, active.symbol)]
        found = len(others) < len(states)
        if found:
            await _insert(connection, active, by)
    return found, others


async def _insert(connection: AsyncConnection, state: TradingState, by: str, at: datetime | None = None) -> None:
    values: dict[str, object] = {
        "market": state.market,
        "symbol": state.symbol,
        "state": state.state.value,
        "reason": state.reason,
        "until": state.until,
        "set_by": by,
        **({} if at is None else {"at": at}),
    }
    await connection.execute(insert(trading_states).values(values))


async def resumed_at(engine: AsyncEngine, market: str) -> datetime | None:
    """When a person last took back a state of the whole market, or of all markets; None if never."""
    table = trading_states
    statement = (
        select(table.c.at)
        .where(table.c.state == State.ACTIVE.value, table.c.symbol.is_(None))
        .where((table.c.market == market) | table.c.market.is_(None))
        .order_by(table.c.seq.desc())
        .limit(1)
    )
    async with engine.connect() as connection:
        return await connection.scalar(statement)


async def in_force(engine: AsyncEngine, now: datetime) -> list[TradingState]:
    """The newest row of every scope that is not `active` and has not expired at `now`, the oldest first."""
    return [row.state for row in await written(engine, now)]


async def written(engine: AsyncEngine, now: datetime) -> list[Written]:
    """The same, with who wrote each row and when."""
    async with engine.connect() as connection:
        return await _written(connection, now)


async def _written(
    connection: AsyncConnection, now: datetime, *, alone: bool = False, holds: bool = True
) -> list[Written]:
    """The same over a connection; `alone` keeps everybody else from writing until its transaction ends, without
    `holds` those of deployments are left out."""
    if alone:
        # conflicts with the lock of any insert, and with itself; whoever reads does not wait
        await connection.execute(text("LOCK TABLE trading_states IN SHARE ROW EXCLUSIVE MODE"))
    table = trading_states
    newest = (
        select(table)
        .where(_counts(now) if holds else ~table.c.set_by.startswith(HOLDER))
        .ext(distinct_on(table.c.market, table.c.symbol))
        .order_by(table.c.market, table.c.symbol, table.c.seq.desc())
        .subquery()
    )
    statement = select(newest).where(newest.c.state != State.ACTIVE.value).order_by(newest.c.seq)
    rows = (await connection.execute(statement)).all()
    return [_read(row) for row in rows if row.until is None or now < row.until]


def _counts(now: datetime) -> ColumnElement[bool]:
    """Whether a row is any but a hold that has ended: by its time, or by a later row of a deployment."""
    table, others = trading_states, trading_states.alias()
    last = select(func.max(others.c.seq)).where(others.c.set_by.startswith(HOLDER)).scalar_subquery()
    lasts = table.c.until.is_(None) | (table.c.until > now)
    return ~table.c.set_by.startswith(HOLDER) | ((table.c.seq == last) & lasts)


def _same(one: TradingState, other: TradingState) -> bool:
    """Whether two states are the same but for their reasons."""
    return (one.market, one.symbol, one.state, one.until) == (other.market, other.symbol, other.state, other.until)


def _read(row: Row[tuple[object, ...]]) -> Written:
    state = TradingState(State(row.state), row.reason, row.until, row.market, row.symbol)
    return Written(state, row.set_by, row.at)
