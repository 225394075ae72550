"""The queues, seen from outside: how many messages wait, how many are under way, and how old the oldest is.

One process watches (the notifier), so that a queue is seen also when none of its workers is there. It reads what
kombu's Redis transport keeps: one list per queue and priority, filled at the left and emptied at the right, and one
hash, `unacked`, for all queues.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from telemetry.headers import SENT_AT
from telemetry.instruments import queue_length, queue_oldest_age, queue_unacked

log = logging.getLogger(__name__)

PERIOD_SECONDS = 5.0
TIMEOUT_SECONDS = 2.0

# kombu.transport.redis: priority 0 has the queue's own name
PRIORITY_STEPS = (0, 3, 6, 9)
PRIORITY_SEPARATOR = "\x06\x16"
UNACKED = "unacked"

# what reading a message raises that is none of kombu's: whoever takes it will say so
UNREADABLE = (AttributeError, TypeError, LookupError, ValueError, OverflowError, RecursionError)

# kombu's names of schemes, and what redis-py calls them
SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "redis+socket": "unix"}


class QueueMonitor:
    """Watches `queues` at the broker `url`. For one event loop.

    Only Redis is understood; of another broker nothing is reported, which is said once.
    """

    def __init__(self, url: str, queues: Iterable[str]) -> None:
        self._queues = tuple(queues)
        self._redis = _open(url)
        self._away = False

    async def observe(self) -> None:
        """Look once and set the three gauges. Raises `RedisError` or `OSError` where Redis does not answer."""
        if self._redis is None:
            return
        taken = await self._taken(self._redis)
        for queue in self._queues:
            waiting, oldest = await self._waiting(self._redis, queue)
            attributes = {"queue": queue}
            queue_length.set(waiting, attributes)
            queue_unacked.set(taken[queue], attributes)
            # clocks of two machines may disagree: nothing was published in the future
            queue_oldest_age.set(max(0.0, time.time() - oldest) if oldest else 0.0, attributes)

    async def watch(self, stop: asyncio.Event) -> None:
        """Look every five seconds until `stop` is set, and close the connection.

        While Redis is away nothing is reported: the numbers of before would be no longer true.
        """
        try:
            while not stop.is_set() and self._redis is not None:
                await self._look()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PERIOD_SECONDS)
        finally:
            if self._redis is not None:
                await self._redis.aclose()

    async def _look(self) -> None:
        try:
            await self.observe()
        except (RedisError, OSError) as error:
            if not self._away:
                log.warning("the queues cannot be watched, Redis does not answer (%s)", type(error).__name__)
            self._away = True
            for gauge in (queue_length, queue_unacked, queue_oldest_age):
                gauge.forget()
        else:
            if self._away:
                log.info("the queues are watched again")
            self._away = False

    @staticmethod
    async def _taken(redis: Redis) -> Counter[str]:
        """The unacknowledged messages by queue; the hash holds `[message, exchange, routing key]` of each."""
        rows = await cast(Awaitable[list[bytes]], redis.hvals(UNACKED))
        return Counter(_routing_key(row) for row in rows)

    @staticmethod
    async def _waiting(redis: Redis, queue: str) -> tuple[int, float | None]:
        """How many wait, and when the oldest of those that are next of their priority was published."""
        lists = [f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue for step in PRIORITY_STEPS]
        async with redis.pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.llen(name)
                pipe.lindex(name, -1)
            replies = await pipe.execute()
        published = [at for message in replies[1::2] if message and (at := _published(message)) is not None]
        return sum(replies[::2]), min(published, default=None)


def _open(url: str) -> Redis | None:
    scheme, separator, rest = url.partition("://")
    known = SCHEMES.get(scheme)
    if known is None:
        log.info("the queues are not watched: a broker of the kind %r keeps its own numbers", scheme)
        return None
    client: Redis = Redis.from_url(
        f"{known}{separator}{rest}",
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        max_connections=2,
    )
    return client


def _published(message: bytes) -> float | None:
    """The publish time in a message's headers, or None where its sender did not say."""
    try:
        value = json.loads(message)["headers"].get(SENT_AT)
        return float(value) if isinstance(value, int | float) else None
    except UNREADABLE:
        return None


def _routing_key(row: bytes) -> str:
    """The queue that a row of `unacked` is of, or ""."""
    try:
        return str(json.loads(row)[2])
    except UNREADABLE:
        return ""
