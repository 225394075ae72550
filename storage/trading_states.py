"""Trading states: append-only rows, of which the newest of each scope holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import trading_states
from trading.state import State, TradingState


@dataclass(frozen=True, slots=True)
class Written:
    """A state with who wrote it and when."""

    state: TradingState
    by: str
    at: datetime


async def write(engine: AsyncEngine, state: TradingState, *, by: str) -> None:
    """Put a scope into a state; `by` says who did. An `active` row takes an earlier one back."""
    values = {
        "market": state.market,
        "symbol": state.symbol,
        "state": state.state.value,
        "reason": state.reason,
        "until": state.until,
        "set_by": by,
    }
    async with engine.begin() as connection:
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
    table = trading_states
    newest = (
        select(table)
        .ext(distinct_on(table.c.market, table.c.symbol))
        .order_by(table.c.market, table.c.symbol, table.c.seq.desc())
        .subquery()
    )
    statement = select(newest).where(newest.c.state != State.ACTIVE.value).order_by(newest.c.seq)
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).all()
    return [_read(row) for row in rows if row.until is None or now < row.until]


def _read(row: Row[tuple[object, ...]]) -> Written:
    state = TradingState(State(row.state), row.reason, row.until, row.market, row.symbol)
    return Written(state, row.set_by, row.at)
