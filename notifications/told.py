"""How many alerts have reached their chat, day by day, as the ledger counts them when it learns of a delivery."""

from __future__ import annotations

from datetime import datetime

from redis.asyncio import Redis

from notifications.ledger import PREFIX

DAY_SECONDS = 86_400


async def told_between(redis: Redis, start: datetime, end: datetime, *, prefix: str = PREFIX) -> int:
    """How many were told from `start` until before `end`, aware times on midnight UTC; edits of a message that stands
    are none of them. Days are kept for ten days. Raises `RedisError`."""
    days = range(int(start.timestamp()) // DAY_SECONDS, -(-int(end.timestamp()) // DAY_SECONDS))
    counts = await redis.mget([f"{prefix}told:{day}" for day in days])
    return sum(int(count) for count in counts if count is not None)
