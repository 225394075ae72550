"""What systemd is told: real processes at a real NOTIFY_SOCKET say when they are ready, well, and at their end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.local import LocalRedis
from sandbox.local.server import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90.0
LIMIT = 3.0
"""WatchdogSec: so long systemd would wait for a sign."""


class Systemd:
    """The end of sd_notify that systemd has: what it heard, with the time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.heard: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        told = {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(LIMIT * 1e6)), **environment}
        clean = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env={**clean, **told})
        self._processes.append(process)
        return process

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = SECONDS) -> None:
        until = time.monotonic() + seconds
        while not holds():
            left = until - time.monotonic()
            assert left > 0, f"not within {seconds:g} s: {what}; heard {self.heard}"
            self._socket.settimeout(left)
            with suppress(TimeoutError):
                self.heard += self._socket.recv(4096).decode().splitlines()

    def count(self, word: str) -> int:
        return sum(line.startswith(word) for line in self.heard)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(SECONDS)
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    other_end = Systemd(tmp_path)
    yield other_end
    other_end.close()


LOOP = """
import sys, time
from telemetry import pulse
from workers.loop import LoopThread

loop = LoopThread("worker", stuck_after=8)
loop.start()
pulse.started()
for line in sys.stdin:
    loop._loop.call_soon_threadsafe(time.sleep, float(line))
"""


def test_a_stuck_loop_is_not_told_to_be_well_although_the_process_lives(systemd: Systemd) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        cwd=ROOT,
        env={**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": str(int(LIMIT * 1e6))},
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        systemd.wait("the first signs", lambda: systemd.count("WATCHDOG=1") >= 2)
        assert systemd.heard[0] == "READY=1"
        assert process.stdin is not None
        process.stdin.write("600\n")
        process.stdin.flush()
        systemd.wait("the fault", lambda: systemd.count("STATUS=the event loop of worker has not turned") == 1)
        # nothing more until it ends itself: what systemd counts from is the last sign
        signs = systemd.count("WATCHDOG=1")
        assert process.wait(SECONDS) == 70
        with pytest.raises(AssertionError, match="not within"):
            systemd.wait("another sign", lambda: systemd.count("WATCHDOG=1") > signs, 1.0)
    finally:
        process.kill()
        process.wait(SECONDS)


def _settings(redis: LocalRedis, folder: Path) -> Mapping[str, str]:
    return {
        "REDIS_URL": redis.url,
        "UPBIT_SYMBOLS": "KRW-BTC",
        "KIS_SYMBOLS": "",
        "YFINANCE_SYMBOLS": "",
        "TELEGRAM_ENABLED": "false",
        "SIGNOZ_ENDPOINT": "",
        "PROMETHEUS_PORT": "0",
        "SWEEP_AT_START": "false",
        "ALERT_SPOOL_DIR": str(folder / "spool"),
        "API_PORT": str(free_port()),
    }


@pytest.mark.parametrize("process", ["beat", "notifier", "worker upbit", "api"])
def test_a_process_says_when_it_is_ready_well_and_at_its_end(
    systemd: Systemd, redis_server: LocalRedis, database_url: str, tmp_path: Path, process: str
) -> None:
    environment = {**_settings(redis_server, tmp_path), "DATABASE_URL": database_url}
    running = systemd.start("-m", "cli", *process.split(), **environment)
    systemd.wait("READY=1", lambda: systemd.count("READY=1") == 1 or running.poll() is not None)
    systemd.wait("its signs", lambda: systemd.count("WATCHDOG=1") >= 2 or running.poll() is not None)
    running.send_signal(signal.SIGTERM)
    systemd.wait("STOPPING=1", lambda: systemd.count("STOPPING=1") == 1)
    assert running.wait(SECONDS) == 0
    assert systemd.heard[0] == "READY=1"


FAMILY = """
import os, signal, sys, time
from cli.together import Family, stages
from telemetry import pulse

def member(name):
    def run():
        os.write(out, f"start {name} {os.getpid()}\\n".encode())
        if name == "worker-kis":
            while not os.path.exists(sys.argv[1] + ".go"):
                time.sleep(0.05)
        pulse.started()
        time.sleep(600)
    return run

out = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Family(stages({name: member(name) for name in ("beat", "worker-kis")}), 30.0, silent=5.0).run()
"""


def test_together_they_are_ready_when_all_are_and_one_that_hangs_is_started_again(
    systemd: Systemd, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    parent = systemd.start("-c", FAMILY, str(said))

    def pids(name: str) -> list[int]:
        lines = said.read_text().splitlines() if said.exists() else []
        return [int(line.split()[2]) for line in lines if line.startswith(f"start {name} ")]

    systemd.wait("one of two", lambda: systemd.count("STATUS=1 of 2") == 1)
    assert systemd.count("READY=1") == 0
    Path(f"{said}.go").touch()
    systemd.wait("both", lambda: systemd.count("STATUS=2 of 2") == 1)
    assert systemd.count("READY=1") == 1
    try:
        # it hangs as a whole: no thread of it can end it
        os.kill(pids("beat")[0], signal.SIGSTOP)
        systemd.wait("its second start", lambda: len(pids("beat")) == 2)
        assert len(pids("worker-kis")) == 1
        parent.send_signal(signal.SIGTERM)
        systemd.wait("STOPPING=1", lambda: systemd.count("STOPPING=1") == 1)
        assert parent.wait(SECONDS) == 0
    finally:
        for pid in (*pids("beat"), *pids("worker-kis")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_without_a_supervisor_nothing_is_told_and_nothing_fails(tmp_path: Path) -> None:
    script = "from telemetry import pulse, systemd; pulse.started(); systemd.stopping(); print('went on')"
    clean = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**clean, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "went on\n"
