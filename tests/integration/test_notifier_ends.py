"""A notifier that is asked to end does so, while everything it talks to hangs, and even when it hangs itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from sandbox.black_hole import BlackHole
from sandbox.local import LocalRedis

ROOT = Path(__file__).resolve().parents[2]
STARTS_SECONDS, ENDS_SECONDS = 60.0, 90.0

# a loop that is stuck in a call of its own, as the process' main thread
STUCK = """
import asyncio
from cli.ending import stop_on_signals

def never_ends():
    print("stuck", flush=True)
    while True:
        pass

async def run():
    stop_on_signals(asyncio.Event(), 0.3)
    never_ends()

asyncio.run(run())
"""


def test_it_ends_at_sigterm_while_telegram_the_database_and_the_collector_hang(
    redis_server: LocalRedis, tmp_path: Path
) -> None:
    with BlackHole() as hole:
        address = hole.url.removeprefix("http://")
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_server.url,
            "DATABASE_URL": f"postgresql+asyncpg://somebody@{address}/nothing",
            "TELEGRAM_BASE_URL": hole.url,
            "TELEGRAM_TOKEN": "1000000001:token-of-a-notifier-that-ends",
            "TELEGRAM_CHAT_ID": "1001",
            "ERROR_REPORTING_CHAT_ID": "2002",
            "DEAD_MAN_PING_URL": f"{hole.url}/ping",
            "OTEL_EXPORTER_OTLP_ENDPOINT": hole.url,
            "ERROR_SPOOL_DIR": str(tmp_path),
        }
        with subprocess.Popen([sys.executable, "-m", "cli", "notifier"], env=env, cwd=tmp_path) as notifier:
            try:
                # its database, its bot, its token, its chats and the dead-man address
                until(lambda: hole.connections >= 4 or notifier.poll() is not None, STARTS_SECONDS)
                assert notifier.poll() is None
                notifier.send_signal(signal.SIGTERM)
                assert notifier.wait(ENDS_SECONDS) == 0
            finally:
                notifier.kill()


def test_one_that_is_stuck_says_where_and_ends_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as stuck:
        try:
            assert stuck.stdout is not None
            assert stuck.stdout.readline() == b"stuck\n"
            stuck.send_signal(signal.SIGTERM)
            _, said = stuck.communicate(timeout=ENDS_SECONDS)
        finally:
            stuck.kill()
    assert stuck.returncode == 1
    assert b"in never_ends" in said


def until(holds: object, seconds: float) -> None:
    assert callable(holds)
    ends, pause = time.monotonic() + seconds, Event()
    while not holds():
        assert time.monotonic() < ends
        pause.wait(0.05)
