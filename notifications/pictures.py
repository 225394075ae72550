"""Pictures of messages, in Redis between the process that draws them and the notifier that sends them.

A message names its picture, so the ledger's payloads stay small. A picture is a decoration: it may be gone before its
message is sent, and the message then goes without it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time

from redis.asyncio import Redis

PREFIX = "autotrader:picture:"
NEWEST = "autotrader:pictures"
TTL_SECONDS = 86_400
# A chart has 20 to 60 kB; Telegram takes photos up to 10 MB.
LARGEST_BYTES = 1_000_000
# Redis evicts nothing by itself here, and a day with many alerts must not fill it.
KEPT = 300


class BadPicture(ValueError):
    """Not a PNG, or one too large to keep."""


async def keep(redis: Redis, png: bytes) -> str:
    """Keep a picture for a day, or until `KEPT` newer ones have come; returns its name.

    The name is that of the contents: the same picture is kept once. Raises `BadPicture` or `RedisError`.
    """
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        raise BadPicture("a picture is kept as PNG")
    if len(png) > LARGEST_BYTES:
        raise BadPicture(f"a picture of {len(png):,} bytes is larger than {LARGEST_BYTES:,}")
    name = hashlib.sha256(png).hexdigest()[:32]
    async with redis.pipeline(transaction=True) as pipe:
        # base64, since the clients of this house read text
        pipe.set(PREFIX + name, base64.b64encode(png).decode("ascii"), ex=TTL_SECONDS)
        pipe.zadd(NEWEST, {name: time.time()})
        pipe.zrange(NEWEST, 0, -KEPT - 1)
        pipe.expire(NEWEST, TTL_SECONDS)
        replies = await pipe.execute()
    if oldest := [_text(one) for one in replies[2]]:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.zrem(NEWEST, *oldest)
            pipe.delete(*(PREFIX + one for one in oldest))
            await pipe.execute()
    return name


async def load(redis: Redis, name: str) -> bytes | None:
    """The PNG of that name, or None if it is gone. Raises `RedisError`."""
    stored = await redis.get(PREFIX + name)
    if stored is None:
        return None
    try:
        return base64.b64decode(stored, validate=True)
    except (binascii.Error, ValueError):
        return None


def _text(member: str | bytes) -> str:
    return member.decode() if isinstance(member, bytes) else member
