"""A process whose main thread hangs ends by itself, so that whoever supervises it starts a new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from telemetry.pulse import EXIT_STUCK, PATH

ROOT = Path(__file__).resolve().parents[2]

# The main thread of a worker takes tasks, that of the beat sends them, that of the notifier has its loop.
HANGS_AT_SIGUSR2 = """
import signal, sys, time
import telemetry.pulse
# in real life a turn may wait so long for Redis
telemetry.pulse.SLOWEST_TURN_SECONDS = 1.0
signal.signal(signal.SIGUSR2, lambda *_: time.sleep(600))
from cli import main
sys.argv[0] = "autotrader"
main()
"""
PROCESSES = (("worker", "upbit"), ("beat",), ("notifier",))
PATIENT_SECONDS = 120.0


def answer(port: int) -> str:
    """What the process says of itself, or why it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}", timeout=30) as reply:
            return str(reply.status)
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)


@pytest.fixture
def running(
    redis_server: LocalRedis, database_url: str, tmp_path: Path
) -> Iterator[dict[str, tuple[subprocess.Popen[bytes], int]]]:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": database_url,
        "TELEGRAM_ENABLED": "false",
        "UPBIT_SYMBOLS": "KRW-BTC",
        "KIS_SYMBOLS": "",
        "YFINANCE_SYMBOLS": "",
        "SWEEP_AT_START": "false",
        "WATCHDOG_SECONDS": "6",
    }
    started = {}
    with ExitStack() as exits:
        for words in PROCESSES:
            port = free_port()
            log = exits.enter_context((tmp_path / words[0]).open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-c", HANGS_AT_SIGUSR2, *words],
                env={**env, "PROMETHEUS_PORT": str(port)},
                cwd=tmp_path,
                stderr=log,
                stdout=log,
            )
            exits.callback(process.wait)
            exits.callback(process.kill)
            started[words[0]] = (process, port)
        yield started


def test_whoever_hangs_says_so_and_ends(
    running: dict[str, tuple[subprocess.Popen[bytes], int]], tmp_path: Path
) -> None:
    until = time.monotonic() + PATIENT_SECONDS
    for name, (process, port) in running.items():
        while (says := answer(port)) != "200":
            assert process.poll() is None, (tmp_path / name).read_text()
            assert time.monotonic() < until, f"{name}: {says}"
            time.sleep(0.1)
    # both say that they are well just before their first turn: the beat may have to stand by
    said = {"worker": "upbit is ready", "beat": "Scheduler: Sending due task"}
    while not all(words in (tmp_path / name).read_text() for name, words in said.items()):
        assert time.monotonic() < until
        time.sleep(0.1)
    for process, _ in running.values():
        process.send_signal(signal.SIGUSR2)
    told: dict[str, str] = {}
    while len(told) < len(running) and time.monotonic() < until:
        for name, (process, port) in running.items():
            if name not in told and process.poll() is None and "has not turned" in (says := answer(port)):
                told[name] = says
    assert sorted(told) == sorted(running)
    codes = {name: process.wait(PATIENT_SECONDS) for name, (process, _) in running.items()}
    assert codes == dict.fromkeys(running, EXIT_STUCK)
