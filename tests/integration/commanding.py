"""People who command a bot of this process, over a real Redis, PostgreSQL and the Bot API stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from notifying import TOKEN, waiting

from bot.process import run_bot
from sandbox.server import Sandbox
from settings import Settings

TRADE_CHAT, ERROR_CHAT, KIM, LEE, STRANGER = -1001, -1002, 71, 72, 666
until = waiting(15)


class Room:
    """The chats, as the people in them see them, and what the database says."""

    def __init__(self, sandbox: Sandbox, settings: Settings) -> None:
        self.sandbox = sandbox
        self.settings = settings

    def write(self, text: str, user: int = KIM, chat: int = TRADE_CHAT) -> dict[str, Any]:
        return self.sandbox.telegram.receive(chat, text, user, f"user{user}")

    def press(self, label: str, user: int = KIM, chat: int = TRADE_CHAT) -> dict[str, Any]:
        [message] = [one for one in self.sandbox.telegram.messages() if label in str(one["reply_markup"])][-1:]
        return self.sandbox.telegram.press(chat, message["message_id"], label, user)

    def said(self, chat: int = TRADE_CHAT) -> list[str]:
        return [one["text"] for one in self.sandbox.telegram.messages() if one["chat_id"] == chat]

    def toasts(self) -> list[str]:
        return [one["answer"]["text"] for one in self.sandbox.telegram.presses.listed() if one["answer"]]

    async def says(self, part: str, chat: int = TRADE_CHAT) -> str:
        await until(lambda: any(part in text for text in self.said(chat)))
        return next(text for text in self.said(chat) if part in text)

    async def rows(self, query: str = "SELECT * FROM bot_commands ORDER BY seq") -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.settings.database_url.replace("+asyncpg", ""))
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def outcomes(self, *wanted: tuple[str, str]) -> None:
        """Wait until the rows are these."""
        found: list[tuple[str, str]] = []
        deadline = time.monotonic() + 15
        while found != list(wanted):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)
            found = [(row["command"], row["outcome"]) for row in await self.rows()]


def made_settings(database_url: str, redis_url: str, sandbox: Sandbox, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "database_url": database_url,
        "telegram_base_url": f"{sandbox.url}/telegram",
        "telegram_token": TOKEN,
        "telegram_chat_id": str(TRADE_CHAT),
        "error_reporting_chat_id": str(ERROR_CHAT),
        "telegram_allowed_users": (KIM, LEE),
        "notify_language": "en",
    }
    return Settings(_env_file=None, **(values | changes))


@asynccontextmanager
async def running(room: Room, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_bot(room.settings.model_copy(update=changes), stop=stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
