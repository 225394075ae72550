"""pytest-celery's nodes over processes of this machine instead of containers.

pytest-celery asks little of a "container": ready, logs, status, kill, restart, teardown. These give it that for a
Redis that runs already and for a worker as a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from pytest_celery import CeleryTestWorker

from sandbox.local.death import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 40.0


class RunningRedis:
    """Broker and result backend: a Redis that someone else starts and stops."""

    name = "redis"
    id = "redis0000000"
    status = "running"

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def celeryconfig(self) -> dict[str, Any]:
        port = self._url.rsplit(":", 1)[1].split("/")[0]
        return {"url": self._url, "host_url": self._url, "hostname": "127.0.0.1", "port": port, "vhost": "0"}

    def ready(self) -> bool:
        with redis.Redis.from_url(self._url) as client:
            return bool(client.ping())

    def logs(self) -> str:
        return ""

    def reload(self) -> None: ...

    def teardown(self) -> None: ...


class WorkerProcess:
    """One market's worker, started as the README says."""

    def __init__(self, market: str, env: Mapping[str, str], directory: Path, *options: str) -> None:
        self.name = self.id = market
        self._argv = [
            *(sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "threads"),
            *("-Q", market, "-n", f"{market}@%h", *options),
        ]
        self._env = dict(env)
        self._directory = directory
        self._log = directory / f"worker-{market}.log"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._argv,
                env=self._env,
                cwd=self._directory,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> str:
        return "running" if self._process.poll() is None else "exited"

    def logs(self) -> str:
        return self._log.read_text(errors="replace")

    def ready(self) -> bool:
        mark = f"{self.name}@{socket.gethostname()} ready."
        started = self.logs().count(mark)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.logs().count(mark) >= max(1, started):
                return True
            if self.status == "exited":
                raise AssertionError(f"the worker ended:\n{self.logs()}")
            time.sleep(0.05)
        raise AssertionError(f"the worker was not ready within {READY_SECONDS:g} s:\n{self.logs()}")

    def kill(self, signal: str | int = "SIGKILL") -> None:
        os.kill(self._process.pid, _number(signal))

    def reload(self) -> None:
        self._process.wait(30)

    def restart(self, timeout: float = READY_SECONDS) -> None:
        self.teardown()
        before = self.logs().count(" ready.")
        self._process = self._start()
        deadline = time.monotonic() + timeout
        while self.logs().count(" ready.") <= before:
            if time.monotonic() > deadline:
                raise AssertionError(f"the worker did not restart:\n{self.logs()}")
            time.sleep(0.05)

    def teardown(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def worker_name(self) -> str:
        return self.name

    def worker_queue(self) -> str:
        return self.name


class LocalWorker(CeleryTestWorker):
    """A worker node named as Celery names it."""

    container: WorkerProcess

    def hostname(self) -> str:
        return f"{self.container.worker_name()}@{socket.gethostname()}"


def _number(name: str | int) -> int:
    return name if isinstance(name, int) else int(signal.Signals[name])
