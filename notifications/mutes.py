"""Mutes: what is not told for a while. They live in the ledger, whose claims pass over what is muted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from notifications.alert import from_milliseconds
from notifications.ledger import PREFIX, script
from notifications.message import Chat, Priority

# Besides the kinds and the alerts by their `fingerprint.short`.
EVERYTHING = "all"


class Mutes:
    """The mutes over a `redis.asyncio` client that stays the caller's to close. Everything raises `RedisError`."""

    def __init__(self, client: Redis, *, prefix: str = PREFIX) -> None:
        self._redis = client
        self._prefix = prefix
        self._mute = client.register_script(script("mute"))

    async def set(self, name: str, seconds: float) -> None:
        """Tell nothing of `name` for so long; 0 ends it. Occurrences are counted on, and told afterwards; what is
        critical is told all the same."""
        arguments = [name, str(round(seconds * 1000)), str(int(Priority.NORMAL)), *(chat.value for chat in Chat)]
        await self._mute(keys=[self._prefix], args=arguments)

    async def in_force(self) -> dict[str, datetime]:
        """What is muted, and until when."""
        seconds, micros = await self._redis.time()
        now = int(seconds) * 1000 + int(micros) // 1000
        found: Sequence[Any] = await self._redis.zrangebyscore(
            self._prefix + "mutes", f"({now}", "+inf", withscores=True
        )
        return {
            name.decode() if isinstance(name, bytes) else str(name): from_milliseconds(int(ends))
            for name, ends in found
        }
