"""All processes of the system on this machine, started one by one as production starts them, and given work.

Redis, PostgreSQL and the sandbox are there too, but are not part of what is measured.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import asyncpg
from celery import Celery

from sandbox.client import SandboxControl, announced_url
from sandbox.local import LocalPostgres, LocalRedis
from sandbox.local.server import free_port
from sandbox.processes import ProcessGroup
from settings import MARKETS
from storage.migrate import upgrade

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 120.0
WORK_SECONDS = 300.0
QUIET_SECONDS = 3.0
OPERATOR = 71
TRADE_CHAT, ERROR_CHAT = "1001", "2002"
# what an operator asks of the bot after every sweep; each has an answer of its own
COMMANDS = ("/status", "/positions", "/orders", "/pnl", "/daily", "/locks", "/health", "/help")
# and of the API
PAGES = ("healthz", "analysis-results/", "api/orders", "api/fills", "api/positions", "api/runs", "api/trading-state")

_AUTOTRADER = (sys.executable, "-m", "cli")
# by the name that telemetry has for it
PROCESSES: Mapping[str, tuple[str, ...]] = {
    **{f"worker-{market}": (*_AUTOTRADER, "worker", market) for market in MARKETS},
    **{name: (*_AUTOTRADER, name) for name in ("beat", "notifier", "api")},
}

# the process that all are forked from, as one service
TOGETHER = "run"


class Household:
    """The system, and what may be asked of it."""

    def __init__(self, group: ProcessGroup, env: Mapping[str, str], directory: Path, sandbox: SandboxControl) -> None:
        self._group = group
        self._env = env
        self._directory = directory
        self._sandbox = sandbox
        self._celery = Celery("household", broker=env["REDIS_URL"], set_as_current=False)
        self.pids: dict[str, int] = {}
        self._ports: dict[str, int] = {}
        self._sweeps = 0

    def start(self, name: str) -> None:
        """Start one process and wait until it says that it works. Raises `ProcessFailed`."""
        self._start(name, self._group)

    def start_together(self) -> float:
        """Start all processes as one service; returns the seconds until all of them work. Raises `ProcessFailed`."""
        first = free_port()
        started = time.monotonic()
        env = {**self._env, "PROMETHEUS_PORT": str(first)}
        self.pids[TOGETHER] = self._group.start(TOGETHER, [*_AUTOTRADER, "run"], env=env, cwd=self._directory, stage=1)
        for number, name in enumerate(PROCESSES):
            self._ports[name] = first + number
            self.pids[name] = self._group.wait_for_line(TOGETHER, partial(_announced_pid, name), READY_SECONDS)
        for name in PROCESSES:
            self._group.wait_until(partial(self._runs, name), READY_SECONDS, f"the start of {name}")
        return time.monotonic() - started

    def seconds_to_start(self, name: str) -> float:
        """How long a process takes from its launch until it says that it works; it is stopped then."""
        with ProcessGroup(self._directory, grace=20.0) as group:
            started = time.monotonic()
            self._start(name, group)
            seconds = time.monotonic() - started
        del self.pids[name]
        return seconds

    def seconds_of(self, code: str) -> float:
        """How long a Python of its own takes for `code`. Raises `ProcessFailed`."""
        started = time.monotonic()
        self._group.run(
            "python", [sys.executable, "-c", code], env=self._env, cwd=self._directory, seconds=READY_SECONDS
        )
        return time.monotonic() - started

    def work(self) -> None:
        """A sweep of every market with its messages and pictures, the reports of a day and a week, one failure, and
        every question of the bot and the API; returns when all of it is done. Raises `ProcessFailed`."""
        self._sweeps += 1
        self._sandbox.post("faults", {"service": "upbit", "symbol": self._failing, "kind": "error", "count": 1})
        for market in MARKETS:
            self._celery.send_task("tasks.analysis.sweep", args=(market,), queue=market)
        ended = "SELECT count(*) AS n FROM runs WHERE status = 'finished'"
        self._wait(lambda: self.rows(ended)[0]["n"] >= self._sweeps * len(MARKETS), "the end of the sweeps")
        # what is told of a day and a week that are over: as if the snapshots were older, and nobody had told
        self.rows("UPDATE portfolio_snapshots SET at = at - interval '1 day' WHERE at > now() - interval '1 day'")
        self.rows("DELETE FROM pnl_reports")
        for period in ("day", "week"):
            self._celery.send_task("tasks.reports.profit", args=(period,), queue="upbit.orders")
        self._wait(lambda: self.rows("SELECT count(*) AS n FROM pnl_reports")[0]["n"] == 2, "the reports")
        for command in COMMANDS:
            body = {"chat_id": int(TRADE_CHAT), "text": command, "user_id": OPERATOR, "username": "operator"}
            self._sandbox.post("telegram/updates", body)
        asked = len(COMMANDS) * self._sweeps
        answered = "SELECT count(*) AS n FROM bot_commands WHERE outcome <> 'begun'"
        self._wait(lambda: self.rows(answered)[0]["n"] >= asked, "the answers of the bot")
        for path in PAGES:
            self._get(f"http://127.0.0.1:{self._env['API_PORT']}/{path}")
        for name in PROCESSES:
            self._scrape(name)
        self._wait_for_quiet()

    def done(self) -> Mapping[str, int]:
        """What came of the work so far, by name."""
        tables = {name: self.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in ("analyses", "orders")}
        messages = self._sandbox.get("telegram/messages")
        pictures = sum(1 for message in messages if message.get("photo"))
        return {**tables, "messages": len(messages), "pictures": pictures}

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database says."""

        async def ask() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self._env["DATABASE_URL"].replace("+asyncpg", ""))
            try:
                return [dict(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def _start(self, name: str, group: ProcessGroup) -> None:
        self._ports[name] = free_port()
        env = {**self._env, "PROMETHEUS_PORT": str(self._ports[name])}
        # in a folder of its own, so that no .env is read
        self.pids[name] = group.start(name, PROCESSES[name], env=env, cwd=self._directory, stage=1)
        group.wait_until(lambda: self._runs(name), READY_SECONDS, f"the start of {name}")

    @property
    def _failing(self) -> str:
        return self._env["UPBIT_SYMBOLS"].split(",")[0]

    def _runs(self, name: str) -> bool:
        try:
            text = self._scrape(name)
        except (URLError, OSError):
            return False
        return any(line.startswith("bot_running{") and f'"{name}"' in line and line.endswith(" 1.0")
                   for line in text.splitlines())  # fmt: skip

    def _scrape(self, name: str) -> str:
        return self._get(f"http://127.0.0.1:{self._ports[name]}/metrics")

    def _get(self, url: str) -> str:
        headers = {"Authorization": f"Bearer {self._env['API_OPERATE_TOKEN']}"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, headers=headers), timeout=30) as reply:
            return str(reply.read().decode())

    def _wait(self, holds: Any, what: str) -> None:
        self._group.wait_until(holds, WORK_SECONDS, what)

    def _wait_for_quiet(self) -> None:
        """Wait until the chat has had no message for a while: what is still to be told is memory."""
        count, since = -1, time.monotonic()
        deadline = since + WORK_SECONDS
        while time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:
            self._group.check()
            now = len(self._sandbox.get("telegram/messages"))
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.2)


