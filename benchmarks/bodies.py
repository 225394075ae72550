"""The bodies of the tasks whose throughput is compared."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

VENUE_SECONDS = 0.1


async def nothing() -> None:
    """The worst case: whatever telemetry costs, there is nothing else to be seen beside it."""


async def query(engine: AsyncEngine, redis: Redis) -> None:
    """A transaction of one statement and one command of Redis, as the shortest of our tasks, the heartbeat."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await redis.set("bench", "1", ex=60)


async def venue(engine: AsyncEngine, redis: Redis) -> None:
    """The same beside what our tasks do most: wait for a venue, which takes a tenth of a second to answer at best."""
    await asyncio.sleep(VENUE_SECONDS)
    await query(engine, redis)
