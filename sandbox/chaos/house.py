"""The servers, the venues and the workers of a chaos run, and the ways to hurt them.

Everything is private to the run and gone with it. A worker that ends is started again at once, as its supervisor would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import asyncpg

from sandbox.chaos import strategy
from sandbox.chaos.market import symbols
from sandbox.chaos.plan import KIS, MARKETS, UPBIT
from sandbox.client import SandboxControl, announced_url
from sandbox.local import LocalPostgres, LocalRedis, scratch
from sandbox.local.death import die_with_parent
from sandbox.processes import ProcessGroup, undisturbed

ROOT = Path(__file__).resolve().parents[2]
Mode: TypeAlias = Literal["paper", "live"]

ACCESS_KEY, SECRET_KEY = "chaos-access-key", "chaos-secret-key-of-thirty-two-bytes-or-more-0123456789-0123456789abcdef"
APP_KEY, APP_SECRET, CANO = "chaos-app-key", "chaos-app-secret", "12345678"
CASH = 10**11
# of each symbol, in KRW
HELD = 2_000_000
WORKERS = 2
READY_SECONDS = 60.0
STOP_SECONDS = 15.0
WATCH_SECONDS = 0.1
ARMED_FOR = "8h"

# an order that gets no answer takes ten seconds, and a lease fifteen
ANALYZE_DEADLINE = 25
VISIBILITY = 28


@dataclass(slots=True)
class Worker:
    """One worker process; `deaths` counts those that nobody ordered."""

    name: str
    argv: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ordered: bool = False
    starts: int = 0
    deaths: int = 0
    started_at: float = 0.0
    stopped: bool = False


class House:
    """Running between `__enter__` and `__exit__`; enter it in the main thread.

    `symbols` is how many there are of each market. Raises `LocalServerError` or `ProcessFailed` while starting.
    """

    def __init__(self, mode: Mode, symbols: int, logs: Path | None = None) -> None:
        self.mode = mode
        self.count = symbols
        self._logs_wanted = logs
        self._exit = ExitStack()
        self._servers = asyncio.Lock()
        self.workers: dict[str, Worker] = {}
        self.folder = Path()
        self.logs = Path()
        self.env: dict[str, str] = {}
        self.redis: LocalRedis
        self.postgres: LocalPostgres
        self.database_url = ""
        self.control: SandboxControl
        self._closing = False

    def __enter__(self) -> House:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def symbols(self) -> dict[str, tuple[str, ...]]:
        """The symbols by market."""
        return {market: tuple(symbols(market, self.count)) for market in MARKETS}

    def _start(self) -> None:
        enter = self._exit.enter_context
        self.folder = scratch.create("chaos")
        self._exit.callback(scratch.remove, self.folder)
        self.logs = (self._logs_wanted or self.folder / "logs").resolve()
        self.logs.mkdir(parents=True, exist_ok=True)
        self.redis = enter(LocalRedis(persist=True))
        self.postgres = enter(LocalPostgres())
        self.database_url = self.postgres.create_database("chaos")
        # the server's default of the sandbox would lose what was committed right before it is killed
        asyncio.run(self.execute("ALTER DATABASE chaos SET synchronous_commit = on"))
        group = enter(ProcessGroup(self.logs, on_death=signal.SIGKILL))
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        argv = [sys.executable, "-m", "sandbox.chaos.venues", "--symbols", str(self.count)]
        group.start("venues", argv, env=base, cwd=self.folder)
        url = group.wait_for_line("venues", announced_url, READY_SECONDS).rstrip("/")
        self.control = SandboxControl(url)
        self._open_accounts()
        self.env = {**base, **self._settings(url)}
        group.run("migrate", self._cli("migrate"), env=self.env, cwd=self.folder, seconds=READY_SECONDS)
        if self.mode == "live":
            for market in MARKETS:
                arm = self._cli("arm", market, "--for", ARMED_FOR)
                group.run(f"arm-{market}", arm, env=self.env, cwd=self.folder, seconds=READY_SECONDS)
        self._exit.callback(self._end_workers)
        for market in MARKETS:
            for number in range(1, WORKERS + 1):
                self._hire(f"{market}-{number}", market)

    def _stop(self) -> None:
        self._closing = True
        with undisturbed():
            self._exit.close()

    @staticmethod
    def _cli(*words: str) -> list[str]:
        return [sys.executable, "-m", "cli", *words]

    def _open_accounts(self) -> None:
        held = {market: symbols(market, self.count) for market in MARKETS}
        upbit = {
            name.partition("-")[2]: {"balance": str(HELD // price), "avg_buy_price": str(price)}
            for name, price in held[UPBIT].items()
        }
        key = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        self.control.post("upbit/accounts", {**key, "balances": {"KRW": str(CASH), **upbit}})
        kis = {name: {"quantity": HELD // price, "average_price": str(price)} for name, price in held[KIS].items()}
        self.control.post("kis/accounts", {"cano": CANO, "cash": str(CASH), "holdings": kis})

    def _settings(self, url: str) -> dict[str, str]:
        file = self.folder / "strategy.json"
        strategy.write(file)
        live = {"UPBIT_ACCESS_KEY": ACCESS_KEY, "UPBIT_SECRET_KEY": SECRET_KEY, "KIS_ACCOUNT": f"{CANO}-01"}
        return {
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": self.database_url,
            "TRADING_MODE": self.mode,
            "UPBIT_SYMBOLS": ",".join(self.symbols[UPBIT]),
            "KIS_SYMBOLS": ",".join(self.symbols[KIS]),
            "YFINANCE_SYMBOLS": "",
            "UPBIT_BASE_URL": f"{url}/upbit",
            "KIS_BASE_URL": f"{url}/kis",
            "KIS_APP_KEY": APP_KEY,
            "KIS_APP_SECRET": APP_SECRET,
            "STRATEGY_FILE": str(file),
            "TELEGRAM_ENABLED": "false",
            "HTTP_TIMEOUT_SECONDS": "5",
            "ANALYZE_DEADLINE_SECONDS": str(ANALYZE_DEADLINE),
            "SWEEP_DEADLINE_SECONDS": str(ANALYZE_DEADLINE),
            "VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY),
            "WORKER_CONCURRENCY": "6",
            "PAPER_CASH_KRW": str(CASH),
            "LOG_FORMAT": "console",
            "LOG_LEVEL": "INFO",
            **(live if self.mode == "live" else {"IGNORE_MARKET_HOURS": "true"}),
        }

    # workers

    def _hire(self, name: str, market: str) -> None:
        argv = [sys.executable, "-m", "sandbox.chaos.always_open", "-A", "tasks", "worker", "-P", "threads"]
        argv += ["-Q", market, "-n", f"{name}@%h", "--without-gossip", "--without-mingle"]
        self.workers[name] = Worker(name, argv, self.logs / f"worker-{name}.log")
        self._start_worker(self.workers[name])

    def _start_worker(self, worker: Worker) -> None:
        with worker.log.open("ab") as output:
            worker.process = subprocess.Popen(
                worker.argv,
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        worker.starts += 1
        worker.started_at = time.monotonic()
        worker.ordered = worker.stopped = False

    def ready(self) -> bool:
        """Whether every worker has said that it is."""
        return all(" ready." in worker.log.read_text(errors="replace") for worker in self.workers.values())

    async def supervise(self) -> None:
        """Start again what has ended, until cancelled."""
        while not self._closing:
            for worker in self.workers.values():
                if worker.process is None or worker.process.poll() is None:
                    continue
                if not worker.ordered:
                    worker.deaths += 1
                    # one that cannot start is not started without a pause
                    await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - worker.started_at)))
                self._start_worker(worker)
            await asyncio.sleep(WATCH_SECONDS)

    def kill(self, name: str) -> bool:
        """kill -9 of a worker; False if it does not run."""
        return self._signal(name, signal.SIGKILL)

    async def pause(self, name: str, seconds: float) -> bool:
        """SIGSTOP of a worker for some seconds; False if it does not run or is stopped already."""
        worker = self.workers[name]
        if worker.stopped or not self._signal(name, signal.SIGSTOP):
            return False
        worker.stopped = True
        try:
            await asyncio.sleep(seconds)
        finally:
            worker.stopped = False
            self._signal(name, signal.SIGCONT)
        return True

    def _signal(self, name: str, number: signal.Signals) -> bool:
        worker = self.workers[name]
        if worker.process is None or worker.process.poll() is not None:
            return False
        worker.ordered = worker.ordered or number is signal.SIGKILL
        os.kill(worker.process.pid, number)
        return True

    def _end_workers(self) -> None:
        running = [w.process for w in self.workers.values() if w.process is not None and w.process.poll() is None]
        for process in running:
            os.kill(process.pid, signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    # servers

    async def restart_redis(self, down: float, *, abruptly: bool) -> None:
        """Stop Redis and start it again on its append-only file after `down` seconds."""
        async with self._servers:
            self.redis.stop(abruptly=abruptly)
            await asyncio.sleep(down)
            self.redis.start()

    async def restart_postgres(self, down: float) -> None:
        """Stop PostgreSQL in immediate mode and start it again after `down` seconds."""
        async with self._servers:
            self.postgres.stop(abruptly=True)
            await asyncio.sleep(down)
            self.postgres.start()

    async def execute(self, statement: str) -> None:
        """Run one statement in the database."""
        connection = await asyncpg.connect(plain(self.database_url), timeout=5)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def opening(self) -> Mapping[str, int]:
        """What each symbol of the venues is priced at, at first."""
        return {name: price for market in MARKETS for name, price in symbols(market, self.count).items()}


def plain(url: str) -> str:
    """The database's address as asyncpg reads it."""
    return url.replace("postgresql+asyncpg://", "postgresql://")
