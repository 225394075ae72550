"""Questions that wait for a press: one token each, for one person, for a minute, for one press."""

from __future__ import annotations

import json
import secrets

from redis.asyncio import Redis

PREFIX = "autotrader:bot:confirm:"
SECONDS = 60

# Taken only by the person it is for: somebody else's press must not use it up.
_TAKE = """
local kept = redis.call('GET', KEYS[1])
if not kept or cjson.decode(kept).user ~= ARGV[1] then return false end
redis.call('DEL', KEYS[1])
return kept
"""


class Confirmations:
    """The open questions, in Redis: one notifier may ask and another be answered. Everything raises `RedisError`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)

    async def ask(self, user_id: int, command: str, arguments: str) -> str:
        """Keep a question for `SECONDS`; returns its token, of 16 characters."""
        token = secrets.token_urlsafe(12)
        kept = json.dumps({"user": str(user_id), "command": command, "arguments": arguments})
        await self._redis.set(PREFIX + token, kept, ex=SECONDS)
        return token

    async def take(self, token: str, user_id: int, command: str) -> str | None:
        """The arguments of the question, which is closed by this; None if there is none (any more) for this person."""
        kept = await self._take(keys=[PREFIX + token], args=[str(user_id)])
        if kept is None:
            return None
        fields = json.loads(kept)
        return str(fields["arguments"]) if fields["command"] == command else None
