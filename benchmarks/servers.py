"""What workers are measured on: Redis, a migrated PostgreSQL, the sandbox, and the processes beside them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.client import SandboxControl, announced_url
from sandbox.local import LocalPostgres, LocalRedis
from sandbox.processes import ProcessGroup
from storage.migrate import upgrade

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 60.0
# a worker finishes what it has taken before it ends
GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Started servers; `env` is the environment of a worker on them, `directory` a folder of its own."""

    group: ProcessGroup
    directory: Path
    env: Mapping[str, str]
    sandbox_url: str

    @property
    def sandbox(self) -> SandboxControl:
        return SandboxControl(self.sandbox_url)

    def start_worker(self, name: str, app: str, queue: str, env: Mapping[str, str]) -> int:
        """The process of a worker of the queue, started as production starts it, once it is ready.

        Raises `ProcessFailed`.
        """
        argv = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", "threads", "-l", "INFO", "-Q", queue]
        # in a folder of its own, so that no .env is read
        pid = self.group.start(name, [*argv, "-n", f"{name}@%h"], env={**self.env, **env}, cwd=self.directory, stage=1)
        ready = f"{node(name)} ready."
        self.group.wait_for_line(name, lambda line: line if ready in line else None, READY_SECONDS)
        return pid


def node(name: str) -> str:
    """What Celery calls a worker of that name."""
    return f"{name}@{socket.gethostname()}"


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def servers(name: str, *sandbox: str) -> Iterator[Servers]:
    """Everything but the workers started, the sandbox with those arguments; all of it is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix=f"autotrader-{name}-") as folder,
        LocalRedis() as redis,
        LocalPostgres() as postgres,
        ProcessGroup(Path(folder), grace=GRACE_SECONDS) as group,
    ):
        database_url = postgres.create_database(name)
        asyncio.run(upgrade(database_url))
        plain = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        plain |= {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        group.start("sandbox", [sys.executable, "-m", "sandbox", *sandbox], env=plain, cwd=ROOT)
        url = group.wait_for_line("sandbox", announced_url, READY_SECONDS).rstrip("/")
        env = {
            **plain,
            "NO_PROXY": "*",
            "REDIS_URL": redis.url,
            "DATABASE_URL": database_url,
            "TRADING_MODE": "paper",
            "UPBIT_BASE_URL": f"{url}/upbit",
            "KIS_BASE_URL": f"{url}/kis",
            "YAHOO_BASE_URL": f"{url}/yahoo",
            "TELEGRAM_ENABLED": "false",
        }
        yield Servers(group, Path(folder), env, url)
