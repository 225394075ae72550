"""The state of each part, as far as the notifier can see it; what does not answer is a line, not a failure."""

from __future__ import annotations

import asyncio

from redis import RedisError
from redis.asyncio import Redis

from bot.words import BotWords
from notifications.ledger import Ledger
from settings import MARKETS, Settings
from storage.direct import DatabaseUnavailable, connection
from storage.redis import BEAT_TICK_KEY, HEARTBEAT_KEY, seconds_since


async def health(settings: Settings, redis: Redis, words: BotWords) -> str:
    """Database, Redis, alert queue, beat and workers, a line each."""
    database, rest = await asyncio.gather(_database(settings, words), _over_redis(settings, redis, words))
    return "\n".join([words.health_title, database, *rest])


async def _database(settings: Settings, words: BotWords) -> str:
    try:
        async with connection(settings.database_url) as opened:
            await opened.execute("SELECT 1")
    except DatabaseUnavailable as error:
        state = words.away.format(error=error)
    else:
        state = words.up
    return words.database.format(state=state)


async def _over_redis(settings: Settings, redis: Redis, words: BotWords) -> list[str]:
    served = [market for market in MARKETS if settings.symbols(market)]
    try:
        queue = await Ledger(redis).state()
        tick, *beaten = await redis.mget(BEAT_TICK_KEY, *(HEARTBEAT_KEY.format(market=market) for market in served))
    except (RedisError, OSError, TimeoutError) as error:
        return [f"Redis: {words.away.format(error=type(error).__name__)}"]
    return [
        f"Redis: {words.up}",
        words.alerts.format(depth=queue.depth, age=round(queue.oldest_age), dead=queue.dead),
        words.beat.format(sign=_sign(tick, words)),
        *(
            words.heartbeat.format(market=market, sign=_sign(at, words))
            for market, at in zip(served, beaten, strict=True)
        ),
    ]


def _sign(at: bytes | str | None, words: BotWords) -> str:
    age = seconds_since(at)
    return words.never if age is None else words.seconds_ago.format(n=round(age))
