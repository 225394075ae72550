"""Groups that became supergroups have a new id: it is used at once, and kept until the settings name it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from redis import RedisError

from notifications.ledger import Ledger
from storage import moved_chats
from storage.direct import DatabaseUnavailable

log = logging.getLogger(__name__)

REDIS_ERRORS = (RedisError, OSError, TimeoutError)
STORE_SECONDS = 5.0
# The alerts do not wait longer than this for a database that does not answer.
READ_SECONDS = 3.0


class MovedChats:
    """Follows the chats of the settings. What it learns is in memory at once, in Redis and PostgreSQL as soon as they
    answer; either of them is enough to know it after a restart."""

    def __init__(self, ledger: Ledger, database_url: str) -> None:
        self._ledger = ledger
        self._database_url = database_url
        self._moved: dict[str, str] = {}
        self._not_in_redis: dict[str, str] = {}
        self._not_in_database: dict[str, str] = {}
        self._database_was_read = False
        self._database_is_away = False
        self._news = asyncio.Event()

    def now_at(self, chat_id: str) -> str:
        """The chat's id, or its newest one if it moved, maybe more than once."""
        seen = {chat_id}
        while (moved_to := self._moved.get(chat_id)) is not None and moved_to not in seen:
            chat_id = moved_to
            seen.add(chat_id)
        return chat_id

    def note(self, chat_id: str, moved_to: str) -> None:
        """Telegram said that the chat is another one now; it is stored by `watch`."""
        # whoever came from there and goes back would go in circles
        self._moved.pop(moved_to, None)
        for known in (self._moved, self._not_in_redis, self._not_in_database):
            known[chat_id] = moved_to
        self._news.set()

    async def read(self, chat_ids: Mapping[str, str]) -> None:
        """Take up what is known of the chats, named by their settings, and say which setting is out of date.

        Raises `RedisError`. A database that does not answer is read later, by `watch`.
        """
        for chat_id in chat_ids.values():
            await self._read_redis(chat_id)
        await self._read_database(READ_SECONDS)
        for setting, chat_id in chat_ids.items():
            if (moved_to := self.now_at(chat_id)) != chat_id:
                log.warning("the chat of %s has moved to %s: set %s to it", setting, moved_to, setting)

    async def watch(self) -> None:
        """Store what is learnt; until cancelled."""
        while True:
            self._news.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(STORE_SECONDS):
                    await self._news.wait()

    async def look(self) -> None:
        """Store what is not stored yet. What cannot be stored now is tried again."""
        for chat_id, moved_to in dict(self._not_in_redis).items():
            try:
                await self._ledger.remember_moved_chat(chat_id, moved_to)
            except REDIS_ERRORS:
                break  # the lanes say that Redis is away
            if self._not_in_redis.get(chat_id) == moved_to:
                del self._not_in_redis[chat_id]
        if not self._database_was_read:
            await self._read_database(None)
        if moved := dict(self._not_in_database):
            try:
                await moved_chats.remember(self._database_url, moved)
            except DatabaseUnavailable as error:
                self._away(error)
            else:
                self._database_is_away = False
                for chat_id, moved_to in moved.items():
                    if self._not_in_database.get(chat_id) == moved_to:
                        del self._not_in_database[chat_id]

    async def _read_redis(self, chat_id: str) -> None:
        seen = {chat_id}
        while (moved_to := await self._ledger.moved_chat(chat_id)) not in seen:
            self._moved.setdefault(chat_id, moved_to)
            chat_id = moved_to
            seen.add(chat_id)

    async def _read_database(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                known = await moved_chats.known(self._database_url)
        except TimeoutError:
            return
        except DatabaseUnavailable as error:
            self._away(error)
            return
        self._database_was_read = True
        for chat_id, moved_to in known.items():
            # what Telegram said since is newer
            if self._moved.setdefault(chat_id, moved_to) == moved_to:
                # others read it there
                self._not_in_redis[chat_id] = moved_to
        # what only Redis knew, because the database was away
        self._not_in_database |= {chat: to for chat, to in self._moved.items() if known.get(chat) != to}

    def _away(self, error: DatabaseUnavailable) -> None:
        if not self._database_is_away and self._not_in_database:
            self._database_is_away = True
            log.warning("where a chat has moved to is not in the database yet (%s); it is tried again", error)
