"""Workers side by side that take turns: which of two is faster shows in rounds, whatever else the machine does."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import redis
from celery import Celery

from sandbox.client import announced_url
from sandbox.local import LocalPostgres, LocalRedis
from sandbox.processes import ProcessFailed, ProcessGroup
from storage.migrate import upgrade

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 60.0
ANSWER_SECONDS = 5.0
# a round that takes this much longer than its tasks could need is not measured but stuck
PATIENCE_SECONDS = 60.0
SECONDS_PER_TASK = 0.1
EXPORT_SECONDS = 1.0
# where kombu keeps what a worker has taken and not acknowledged
UNACKED = "unacked"


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of a worker: tasks per second, and the processor time of each task in the worker's process."""

    speed: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that consumes nothing until its turn has come."""

    name: str
    queue: str
    pid: int

    @property
    def node(self) -> str:
        return f"{self.name}@{socket.gethostname()}"

    @property
    def resident_mib(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        return cpu_seconds(self.pid)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Course:
    """What the workers run on: Redis, a migrated PostgreSQL, the sandbox, and their processes."""

    def __init__(self, group: ProcessGroup, directory: Path, env: Mapping[str, str], sandbox_url: str) -> None:
        self.group = group
        self.directory = directory
        self.env = env
        self.sandbox_url = sandbox_url
        self._redis = redis.Redis.from_url(env["REDIS_URL"])
        self._app = Celery("course", broker=env["REDIS_URL"], set_as_current=False)

    def start_worker(self, name: str, app: str, queue: str, env: Mapping[str, str]) -> Worker:
        """Start a worker of the queue, as production starts it, and have it wait. Raises `ProcessFailed`."""
        argv = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", "threads", "-l", "INFO", "-Q", queue]
        # in a folder of its own, so that no .env is read
        pid = self.group.start(name, [*argv, "-n", f"{name}@%h"], env={**self.env, **env}, cwd=self.directory, stage=1)
        worker = Worker(name, queue, pid)
        ready = f"{worker.node} ready."
        self.group.wait_for_line(name, lambda line: line if ready in line else None, READY_SECONDS)
        self._tell(worker, "cancel_consumer")
        return worker

    def run(self, worker: Worker, task: str, count: int) -> Round:
        """One turn, from being let at a filled queue to the last acknowledgement."""
        for _ in range(count):
            self._publish(worker.queue, task)
        cpu = worker.cpu_seconds
        started = time.monotonic()
        self._tell(worker, "add_consumer")
        latest = started + PATIENCE_SECONDS + SECONDS_PER_TASK * count
        while self._redis.llen(worker.queue) or self._redis.hlen(UNACKED):
            self.group.check()
            if time.monotonic() > latest:
                raise ProcessFailed(f"{worker.name} did not do {count} tasks within {latest - started:.0f} s")
            time.sleep(0.005)
        seconds = time.monotonic() - started
        self._tell(worker, "cancel_consumer")
        # what is left to export is part of the price
        time.sleep(EXPORT_SECONDS)
        return Round(count / seconds, (worker.cpu_seconds - cpu) / count * 1e6)

    def _publish(self, queue: str, task: str) -> None:
        # what a publisher of ours adds to a message; bare Celery takes no notice of it
        headers = {"traceparent": f"00-{uuid4().hex}-{uuid4().hex[:16]}-01", "x_sent_at": time.time()}
        self._app.send_task(task, queue=queue, headers=headers)

    def _tell(self, worker: Worker, command: str) -> None:
        # both commands may come twice; a worker that has just said it is ready may not hear the first
        ask = getattr(self._app.control, command)
        for _ in range(int(READY_SECONDS / ANSWER_SECONDS)):
            if ask(worker.queue, destination=[worker.node], reply=True, timeout=ANSWER_SECONDS):
                return
            self.group.check()
        raise ProcessFailed(f"{worker.name} did not answer {command}")


@contextmanager
def course() -> Iterator[Course]:
    """Everything but the workers started; all of it is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="autotrader-rounds-") as folder,
        LocalRedis() as server,
        LocalPostgres() as postgres,
        ProcessGroup(Path(folder), grace=20.0) as group,
    ):
        database_url = postgres.create_database("rounds")
        asyncio.run(upgrade(database_url))
        plain = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        plain |= {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        group.start("sandbox", [sys.executable, "-m", "sandbox"], env=plain, cwd=ROOT)
        url = group.wait_for_line("sandbox", announced_url, READY_SECONDS).rstrip("/")
        env = {
            **plain,
            "NO_PROXY": "*",
            "REDIS_URL": server.url,
            "DATABASE_URL": database_url,
            "TRADING_MODE": "paper",
            "UPBIT_BASE_URL": f"{url}/upbit",
            "KIS_BASE_URL": f"{url}/kis",
            "YAHOO_BASE_URL": f"{url}/yahoo",
            "TELEGRAM_ENABLED": "false",
        }
        yield Course(group, Path(folder), env, url)
