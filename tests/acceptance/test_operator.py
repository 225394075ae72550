"""The operator's commands, as they are typed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping

import pytest
from nodes import LocalWorker
from world import World


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"NOTIFY_LANGUAGE": "en"}


def run(world: World, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *argv],
        env=world.env,
        cwd=world.directory,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def says(world: World, *argv: str) -> str:
    done = run(world, *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuses(world: World, *argv: str) -> str:
    done = run(world, *argv)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("autotrader: ")]
    return line


def test_an_operator_analyses_halts_resumes_and_asks_why(world: World, celery_worker: LocalWorker) -> None:
    bought = says(world, "analyze", "upbit", "KRW-ETH")
    assert "outcome: order_filled" in bought
    found = re.search(r"^analysis (\S+), run", bought, re.MULTILINE)
    assert found
    told = says(world, "why", found.group(1))
    assert "upbit KRW-ETH: buy with confidence" in told
    assert re.search(r"^order upbit-b1-1-\w+: buy .* KRW, filled$", told, re.MULTILINE)

    assert "trading of upbit is halted" in says(world, "halt", "upbit", "--reason", "maintenance", "--for", "2")
    assert "maintenance" in says(world, "status")
    assert "outcome: trading_state" in says(world, "analyze", "upbit", "KRW-ETH")
    says(world, "resume", "upbit")
    assert "trading is active" in says(world, "status")
    assert "outcome: order_filled" in says(world, "analyze", "upbit", "KRW-ETH")

    assert says(world, "orders").count("KRW-ETH buy") == 2
    assert re.search(r"upbit \(paper\): [\d,.]+ KRW in cash\n  KRW-ETH: ", says(world, "positions"))


def test_what_cannot_be_answered_is_one_line(world: World, celery_worker: LocalWorker) -> None:
    assert "UnknownSymbol" in refuses(world, "analyze", "upbit", "KRW-NOPE")
    assert "is no analysis id" in refuses(world, "why", "nonsense")
    assert "there is no analysis" in refuses(world, "why", "00000000-0000-0000-0000-000000000000")
    assert "unknown market 'binance'" in refuses(world, "halt", "binance")
    celery_worker.kill()
    assert "is the worker running? (autotrader worker upbit)" in refuses(
        world, "analyze", "upbit", "KRW-ETH", "--timeout", "2"
    )
