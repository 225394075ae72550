"""What an answer is made with: the database, and the way to the trade chat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from notifications.spool import spool_of
from notifications.trades import TradeNotifier
from operate.errors import CannotAnswer, of_storage
from operate.fault_words import fault_words
from settings import Settings
from storage.engine import check_ready, open_engine
from storage.errors import StorageError
from storage.redis import open_redis


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The database, checked. Raises `CannotAnswer`."""
    engine = open_engine(settings.database_url, pool_size=2, application_name="autotrader-cli")
    try:
        await check_ready(engine)
        yield engine
    except StorageError as error:
        raise CannotAnswer(of_storage(fault_words(settings.notify_language), error)) from None
    finally:
        await engine.dispose()


@asynccontextmanager
async def notifier_of(settings: Settings) -> AsyncIterator[TradeNotifier]:
    """Tells the trade chat what the operator did; without Redis once that is back."""
    redis = open_redis(settings.redis_url)
    try:
        yield TradeNotifier(
            redis,
            settings.notify_language,
            enabled=settings.telegram_enabled,
            mode=settings.trading_mode,
            spool=spool_of(settings),
        )
    finally:
        await redis.aclose()
