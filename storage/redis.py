"""Opening Redis: one pool per process, with time-outs, and one clear line when it is not there."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.asyncio import Redis

TIMEOUTS: dict[str, Any] = {
    "socket_connect_timeout": 3,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 30,
}


# Unix seconds of the last heartbeat that went through a market's queue; whoever watches reads it
HEARTBEAT_KEY = "autotrader:heartbeat:{market}"
# Unix seconds of the beat's last tick
BEAT_TICK_KEY = "autotrader:beat:tick"
# Unix seconds at which a notifier last said that it runs, which it does every few seconds
NOTIFIER_SIGN_KEY = "autotrader:notifier:sign"
# its silence for longer means that none runs; its calls to Redis may take five seconds each
NOTIFIER_SILENT_SECONDS = 20.0
# set while it is known, and was told, that a process is silent: the Unix seconds of the last sign it gave, or 0
SILENT_KEY = "autotrader:silent:{process}"

# Somebody else may hold it since.
_RELEASE = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"


class RedisUnavailable(Exception):
    """Redis does not answer; the message names where and the cure. `reason` is the name of the error."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"Redis at {where} is not reachable ({reason}): start it, or set REDIS_URL to where it runs")
        self.where = where
        self.reason = reason


def open_redis(url: str) -> Redis:
    """An asyncio client with a pool of its own; connects at first use."""
    client: Redis = Redis.from_url(url, decode_responses=True, **TIMEOUTS)
    return client


def seconds_since(sign: bytes | str | None) -> float | None:
    """Seconds since a process gave this sign, never negative; None if it gave none."""
    return None if sign is None else max(0.0, time.time() - float(sign))


async def release(client: Redis, key: str, token: str) -> None:
    """Delete a lease at `key` if it is still the one that holds `token`. Raises `RedisError`."""
    await client.eval(_RELEASE, 1, key, token)


async def check_redis(client: Redis, url: str) -> None:
    """Raise `RedisUnavailable` unless Redis answers a ping."""
    try:
        await client.ping()
    except (redis.RedisError, OSError) as error:
        raise _unavailable(url, error) from None


def check_redis_sync(url: str) -> None:
    """The same for a process without an event loop."""
    client = redis.Redis.from_url(url, **TIMEOUTS)
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        raise _unavailable(url, error) from None
    finally:
        client.close()


def _unavailable(url: str, error: Exception) -> RedisUnavailable:
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
    return RedisUnavailable(where, type(error).__name__)
