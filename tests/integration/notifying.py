"""A running notifier between a real Redis and the Bot API stand-in, for the tests of what arrives."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from notifications.alert import Alert, Kind
from notifications.message import Button, Chat, Entity, Message, Priority
from notifications.notifier import run_notifier
from notifications.pace import Pace
from sandbox.server import Sandbox
from settings import Settings

TOKEN = "1000000001:AAF-sandbox-token-for-the-tests-only"
TRADE_CHAT, ERROR_CHAT = 111, 222
FAST = Pace(per_chat=200, burst=200, overall=1000, fold_above=10_000)


def made_settings(redis_url: str, sandbox: Sandbox, **changes: Any) -> Settings:
    """The settings of a notifier that writes to the sandbox; it finds no database unless it is named one."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "database_url": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
        "telegram_base_url": f"{sandbox.url}/telegram",
        "telegram_token": TOKEN,
        "telegram_chat_id": str(TRADE_CHAT),
        "error_reporting_chat_id": str(ERROR_CHAT),
        "error_duplicate_window": 1,
    }
    return Settings(_env_file=None, **(values | changes))


@asynccontextmanager
async def running(settings: Settings, *, stops_within: float = 30, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
    """A notifier of this process, stopped at the end, which it has so many seconds for."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_notifier(settings, stop=stop, **({"pace": FAST} | options)))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, stops_within)


class Until(Protocol):
    """Waits for what another part of this process does."""

    def __call__(self, condition: Callable[[], object], seconds: float = ...) -> Awaitable[None]: ...


def waiting(usual: float) -> Until:
    """A way to wait, for `usual` seconds where no others are given."""

    async def until(condition: Callable[[], object], seconds: float = usual) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.01)

    return until


until = waiting(20)


async def until_it(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Wait for what a server knows."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def shown(sandbox: Sandbox, chat: int) -> list[dict[str, Any]]:
    """The messages of a chat, oldest first."""
    return [message for message in sandbox.telegram.messages() if message["chat_id"] == chat]


def texts(sandbox: Sandbox, chat: int) -> list[str]:
    """Their texts; of a picture its caption."""
    return [message["text"] for message in shown(sandbox, chat)]


def alert(
    name: str,
    text: str = "",
    *,
    kind: Kind = "error",
    chat: Chat = Chat.ERROR,
    priority: Priority = Priority.HIGH,
    buttons: tuple[tuple[Button, ...], ...] = (),
    picture: str = "",
    window: float = 0.3,
    once: bool = False,
    symbol: str = "",
) -> Alert:
    """An alert whose first line is bold."""
    text = text or f"text of {name}"
    bold = (Entity("bold", 0, len(text.partition("\n")[0])),)
    message = Message(text, bold, priority, chat, buttons, picture)
    return Alert(name, kind, message, datetime.now(UTC), window_seconds=window, once=once, symbol=symbol)


def png(width: int = 64, height: int = 32) -> bytes:
    """A grey picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\x00" + b"\x80" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
