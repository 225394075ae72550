"""One sandbox for all acceptance tests; a fresh database, queue and worker for each."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
import rising
from celery import Celery
from nodes import ROOT, LocalWorker, RunningRedis, WorkerProcess
from pytest_celery import CeleryTestBackend, CeleryTestBroker
from world import ERROR_CHAT, LEVELS, SYMBOLS, TOKEN, TRADE_CHAT, World

from sandbox.client import SandboxControl, announced_url
from sandbox.local import LocalPostgres, LocalRedis
from sandbox.processes import ProcessGroup

# one order an analysis, as often as a test analyses
STRATEGY = {"all": {"levels": 1, "min_interval": "0s", "max_position_share": "1", "averaging_rule": False}}


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
    migrated_template: str,
    sandbox: SandboxControl,
    settings_env: Mapping[str, str],
    tmp_path: Path,
) -> Iterator[World]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    sandbox.delete("faults")
    sandbox.delete("state")
    database_url = postgres_server.create_database(f"test_{uuid.uuid4().hex}", migrated_template)
    url = sandbox.url
    strategy = tmp_path / "strategy.json"
    strategy.write_text(json.dumps(STRATEGY), encoding="utf-8")
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
        "STRATEGY_FILE": str(strategy),
        # a fault of Yahoo is to be seen, not made up for
        "US_SECOND_SOURCE": "false",
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
