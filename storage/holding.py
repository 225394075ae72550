"""A halt of everything for the time of a change, which leaves what people have decided as it was."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Row, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.tables import trading_states
from trading.state import State, TradingState, tightens

# whoever holds begins with it, so that a hold is never put back as if it were a person's
HOLDER = "deploy:"
# what ends a hold without a row of a person, from whose `active` the circuit breaker counts anew
_INSTANT = timedelta(milliseconds=1)
# every lift writes what a person decided on top again, so it is never far down
_LOOKED_AT = 100


async def hold(engine: AsyncEngine, reason: str, *, by: str, now: datetime, until: datetime) -> bool:
    """Halt everything until `until`; False if `by` holds it already, or somebody has halted it for as long."""
    wanted = TradingState(State.HALTED, reason, until)
    async with engine.begin() as connection:
        rows = await _newest_rows(connection)
        own = [TradingState(State(row.state), row.reason, row.until) for row in rows[:1]]
        if rows and rows[0].set_by == by and own[0].state is State.HALTED and _lasts(rows[0], now):
            return False
        if not tightens(wanted, own, now):
            return False
        await _write(connection, State.HALTED, reason, until, by)
        return True


async def lift(engine: AsyncEngine, reason: str, *, by: str, now: datetime) -> TradingState | None:
    """End the hold of `by`, and put what was in force before it back as it was; what is in force of all markets then.

    Also long after the hold has ended by its time. None if `by` holds nothing: a row that somebody wrote over it is
    their will, and stays.
    """
    async with engine.begin() as connection:
        rows = await _newest_rows(connection)
        if not rows or rows[0].set_by != by or rows[0].state != State.HALTED.value:
            return None
        before = next((row for row in rows if not row.set_by.startswith(HOLDER)), None)
        if before is not None and before.state != State.ACTIVE.value and _lasts(before, now):
            state = State(before.state)
            await _write(connection, state, before.reason, before.until, before.set_by, before.at)
            return TradingState(state, before.reason, before.until)
        at: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        await _write(connection, State.REDUCING, reason, at + _INSTANT, by, at)
        return TradingState(State.ACTIVE, reason)


def _lasts(row: Row[tuple[object, ...]], now: datetime) -> bool:
    return row.until is None or now < row.until


async def _newest_rows(connection: AsyncConnection) -> list[Row[tuple[object, ...]]]:
    """The rows about everything, the newest first; nobody else writes until the transaction ends."""
    await connection.execute(text("LOCK TABLE trading_states IN SHARE ROW EXCLUSIVE MODE"))
    table = trading_states
    statement = select(table).where(table.c.market.is_(None)).order_by(table.c.seq.desc()).limit(_LOOKED_AT)
    return list((await connection.execute(statement)).all())


async def _write(
    connection: AsyncConnection, state: State, reason: str, until: datetime | None, by: str, at: datetime | None = None
) -> None:
    values: dict[str, object] = {"state": state.value, "reason": reason, "until": until, "set_by": by}
    if at is not None:
        values["at"] = at
    await connection.execute(insert(trading_states).values({"market": None, "symbol": None, **values}))
