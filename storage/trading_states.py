"""Trading states: append-only rows, each in force until it expires or a person takes back what its scope is under.

A shorter row never ends a longer one. Of the rows of a scope that were written after its last `active` and have not
expired, all are in force but those with a milder one after them: a person who lets something through again has the
last word, for as long as that word lasts. Whoever is no person writes beneath what is stricter (`tighten`).

The hold of a deployment (`storage.holding`) is a halt that only the newest deployment has, and that a milder row of a
person ends for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile, takewhile

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.tables import trading_states
from trading.state import State, TradingState, tightens

# whose rows are holds of a deployment begins with it, so that a hold is never taken for a person's
HOLDER = "deploy:"


@dataclass(frozen=True, slots=True)
class Written:
    """A state with who wrote it and when."""

    state: TradingState
    by: str
    at: datetime


Where = tuple[str | None, str | None]


async def write(engine: AsyncEngine, state: TradingState, *, by: str) -> None:
    """Write what a person says of a scope; `by` says who did. An `active` row takes back all that its scope is under, a
    milder one than those before it holds instead of the stricter of them, until it ends."""
    async with engine.begin() as connection:
        await add(connection, state, by)


async def tighten(
    engine: AsyncEngine, state: TradingState, *, by: str, now: datetime, at: datetime | None = None
) -> TradingState | None:
    """Put a scope into a state unless it is under one as strict for as long already; that one, or None if it was
    written. The row is of the database's own time, unless `at` is given.

    The row goes beneath what is stricter for a shorter time, and beneath a deployment's hold, which makes no scope
    strict since it ends by itself.

    One transaction: of two who tighten the same scope at once, the second sees what the first wrote.
    """
    async with engine.begin() as connection:
        await lock(connection)
        rows = (await standing(connection, now, holds=False)).get(state.where, [])
        states = [row.state for row in holding_now(rows)]
        if not tightens(state, states, now):
            return next(one for one in states if one.outweighs(state))
        held = [row for row in (await standing(connection, now)).get(state.where, []) if row.by.startswith(HOLDER)]
        await add(connection, state, by, at)
        for row in [*above(state, rows), *held]:
            await add(connection, row.state, row.by, row.at)
    return None


async def put(engine: AsyncEngine, state: TradingState, *, by: str, now: datetime) -> bool:
    """Put a scope into a state, be its own stricter or not; False if it is in that state until the same time already.

    One transaction: of two who put the same scope into the same state at once, one does.
    """
    async with engine.begin() as connection:
        await lock(connection)
        rows = (await standing(connection, now)).get(state.where, [])
        newest = takewhile(lambda row: row.state.state is state.state, reversed(rows))
        if any(row.state.until == state.until for row in newest):
            return False
        await add(connection, state, by)
    return True


async def take_back(engine: AsyncEngine, active: TradingState, *, by: str, now: datetime) -> tuple[bool, list[Written]]:
    """Write `active` over all that its scope is under, if that is anything: whether it was, and what else holds.

    One transaction: of two who take the same state back at once, one does.
    """
    async with engine.begin() as connection:
        await lock(connection)
        scopes = await standing(connection, now)
        found = scopes.pop(active.where, None) is not None
        if found:
            await add(connection, active, by)
    return found, _of_all(scopes)


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
    """What every scope is under at `now`: its strictest row, and after it a milder one that lasts longer, if any; the
    scope that was restricted first comes first."""
    return [row.state for row in await written(engine, now)]


async def written(engine: AsyncEngine, now: datetime) -> list[Written]:
    """The same, with who wrote each row and when."""
    async with engine.connect() as connection:
        return _of_all(await standing(connection, now))


def _of_all(scopes: dict[Where, list[Written]]) -> list[Written]:
    return [row for rows in scopes.values() for row in holding_now(rows)]


async def lock(connection: AsyncConnection) -> None:
    """Keep everybody else from writing until the transaction ends."""
    # conflicts with the lock of any insert, and with itself; whoever reads does not wait
    await connection.execute(text("LOCK TABLE trading_states IN SHARE ROW EXCLUSIVE MODE"))


async def add(connection: AsyncConnection, state: TradingState, by: str, at: datetime | None = None) -> None:
    """Write a row, of the database's own time unless `at` is given."""
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


async def standing(connection: AsyncConnection, now: datetime, *, holds: bool = True) -> dict[Where, list[Written]]:
    """Of every scope the rows that nobody has taken back and that have not expired, the oldest first; without `holds`
    those of deployments are left out."""
    table = trading_states
    is_hold = table.c.set_by.startswith(HOLDER)
    by_person, scope = ~is_hold, (table.c.market, table.c.symbol)
    let_through = func.max(table.c.seq).filter(by_person, table.c.state != State.HALTED.value)
    rows = select(
        table,
        is_hold.label("is_hold"),
        func.max(table.c.seq).filter(table.c.state == State.ACTIVE.value).over(partition_by=scope).label("active"),
        func.max(table.c.seq).filter(is_hold).over(partition_by=scope).label("last_hold"),
        let_through.over(partition_by=scope).label("let_through"),
    ).subquery()
    # what a deployment writes to end its hold is no halt, and is the last of it
    held = (rows.c.state == State.HALTED.value) & (rows.c.seq == rows.c.last_hold)
    held &= rows.c.seq > func.coalesce(rows.c.let_through, 0)
    statement = (
        select(rows)
        .where(rows.c.state != State.ACTIVE.value, rows.c.seq > func.coalesce(rows.c.active, 0))
        .where(rows.c.until.is_(None) | (rows.c.until > now))
        .where(~rows.c.is_hold | held if holds else ~rows.c.is_hold)
        .order_by(rows.c.seq)
    )
    found: dict[Where, list[Written]] = {}
    for row in (await connection.execute(statement)).all():
        one = _read(row)
        found.setdefault(one.state.where, []).append(one)
    return found


def holding_now(rows: Sequence[Written]) -> list[Written]:
    """Of the standing rows of one scope those in force now: the strictest, and a milder one that lasts longer."""
    free: list[Written] = []
    for row in rows:
        # a milder word takes the place of the stricter before it
        free = [*(other for other in free if not row.state.milder(other.state)), row]
    held: list[Written] = []
    for row in free:
        held = [other for other in held if not row.state.outweighs(other.state)]
        if not any(other.state.outweighs(row.state) for other in held):
            held.append(row)
    return held[::-1]


def needed(rows: Sequence[Written]) -> list[Written]:
    """Of the standing rows of one scope those of which no later one says all."""
    return [row for n, row in enumerate(rows) if not any(other.state.outweighs(row.state) for other in rows[n + 1 :])]


def above(state: TradingState, rows: Sequence[Written]) -> list[Written]:
    """Of the standing rows of its scope those to write again over one that must loosen none: from the first stricter
    one on."""
    return list(dropwhile(lambda row: not state.milder(row.state), needed(rows)))


def _read(row: Row[tuple[object, ...]]) -> Written:
    state = TradingState(State(row.state), row.reason, row.until, row.market, row.symbol)
    return Written(state, row.set_by, row.at)
