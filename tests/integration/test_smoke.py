"""The smoke test of a release: what is not there is a line that names it, within the seconds it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.local import LocalRedis
from sandbox.local.server import free_port

ROOT = Path(__file__).resolve().parents[2]


def smoke(folder: Path, **settings: str) -> list[str]:
    """What it says of a release that has no symbols but one of Upbit, nobody who works, and a second for each part."""
    url = f"http://127.0.0.1:{free_port()}"
    given = {"UPBIT_SYMBOLS": "KRW-BTC", "KIS_SYMBOLS": "", "YFINANCE_SYMBOLS": "", "TELEGRAM_TOKEN": "1:x", **settings}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "release", "smoke", "--seconds", "1", "--url", url],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TELEGRAM_CHAT_ID": "1", **given},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert done.stderr.strip().splitlines()[-1] == f"autotrader: {len(lines)} at fault"
    return lines


@pytest.mark.usefixtures("redis")
def test_without_a_broker_every_part_is_a_line_of_its_own(tmp_path: Path, redis_server: LocalRedis) -> None:
    # what is asked besides is there, for Celery looks for a backend that is away for half a minute
    away = f"redis://127.0.0.1:{free_port()}/0"
    lines = smoke(tmp_path, REDIS_URL=redis_server.url, CELERY_BROKER_URL=away)
    assert [line.partition(":")[0].split(maxsplit=1)[1] for line in lines] == [
        "canary through upbit",
        "canary through upbit.orders",
        "readyz",
        "test alert",
    ]
    for line in lines[:2]:
        assert "is Redis there? See REDIS_URL" in line


@pytest.mark.usefixtures("redis")
def test_the_alert_has_as_long_as_each_part_and_its_fault_says_where_to_look(
    tmp_path: Path, redis_server: LocalRedis
) -> None:
    lines = smoke(tmp_path, REDIS_URL=redis_server.url)
    assert "no worker did it within 1 s; see the log of worker-upbit" in lines[0]
    assert "waits in the queue after 1 s; is the notifier running?" in lines[-1]
    assert "ERROR_REPORTING_CHAT_ID" in lines[-1]
