"""What Yahoo told of companies, in Redis: one request per symbol and day of all processes, whatever came of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from redis.asyncio import Redis

KEY = "autotrader:yahoo:company:{symbol}"
DAY_SECONDS = 24 * 3600
NOTHING = "{}"


class AskedOnceADay:
    """Numbers by name; `redis` is the caller's."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def of(self, symbol: str, ask: Callable[[], Awaitable[Mapping[str, Decimal]]]) -> dict[str, Decimal]:
        """What `ask` told, if not today then within the last day. Raises what it raises, once; a caller after that, or
        beside it, is told nothing until the day is over. Raises `RedisError`."""
        key = KEY.format(symbol=symbol)
        # the day's question is this caller's before it is asked, so that a failure is not repeated by the next one
        if not await self._redis.set(key, NOTHING, nx=True, ex=DAY_SECONDS):
            kept = json.loads(await self._redis.get(key) or NOTHING)
            return {name: Decimal(value) for name, value in kept.items()}
        told = dict(await ask())
        await self._redis.set(key, json.dumps({name: str(value) for name, value in told.items()}), ex=DAY_SECONDS)
        return told
