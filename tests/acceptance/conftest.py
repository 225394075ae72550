"""One Redis, one PostgreSQL and one sandbox for all acceptance tests; a fresh database and queue for each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis
import rising
from celery import Celery
from nodes import ROOT, LocalWorker, RunningRedis, WorkerProcess
from pytest_celery import CeleryTestBackend, CeleryTestBroker

from sandbox.client import SandboxControl, announced_url
from sandbox.local import LocalPostgres, LocalRedis
from sandbox.processes import ProcessGroup
from storage.migrate import upgrade

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


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    with LocalRedis(environment="TEST_REDIS_URL") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[LocalPostgres]:
    with LocalPostgres(environment="TEST_DATABASE_URL") as server:
        asyncio.run(upgrade(server.create_database("acceptance_template")))
        yield server


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxControl]:
    candles = tmp_path_factory.mktemp("candles")
    for market, levels in LEVELS.items():
        rising.write(candles, market, levels)
    with ProcessGroup(tmp_path_factory.mktemp("sandbox")) as group:
        env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        argv = [sys.executable, "-m", "sandbox", "--port", "0", "--candles", str(candles)]
        group.start("sandbox", argv, env=env, cwd=ROOT)
        yield SandboxControl(group.wait_for_line("sandbox", announced_url, 30).rstrip("/"))


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    """Settings of one test module; override it there."""
    return {}


@pytest.fixture
def world(
    redis_server: LocalRedis,
    postgres_server: LocalPostgres,
    sandbox: SandboxControl,
    settings_env: Mapping[str, str],
    tmp_path: Path,
) -> Iterator[World]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    sandbox.delete("faults")
    sandbox.delete("state")
    database_url = postgres_server.create_database(f"test_{uuid.uuid4().hex[:12]}", template="acceptance_template")
    url = sandbox.url
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": database_url,
        "UPBIT_SYMBOLS": ",".join(SYMBOLS),
        "UPBIT_BASE_URL": f"{url}/upbit",
        "KIS_BASE_URL": f"{url}/kis",
        "KIS_APP_KEY": "acceptance-key",
        "KIS_APP_SECRET": "acceptance-secret",
        "YAHOO_BASE_URL": f"{url}/yahoo",
        "TELEGRAM_BASE_URL": f"{url}/telegram",
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": TRADE_CHAT,
        "ERROR_REPORTING_CHAT_ID": ERROR_CHAT,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{url}/otlp",
        "OTEL_BSP_SCHEDULE_DELAY": "300",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "IGNORE_MARKET_HOURS": "true",
        "HTTP_TIMEOUT_SECONDS": "3",
        **settings_env,
    }
    with ProcessGroup(tmp_path) as group:
        yield World(redis_server.url, database_url, sandbox, env, tmp_path, group)


@pytest.fixture
def celery_broker(world: World) -> Iterator[CeleryTestBroker]:
    broker = CeleryTestBroker(RunningRedis(world.redis_url))  # type: ignore[arg-type]
    yield broker
    broker.teardown()


@pytest.fixture
def celery_backend(world: World) -> Iterator[CeleryTestBackend]:
    backend = CeleryTestBackend(RunningRedis(world.redis_url))  # type: ignore[arg-type]
    yield backend
    backend.teardown()


@pytest.fixture
def celery_worker(world: World, celery_setup_app: Celery) -> Iterator[LocalWorker]:
    """The worker of Upbit's queue."""
    worker = LocalWorker(WorkerProcess("upbit", world.env, world.directory), celery_setup_app)  # type: ignore[arg-type]
    assert worker.ready()
    yield worker
    worker.teardown()
