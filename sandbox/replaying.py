"""Redis, PostgreSQL and workers of one market, for a replay on a machine that has none of them running.

The user's own settings hold, from `.env` or the environment, but for where the state lives, whom is told, and real
money: orders are on paper, and nothing is sent to Telegram or a collector.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from signal import SIGKILL

from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pidbox import Mailbox
from redis import RedisError

from sandbox.local import LocalPostgres, LocalRedis, scratch
from sandbox.processes import ProcessGroup
from sandbox.started import Started
from storage.migrate import upgrade

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 90.0
# half of a worker's threads are left to others, which there are none of here
THREADS = 8
# a folder for the workers' log files, which are removed afterwards otherwise; the demo's has the same name
LOGS = "DEMO_LOGS"


class ReplayWorkers(Started):
    """`count` workers of a market, between `__enter__` and `__exit__`; enter it in the main thread.

    `environment` is what this process needs to reach them. Raises `LocalServerError`, `StorageError` or
    `ProcessFailed` while starting, with nothing left running.
    """

    def __init__(self, market: str, count: int) -> None:
        super().__init__()
        self.market = market
        self.count = count
        self.environment: dict[str, str] = {}

    def _start(self) -> None:
        enter = self._exit.enter_context
        folder = scratch.create("replay")
        self._exit.callback(scratch.remove, folder)
        redis_url = enter(LocalRedis()).url
        database_url = enter(LocalPostgres()).url
        asyncio.run(upgrade(database_url))
        self.environment = self._environment(redis_url, database_url)
        logs = Path(os.environ.get(LOGS) or folder)
        logs.mkdir(parents=True, exist_ok=True)
        group = enter(ProcessGroup(logs, on_death=SIGKILL))
        env = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        for number in range(1, self.count + 1):
            name = f"replay{number}"
            argv = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "threads", "-c", str(THREADS)]
            argv += ["--without-gossip", "--without-mingle", "-Q", self.market, "-n", f"{name}@%h"]
            group.start(name, argv, env=env)
        group.wait_until(lambda: self._answering(redis_url) == self.count, READY_SECONDS, "the start of the workers")

    def _answering(self, redis_url: str) -> int:
        with Connection(redis_url) as broker:
            try:
                workers = Mailbox("celery", type="fanout", accept=["json"])(broker)
                return len(workers.multi_call("ping", timeout=0.5, limit=self.count))
            except (OperationalError, RedisError, OSError):
                return 0

    def _environment(self, redis_url: str, database_url: str) -> dict[str, str]:
        return {
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "CELERY_BROKER_URL": "",
            "CELERY_RESULT_BACKEND": "",
            "TRADING_MODE": "paper",
            "TELEGRAM_ENABLED": "false",
            "SIGNOZ_ENABLED": "false",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "",
            "PROMETHEUS_PORT": "0",
            "LOG_FORMAT": "console",
        }