def _announced_pid(name: str, line: str) -> int | None:
    """The number in the line that says which process a member is."""
    found = re.search(rf"{re.escape(name)} is process (\d+)", line)
    return None if found is None else int(found[1])


@contextmanager
def household(extra: Mapping[str, str] | None = None) -> Iterator[Household]:
    """Servers and sandbox started; the processes are the caller's to start. All of it is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="autotrader-memory-") as folder,
        LocalRedis() as redis,
        LocalPostgres() as postgres,
        ProcessGroup(Path(folder), grace=20.0) as group,
    ):
        directory = Path(folder)
        database_url = postgres.create_database("memory")
        asyncio.run(upgrade(database_url))
        plain = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        plain |= {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        group.start("sandbox", [sys.executable, "-m", "sandbox"], env=plain, cwd=ROOT)
        url = group.wait_for_line("sandbox", announced_url, READY_SECONDS).rstrip("/")
        sandbox = SandboxControl(url)
        served = sandbox.get("symbols")
        env = {
            **plain,
            "NO_PROXY": "*",
            "REDIS_URL": redis.url,
            "DATABASE_URL": database_url,
            "TRADING_MODE": "paper",
            "IGNORE_MARKET_HOURS": "true",
            # the sweeps are the benchmark's
            "SWEEP_AT_START": "false",
            **{f"{market.upper()}_SWEEP_MINUTES": "0" for market in MARKETS},
            **{f"{market.upper()}_SYMBOLS": ",".join(served[market]) for market in MARKETS},
            "UPBIT_BASE_URL": f"{url}/upbit",
            "KIS_BASE_URL": f"{url}/kis",
            "KIS_APP_KEY": "sandbox-app-key",
            "KIS_APP_SECRET": "sandbox-app-secret",
            "YAHOO_BASE_URL": f"{url}/yahoo",
            "GEMINI_BASE_URL": f"{url}/gemini",
            "GOOGLE_API_KEYS": "sandbox-gemini-key",
            "TELEGRAM_BASE_URL": f"{url}/telegram",
            "TELEGRAM_TOKEN": "1000000001:token-of-the-memory-benchmark",
            "TELEGRAM_CHAT_ID": TRADE_CHAT,
            "ERROR_REPORTING_CHAT_ID": ERROR_CHAT,
            "TELEGRAM_ALLOWED_USERS": str(OPERATOR),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{url}/otlp",
            "API_PORT": str(free_port()),
            "API_OPERATE_TOKEN": "operate-token-of-the-memory-benchmark",
            **(extra or {}),
        }
        yield Household(group, env, directory, sandbox)
