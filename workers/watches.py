"""What a worker looks at beside its tasks, on its loop: what it depends on, and when its keys end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import text

from settings import Settings
from storage.engine import open_engine
from telemetry import dependencies
from workers.http import VenueHttp


def of(
    settings: Settings, process: str, served: Collection[str], http: VenueHttp, stop: asyncio.Event
) -> list[Coroutine[Any, Any, None]]:
    """The watches of a worker that serves these markets; each runs until `stop` is set."""
    watches = [_dependencies(settings, process, stop)]
    if "upbit" in served and settings.live("upbit"):
        # the worker of another market carries nothing of Upbit
        from workers.upbit.expiry import watch_key

        watches.append(watch_key(http, settings, stop))
    return watches


async def _dependencies(settings: Settings, process: str, stop: asyncio.Event) -> None:
    """Redis and PostgreSQL, over connections of their own: those of the tasks may all be in use, or hang."""
    seconds = dependencies.TIMEOUT_SECONDS
    redis: Redis = Redis.from_url(
        settings.redis_url, socket_connect_timeout=seconds, socket_timeout=seconds, max_connections=1
    )
    engine = open_engine(settings.database_url, pool_size=1, application_name=f"autotrader-{process}-watch")

    async def ask_redis() -> object:
        return await redis.ping()

    async def ask_postgresql() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    try:
        await dependencies.watch(process, {"redis": ask_redis, "postgresql": ask_postgresql}, stop)
    finally:
        await redis.aclose()
        await engine.dispose()
