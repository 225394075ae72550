"""What the API process opens once and every request uses, on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from opentelemetry.instrumentation.redis import RedisInstrumentor
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.readiness import Readiness
from api.symbols import Symbols
from notifications.spool import spool_of
from notifications.texts import Links
from notifications.trades import TradeNotifier
from settings import Settings
from storage.engine import open_engine
from storage.redis import open_redis
from telemetry import databases
from workers.http import open_session
from workers.limits import Limiter

POOL_SIZE = 5


@dataclass(frozen=True, slots=True)
class Resources:
    """Database and Redis of the process, and what is built on them. Neither has to answer for the process to start."""

    settings: Settings
    engine: AsyncEngine
    redis: Redis
    notifier: TradeNotifier
    symbols: Symbols
    readiness: Readiness


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything; it connects at first use. Raises `StorageError` for something that is no database URL."""
    async with AsyncExitStack() as stack:
        engine = open_engine(settings.database_url, pool_size=POOL_SIZE, application_name="autotrader-api")
        stack.push_async_callback(engine.dispose)
        databases.instrument(engine)
        redis = open_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        RedisInstrumentor.instrument_client(redis)
        http = open_session(settings.http_timeout_seconds, limiter=Limiter(redis))
        stack.push_async_callback(http.close)
        notifier = TradeNotifier(
            redis,
            settings.notify_language,
            enabled=settings.telegram_enabled,
            mode=settings.trading_mode,
            links=Links(settings.signoz_url, settings.flower_url),
            spool=spool_of(settings),
        )
        yield Resources(
            settings, engine, redis, notifier, Symbols(settings, engine, http), Readiness(settings, engine, redis)
        )


def _of_request(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Using = Annotated[Resources, Depends(_of_request)]
