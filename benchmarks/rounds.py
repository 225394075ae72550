"""Workers side by side that take turns: which of two is faster shows in rounds, whatever else the machine does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import redis
from celery import Celery

from benchmarks.servers import READY_SECONDS, Servers, cpu_seconds, node, servers
from sandbox.processes import ProcessFailed

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
        return node(self.name)

    @property
    def resident_mib(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        return cpu_seconds(self.pid)


class Course:
    """Servers, and workers on them that wait for their turns."""

    def __init__(self, servers: Servers) -> None:
        self.group = servers.group
        self.env = servers.env
        self.sandbox_url = servers.sandbox_url
        self._servers = servers
        self._redis = redis.Redis.from_url(servers.env["REDIS_URL"])
        self._app = Celery("course", broker=servers.env["REDIS_URL"], set_as_current=False)

    def start_worker(self, name: str, app: str, queue: str, env: Mapping[str, str]) -> Worker:
        """Start a worker of the queue, as production starts it, and have it wait. Raises `ProcessFailed`."""
        worker = Worker(name, queue, self._servers.start_worker(name, app, queue, env))
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
    with servers("rounds") as started:
        yield Course(started)
