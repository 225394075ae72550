"""Who allowed live trading in a market, and until when: append-only rows, of which the newest of a market holds."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.errors import refusal
from storage.tables import armings
from trading.state import Arming


async def arm(engine: AsyncEngine, market: str, until: datetime, by: str) -> Arming:
    """Allow live trading from now, by the database's clock, before `until`; `by` says who did.

    Replaces an earlier row of the market, also one that lasts longer. Raises `ValueError` for a time that has passed.
    """
    try:
        return await _write(engine, market=market, until=until, set_by=by)
    except IntegrityError as error:
        if refusal(error) != "ck_armings_until":
            raise
        raise ValueError(f"{market} cannot be armed until {until.isoformat()}, which has passed") from None


async def disarm(engine: AsyncEngine, market: str, by: str) -> Arming:
    """Take the permission back at once: a row that ends when it begins."""
    return await _write(engine, market=market, since=func.now(), until=func.now(), set_by=by)


async def in_force(engine: AsyncEngine, now: datetime) -> list[Arming]:
    """The newest row of each market that has not ended at `now`, an aware time."""
    newest = select(armings).ext(distinct_on(armings.c.market)).order_by(armings.c.market, armings.c.seq.desc())
    rows = newest.subquery()
    statement = select(rows).where(rows.c.until > now).order_by(rows.c.market)
    async with engine.connect() as connection:
        return [_read(row) for row in await connection.execute(statement)]


async def _write(engine: AsyncEngine, **values: object) -> Arming:
    async with engine.begin() as connection:
        return _read((await connection.execute(insert(armings).values(values).returning(armings))).one())


def _read(row: Row[tuple[object, ...]]) -> Arming:
    return Arming(row.market, row.since, row.until)
