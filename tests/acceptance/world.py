"""What the acceptance tests ask of the running system."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from sandbox.client import SandboxControl
from sandbox.processes import ProcessGroup

TRADE_CHAT, ERROR_CHAT = "1001", "2002"
TOKEN = "1000000001:token-of-the-acceptance-tests"
LEVELS = {
    "upbit": {"KRW-BTC": 130e6, "KRW-ETH": 4.4e6, "KRW-XRP": 28e3, "KRW-SOL": 185e3, "KRW-DOGE": 19e3, "KRW-ADA": 7e3},
    "kis": {"005930": 70e3},
    "yfinance": {"AAPL": 200.0},
}
SYMBOLS = tuple(LEVELS["upbit"])


@dataclass
class World:
    """Where everything is, and the questions the tests ask of it."""

    redis_url: str
    database_url: str
    sandbox: SandboxControl
    env: dict[str, str]
    directory: Path
    processes: ProcessGroup

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database says."""

        async def ask() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.database_url.replace("+asyncpg", ""))
            try:
                return [dict(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def messages(self, chat: str) -> list[str]:
        """The texts a chat has received."""
        received = self.sandbox.get("telegram/messages")
        return [message["text"] for message in received if str(message["chat_id"]) == chat]

    def start(self, name: str, *argv: str, **env: str) -> None:
        """Start another process of the system."""
        self.processes.start(name, [sys.executable, "-m", *argv], env={**self.env, **env}, cwd=self.directory)


def wait_for(what: str, holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return the first true value; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")
