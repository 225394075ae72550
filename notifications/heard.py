"""Who writes to the bot, and where: heard by the one process that fetches the bot's updates, kept in Redis for others.

Telegram gives each update to one process. While the notifier listens, whoever sets up a chat asks here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from notifications.message import cut, sendable

HEARD_KEY = "autotrader:bot:heard:{bot}"
LISTENING_KEY = "autotrader:bot:listening:{bot}"
KEEP_SECONDS = 86_400
# strangers may write, too
KEPT = 100
LONGEST_NAME = 100
PARTS = ("message", "edited_message", "channel_post", "my_chat_member")


@dataclass(frozen=True, slots=True)
class Heard:
    """Who wrote, and where. A channel's posts have no `user_id`."""

    chat_id: int
    kind: str
    title: str
    user_id: int | None
    who: str


def read(update: Mapping[str, Any]) -> Iterator[Heard]:
    """Who is behind an update, as the Bot API writes it."""
    query = update.get("callback_query", {})
    for part in (*(update.get(name) for name in PARTS), query.get("message")):
        if not part or part.get("new_chat_member", {}).get("status") in ("left", "kicked"):
            continue
        chat, user = part["chat"], query.get("from") or part.get("from") or {}
        name = " ".join(filter(None, (user.get("first_name"), user.get("last_name"))))
        yield Heard(
            chat_id=chat["id"],
            kind=chat["type"],
            title=_shown(chat.get("title", "")),
            user_id=user.get("id"),
            who=_shown(f"{name} @{user['username']}" if user.get("username") else name),
        )


class HeardChats:
    """The chats of one bot over a client that stays the caller's to close. Everything raises `RedisError`."""

    def __init__(self, redis: Redis, token: str) -> None:
        self._redis = redis
        # the number of the bot, which is no secret
        bot = token.strip().partition(":")[0]
        self._heard = HEARD_KEY.format(bot=bot)
        self._listening = LISTENING_KEY.format(bot=bot)

    async def listen(self, seconds: float) -> None:
        """Say that this process fetches the updates for so long."""
        await self._redis.set(self._listening, "1", px=round(seconds * 1000))

    async def leave(self) -> None:
        """Say that it does no more."""
        await self._redis.delete(self._listening)

    async def anybody_listens(self) -> bool:
        """Whether a process fetches the bot's updates, so that nobody else can."""
        return bool(await self._redis.exists(self._listening))

    async def note(self, heard: Heard) -> None:
        """Keep it for a day, once."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zadd(self._heard, {json.dumps(asdict(heard), ensure_ascii=False): time.time()})
            pipe.zremrangebyrank(self._heard, 0, -KEPT - 1)
            pipe.expire(self._heard, KEEP_SECONDS)
            await pipe.execute()

    async def since(self, at: float) -> list[Heard]:
        """Who wrote last at or after a Unix time, the earliest first."""
        found: list[Any] = await self._redis.zrangebyscore(self._heard, at, "+inf")
        return [Heard(**json.loads(one)) for one in found]


def _shown(name: str) -> str:
    """A name as one line: whoever chose it may have put anything into it."""
    return cut(sendable(" ".join(str(name).split())), LONGEST_NAME)
