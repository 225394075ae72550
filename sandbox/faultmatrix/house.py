"""The whole system as production starts it, with what watches it, on free ports of this machine and gone with the run.

Real Redis, PostgreSQL, Prometheus, Alertmanager and postgres_exporter, with the configuration of `deploy/`; the venues,
Telegram and the OTLP collector are the sandbox's. The collector has a process of its own, so that it can go away alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import redis

from sandbox.client import SandboxControl, announced_url, answers
from sandbox.faultmatrix.ask import NoAnswer
from sandbox.faultmatrix.messages import Notice, notices
from sandbox.faultmatrix.monitoring import Monitoring
from sandbox.faultmatrix.programs import Programs
from sandbox.faultmatrix.publisher import Publisher
from sandbox.faultmatrix.supervisor import Supervisor
from sandbox.local import LocalPostgres, LocalRedis, scratch
from sandbox.local.server import free_port
from sandbox.processes import ProcessFailed
from sandbox.started import Started
from settings import MARKETS

ROOT = Path(__file__).resolve().parents[2]
TRADE_CHAT, ERROR_CHAT, ALERT_CHAT = "1001", "2002", "3003"
TOKEN = "1000000001:token-of-the-fault-matrix"
READ_TOKEN, OPERATE_TOKEN = "fault-matrix-may-read", "fault-matrix-may-operate"
READY_SECONDS = 90.0
POLL_SECONDS = 0.2
SYMBOLS = {"upbit": "KRW-BTC,KRW-ETH", "kis": "005930", "yfinance": "AAPL"}
DATABASE = "faultmatrix"

# where real waiting is made shorter; every other setting is the default that production has
SHORTENED = {
    "UPBIT_SWEEP_MINUTES": "1",
    "KIS_SWEEP_MINUTES": "1",
    "YFINANCE_SWEEP_MINUTES": "1",
    "HTTP_TIMEOUT_SECONDS": "5",
    "ANALYZE_DEADLINE_SECONDS": "15",
    "SWEEP_DEADLINE_SECONDS": "15",
    "VISIBILITY_TIMEOUT_SECONDS": "20",
    "WORKER_SILENT_SECONDS": "40",
    "BEAT_SILENT_SECONDS": "15",
    "WATCHDOG_SECONDS": "20",
    "ERROR_DUPLICATE_WINDOW": "10",
    "OTEL_METRIC_EXPORT_INTERVAL": "2000",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
}

# and what durations of rules are multiplied by; other than "*" where the work has a period of its own, such as a
# heartbeat every 30 s, a sweep every minute and a tick of the beat every 5 s, or where a slow machine needs more
FACTORS: dict[str, float] = {
    "*": 1 / 60,
    # no decision for 40 s, and that for 80 s: more than two sweeps
    "AIDecisionStalled": 1 / 90,
    "AlertsNotDelivered": 1 / 10,
    "EventLoopStuck": 1 / 2,
    "HighErrorRate": 1 / 15,
    "MetricsNotCollected": 1 / 30,
    "NotifierDown": 1 / 15,
    "OrdersUnproven": 1 / 10,
    "QueueWaitLong": 1 / 20,
    "SchedulerDown": 1 / 10,
    "SchedulerJobSlow": 1 / 20,
    "WorkerDown": 3 / 5,
}

PYTHON_PROCESSES = ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")


class House(Started):
    """Running between `__enter__` and `__exit__`; enter it in the main thread.

    Raises `LocalServerError` or `ProcessFailed` while starting, with nothing left running.
    """

    def __init__(self, programs: Programs, factors: Mapping[str, float], logs: Path | None = None) -> None:
        super().__init__()
        self._programs = programs
        self._factors = factors
        self._logs_wanted = logs
        self.folder = Path()
        self.logs = Path()
        self.redis: LocalRedis
        self.postgres: LocalPostgres
        self.database_url = ""
        self.control: SandboxControl
        self.supervisor: Supervisor
        self.publisher: Publisher
        self.monitoring: Monitoring
        self.ports = {name: free_port() for name in PYTHON_PROCESSES}
        self.api_url = ""
        self.env: dict[str, str] = {}

    def wait(self, holds: Callable[[], Any], seconds: float) -> bool:
        """Keep the system running until `holds`, at most `seconds`; whether it did."""
        deadline = time.monotonic() + seconds
        while True:
            self.supervisor.tend()
            if holds():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)

    def need(self, holds: Callable[[], Any], seconds: float, what: str) -> None:
        """`wait`, for what a run cannot go on without. Raises `ProcessFailed`."""
        if not self.wait(holds, seconds):
            raise ProcessFailed(f"not within {seconds:g} s: {what}; the logs are in {self.logs}")

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the database says."""

        async def ask() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.plain_database_url, timeout=5)
            try:
                return [dict(row) for row in await connection.fetch(query, *values)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    @property
    def plain_database_url(self) -> str:
        return self.database_url.replace("postgresql+asyncpg://", "postgresql://")

    def messages(self, chat: str) -> list[dict[str, Any]]:
        """What a chat has received, oldest first; `at` is the receipt in Unix seconds."""
        return [item for item in self.control.get("telegram/messages") if str(item["chat_id"]) == chat]

    def _start(self) -> None:
        enter = self._exit.enter_context
        self.folder = scratch.create("faults")
        self._exit.callback(scratch.remove, self.folder)
        self.logs = (self._logs_wanted or self.folder / "logs").resolve()
        self.logs.mkdir(parents=True, exist_ok=True)
        self.redis = enter(LocalRedis(persist=True))
        self.postgres = enter(LocalPostgres())
        self.database_url = self.postgres.create_database(DATABASE)
        self.supervisor = Supervisor(self.folder, self.logs)
        self._exit.callback(self.supervisor.stop)
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "*",
        }
        url, collector = self._start_sandboxes(base)
        self.control = SandboxControl(url)
        self.env = {**base, **self._settings(url, collector)}
        self.publisher = enter(Publisher(self.redis.url))
        python = [sys.executable, "-m"]
        self.supervisor.run("migrate", [*python, "cli", "migrate"], self.env, READY_SECONDS)
        self._start_processes(python)
        self.monitoring = Monitoring(self._programs, self.folder / "monitoring", self._factors)
        self.monitoring.configure(
            ports=self.ports,
            telegram_url=f"{url}/telegram",
            token=TOKEN,
            chat_id=ALERT_CHAT,
            database_url=f"{self.plain_database_url}?sslmode=disable",
        )
        for name, (argv, env) in self.monitoring.commands().items():
            self.supervisor.start(name, argv, {**base, **env}, stage=1)
        self.need(self.monitoring.ready, READY_SECONDS, "Prometheus, Alertmanager and postgres_exporter answer")

    def _start_sandboxes(self, env: dict[str, str]) -> tuple[str, str]:
        urls = []
        for name in ("sandbox", "collector"):
            # a port of its own, kept over a restart
            argv = [sys.executable, "-m", "sandbox", "--port", str(free_port())]
            self.supervisor.start(name, argv, env)
        for name in ("sandbox", "collector"):
            self.need(lambda name=name: self._announced(name), READY_SECONDS, f"the start of {name}")  # type: ignore[misc]
            urls.append(self._announced(name).rstrip("/"))
        return urls[0], urls[1]

    def _announced(self, name: str) -> str:
        return next((url for line in self.supervisor.log(name).splitlines() if (url := announced_url(line))), "")

    def _start_processes(self, python: list[str]) -> None:
        start = self.supervisor.start
        start("notifier", [*python, "cli", "notifier"], self._env_of("notifier"), stage=2)
        for market in MARKETS:
            # the tasks that fail or block on purpose are loaded beside the system's own
            argv = [*python, "celery", "-A", "tasks", "worker", "-P", "threads", "-Q", market, "-n", f"{market}@%h"]
            argv += ["-I", "sandbox.faultmatrix.tasks"]
            start(f"worker-{market}", argv, self._env_of(f"worker-{market}"), stage=3)
        start("api", [*python, "cli", "api"], self._env_of("api"), stage=3)
        for market in MARKETS:
            name = f"worker-{market}"
            self.need(lambda name=name: self.ready(name), READY_SECONDS, f"the start of {name}")  # type: ignore[misc]
        self.need(self.api_answers, READY_SECONDS, "the start of the API")
        start("beat", [*python, "celery", "-A", "tasks", "beat"], self._env_of("beat"), stage=4)

    def ready(self, worker: str) -> bool:
        """Whether the worker has said that it is, since its last start."""
        return self.supervisor.log(worker).count(" is ready") >= self.supervisor.starts(worker)

    def api_answers(self) -> bool:
        return answers(f"{self.api_url}/healthz")

    def _env_of(self, name: str) -> dict[str, str]:
        return {**self.env, "PROMETHEUS_PORT": str(self.ports[name])}

    def _settings(self, sandbox: str, collector: str) -> dict[str, str]:
        api_port = free_port()
        self.api_url = f"http://127.0.0.1:{api_port}"
        return {
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": self.database_url,
            "UPBIT_BASE_URL": f"{sandbox}/upbit",
            "KIS_BASE_URL": f"{sandbox}/kis",
            "KIS_APP_KEY": "fault-matrix-key",
            "KIS_APP_SECRET": "fault-matrix-secret",
            "YAHOO_BASE_URL": f"{sandbox}/yahoo",
            # a fault of Yahoo is to be seen, not made up for
            "US_SECOND_SOURCE": "false",
            "TELEGRAM_BASE_URL": f"{sandbox}/telegram",
            "TELEGRAM_TOKEN": TOKEN,
            "TELEGRAM_CHAT_ID": TRADE_CHAT,
            "ERROR_REPORTING_CHAT_ID": ERROR_CHAT,
            "ALERT_SPOOL_DIR": str(self.folder / "spool"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector}/otlp",
            "OTEL_ENVIRONMENT": "fault-matrix",
            "API_PORT": str(api_port),
            "API_READ_TOKEN": READ_TOKEN,
            "API_OPERATE_TOKEN": OPERATE_TOKEN,
            "API_REQUESTS_PER_MINUTE": "6000",
            "IGNORE_MARKET_HOURS": "true",
            "LOG_FORMAT": "console",
            **{f"{market.upper()}_SYMBOLS": symbols for market, symbols in SYMBOLS.items()},
            **SHORTENED,
        }

    def redis_client(self) -> redis.Redis:
        """A connection to the system's Redis; the caller closes it."""
        return redis.Redis.from_url(self.redis.url, socket_timeout=5, decode_responses=True)

    def freeze(self, name: str) -> None:
        """SIGSTOP: the process is there and does nothing."""
        self.supervisor.send(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.supervisor.send(name, signal.SIGCONT)

    def notices(self, since: float) -> list[Notice]:
        """What Alertmanager has told since that Unix time, oldest first."""
        return notices(message for message in self.messages(ALERT_CHAT) if message["at"] >= since)

    def alerted(self, alert: str) -> bool:
        """Whether the alert fires by now."""
        return alert in self.monitoring.firing()

    def asked(self, service: str) -> list[dict[str, Any]]:
        """The requests to a service of the sandbox that wait for their answer."""
        return [row for row in self.control.get("requests") if row["service"] == service and row["status"] is None]

    def in_progress(self, run: str) -> bool:
        """Whether the analysis of a run asks its venue for something right now."""
        pending = self.rows("SELECT 1 AS one FROM run_symbols WHERE run_id = $1::uuid AND state = 'pending'", run)
        return bool(pending) and bool(self.asked("yahoo"))

    def unwell(self) -> list[str]:
        """What is not as it should be, one line each; empty while all is well."""
        wrong = [f"{name} does not run" for name in self.supervisor.names if not self.supervisor.running(name)]
        if wrong:
            return wrong
        wrong += [f"{fault['service']} is told to {fault['kind']}" for fault in self.control.get("faults")]
        try:
            wrong += [f"{alert} fires" for alert in self.monitoring.firing()]
            wrong += [f"{job} is not scraped" for job in self.monitoring.down()]
        except NoAnswer as error:
            wrong.append(str(error))
        return sorted(set(wrong))
