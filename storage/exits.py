"""Positions that an exit rule wants closed: at most one open exit of a symbol, until it has ended one way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.errors import Contradiction, NotFound
from storage.tables import fills, orders, risk_exits
from trading.exits import Exit, ExitKind

# between a conflict and the look at what it was with, the open exit may end; more than once is no coincidence
TRIES = 5
# how the outcome of an exit begins that has ended with something left
GAVE_UP = ("sold_part", "given_up")


@dataclass(frozen=True, slots=True)
class OpenExit:
    """An exit that has not ended. `exit` is as it was when it began; `created` is whether this call began it."""

    id: UUID
    market: str
    symbol: str
    exit: Exit
    average_price: Decimal
    trace_id: str | None
    at: datetime
    created: bool = False


async def begin(
    engine: AsyncEngine,
    *,
    market: str,
    symbol: str,
    exit: Exit,
    average_price: Decimal,
    trace_id: str | None = None,
    at: datetime | None = None,
) -> OpenExit:
    """Open an exit, or return the one of that symbol that is open, whatever its kind. The orders of an exit name it,
    so a second look at the same price begins no second sale. It began `at` a time, if not now."""
    statement = (
        insert(risk_exits)
        .values(
            market=market,
            symbol=symbol,
            kind=exit.kind.value,
            quantity=exit.quantity,
            price=exit.price,
            trigger_price=exit.trigger,
            average_price=average_price,
            reason=exit.reason,
            trace_id=trace_id,
            **({} if at is None else {"at": at}),
        )
        .on_conflict_do_nothing(
            index_elements=[risk_exits.c.market, risk_exits.c.symbol], index_where=text("ended_at IS NULL")
        )
        .returning(risk_exits)
    )
    for _ in range(TRIES):
        async with engine.begin() as connection:
            row = (await connection.execute(statement)).one_or_none()
            if row is not None:
                return _read(row, created=True)
            found = await _open(connection, risk_exits.c.market == market, risk_exits.c.symbol == symbol)
            if found:
                return found[0]
    raise Contradiction(f"{market} {symbol}: an exit was open and ended {TRIES} times over; look who ends them")


async def find_open(engine: AsyncEngine, market: str, symbol: str) -> OpenExit | None:
    """The open exit of a symbol."""
    async with engine.connect() as connection:
        found = await _open(connection, risk_exits.c.market == market, risk_exits.c.symbol == symbol)
    return found[0] if found else None


async def open_exits(engine: AsyncEngine, market: str) -> list[OpenExit]:
    """The open exits of a market, oldest first."""
    async with engine.connect() as connection:
        return await _open(connection, risk_exits.c.market == market)


async def left_over(engine: AsyncEngine, market: str, symbol: str) -> Decimal | None:
    """The units that the last exit of a symbol could not sell, where it has ended with some left; else None."""
    sold = (
        select(func.coalesce(func.sum(fills.c.quantity), 0))
        .join(orders, orders.c.id == fills.c.order_id)
        .where(orders.c.exit_id == risk_exits.c.id)
        .scalar_subquery()
    )
    statement = (
        select(risk_exits.c.outcome, risk_exits.c.quantity - sold)
        .where(risk_exits.c.market == market, risk_exits.c.symbol == symbol, risk_exits.c.ended_at.is_not(None))
        .order_by(risk_exits.c.ended_at.desc())
        .limit(1)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None or not str(row[0]).startswith(GAVE_UP) else Decimal(row[1])


async def end(engine: AsyncEngine, exit_id: UUID, outcome: str) -> bool:
    """End an exit. True for the one caller that did; the first outcome stands. Raises `NotFound`."""
    statement = (
        update(risk_exits)
        .where(risk_exits.c.id == exit_id, risk_exits.c.ended_at.is_(None))
        .values(ended_at=func.now(), outcome=outcome)
    )
    async with engine.begin() as connection:
        if (await connection.execute(statement)).rowcount == 1:
            return True
        if await connection.scalar(select(risk_exits.c.id).where(risk_exits.c.id == exit_id)) is None:
            raise NotFound(f"there is no exit {exit_id}")
        return False


async def _open(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> list[OpenExit]:
    statement = select(risk_exits).where(risk_exits.c.ended_at.is_(None), *wanted).order_by(risk_exits.c.at)
    return [_read(row) for row in await connection.execute(statement)]


def _read(row: Row[tuple[object, ...]], *, created: bool = False) -> OpenExit:
    average = row.average_price
    rate = row.price / average - 1 if average > 0 else Decimal(0)
    wanted = Exit(ExitKind(row.kind), row.quantity, row.price, row.trigger_price, rate, row.reason)
    return OpenExit(row.id, row.market, row.symbol, wanted, average, row.trace_id, row.at, created)
