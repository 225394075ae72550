"""Which model is closed for which key, and until when: shared by all workers through Redis.

The names in Redis hold a hash of the key, never the key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from redis.asyncio import Redis

PREFIX = "autotrader:llm:blocked:"
ANY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Block:
    """`model` answers nothing for `key` (a hash) for another `seconds`, because of `reason`."""

    model: str
    key: str
    seconds: float
    reason: str


def digest(key: str) -> str:
    """What stands for an API key wherever one must be told from another."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class Blocks:
    """Over a client that stays the caller's. All methods raise `RedisError`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def close(self, model: str, key: str, seconds: float, reason: str) -> None:
        """Ask `model` nothing with this key for `seconds`; `ANY_MODEL` closes the key."""
        await self._redis.set(f"{PREFIX}{model}:{digest(key)}", reason, px=max(1, round(seconds * 1000)))

    async def is_closed(self, model: str, key: str) -> bool:
        """Whether the key may not be used for the model now."""
        names = [f"{PREFIX}{name}:{digest(key)}" for name in (model, ANY_MODEL)]
        return bool(await self._redis.exists(*names))

    async def listed(self) -> list[Block]:
        """All that are in force, by model and key."""
        found = []
        async for name in self._redis.scan_iter(match=f"{PREFIX}*", count=500):
            text = _text(name)
            milliseconds, reason = await self._redis.pttl(name), await self._redis.get(name)
            if reason is None or milliseconds < 0:
                continue
            model, _, key = text.removeprefix(PREFIX).rpartition(":")
            found.append(Block(model, key, milliseconds / 1000, _text(reason)))
        return sorted(found, key=lambda block: (block.model, block.key))

    async def clear(self) -> int:
        """Open everything; returns how many there were."""
        names = [name async for name in self._redis.scan_iter(match=f"{PREFIX}*", count=500)]
        return int(await self._redis.delete(*names)) if names else 0


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
