"""A halt of everything for the time of a change, which leaves what people have decided as it was."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage import trading_states as states
from storage.tables import trading_states
from trading.state import State, TradingState, tightens

# whoever holds begins with it
HOLDER = states.HOLDER
# what ends a hold without a row of a person, from whose `active` the circuit breaker counts anew
_INSTANT = timedelta(milliseconds=1)
_EVERYTHING = (None, None)


async def hold(engine: AsyncEngine, reason: str, *, by: str, now: datetime, until: datetime) -> bool:
    """Halt everything until `until`; False if `by` holds it already, or somebody has halted it for as long."""
    wanted = TradingState(State.HALTED, reason, until)
    async with engine.begin() as connection:
        await states.lock(connection)
        rows = (await states.standing(connection, now)).get(_EVERYTHING, [])
        if any(row.by == by for row in rows):
            return False
        if not tightens(wanted, [row.state for row in states.holding_now(rows)], now):
            return False
        await states.add(connection, wanted, by)
        return True


async def lift(engine: AsyncEngine, reason: str, *, by: str, now: datetime) -> TradingState | None:
    """End the hold of `by`, and leave what else is in force as it was; what is in force of all markets then.

    Also long after the hold has ended by its time. None if `by` holds nothing: a milder row that somebody wrote over
    it is their will, and stays.
    """
    async with engine.begin() as connection:
        await states.lock(connection)
        if not await _holds(connection, by):
            return None
        left = (await states.standing(connection, now, holds=False)).get(_EVERYTHING, [])
        at: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        await states.add(connection, TradingState(State.REDUCING, reason, at + _INSTANT), by, at)
        # on top again, so that the newest row is what a person decided also to whoever reads no other
        for row in states.needed(left):
            await states.add(connection, row.state, row.by, row.at)
        return next((row.state for row in states.holding_now(left)), TradingState(State.ACTIVE, reason))


async def _holds(connection: AsyncConnection, by: str) -> bool:
    """Whether the last word on everything, but for halts of people, is a hold of `by`."""
    table = trading_states
    statement = (
        select(table.c.set_by, table.c.state)
        .where(table.c.market.is_(None))
        .where(table.c.set_by.startswith(HOLDER) | (table.c.state != State.HALTED.value))
        .order_by(table.c.seq.desc())
        .limit(1)
    )
    last = (await connection.execute(statement)).one_or_none()
    return last is not None and (last.set_by, last.state) == (by, State.HALTED.value)
