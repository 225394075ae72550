"""How many requests a token or an address may make in a minute, counted in Redis for all copies of the API."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
# Redis may be away: what stops the trading must not wait for it
PATIENCE_SECONDS = 0.3
KEY = "autotrader:api:requests:{who}:{window}"


class RateLimit:
    """Counts requests by minutes of the clock. While Redis does not answer, this process counts on its own."""

    def __init__(self, redis: Redis, per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._per_minute = per_minute
        self._clock = clock
        self._own: dict[str, int] = {}
        self._own_window = 0
        self._away = False

    async def take(self, who: str) -> int:
        """Count one request of `who`; returns 0, or the seconds until the next is allowed."""
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                counted = await self._count(KEY.format(who=who, window=window))
            self._say(away=False)
        except (RedisError, OSError, TimeoutError):
            self._say(away=True)
            counted = self._count_here(who, window)
        if counted <= self._per_minute:
            return 0
        return max(1, int((window + 1) * WINDOW_SECONDS - now) + 1)

    async def _count(self, key: str) -> int:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, 2 * WINDOW_SECONDS)
            counted, _ = await pipeline.execute()
        return int(counted)

    def _count_here(self, who: str, window: int) -> int:
        if window != self._own_window:
            self._own, self._own_window = {}, window
        self._own[who] = self._own.get(who, 0) + 1
        return self._own[who]

    def _say(self, *, away: bool) -> None:
        if away != self._away:
            log.warning("Redis does not count requests: this process does" if away else "Redis counts requests again")
        self._away = away
