"""How often each symbol has traded, for limits on that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import fills, orders


@dataclass(frozen=True, slots=True)
class Traded:
    """When a symbol traded last, either side, and how many of its orders traded at or after the day's start."""

    market: str
    symbol: str
    last_at: datetime
    today: int


async def traded(engine: AsyncEngine, since: datetime, day: datetime) -> list[Traded]:
    """The symbols that traded at or after `since` or in the day that began at `day`, both aware."""
    today = func.count(fills.c.order_id.distinct()).filter(fills.c.at >= day)
    statement = (
        select(orders.c.market, orders.c.symbol, func.max(fills.c.at).label("last_at"), today.label("today"))
        .select_from(fills.join(orders, orders.c.id == fills.c.order_id))
        .where(fills.c.at >= min(since, day))
        .group_by(orders.c.market, orders.c.symbol)
        .order_by(orders.c.market, orders.c.symbol)
    )
    async with engine.connect() as connection:
        return [Traded(*row) for row in await connection.execute(statement)]
