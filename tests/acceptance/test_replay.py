"""`autotrader replay` on running workers: the same result every time, by all of them, beside live work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import rising
from world import TRADE_CHAT, World

SYMBOLS = {"KRW-BTC": 130e6, "KRW-ETH": 4.4e6, "KRW-XRP": 28e3, "KRW-SOL": 185e3}
# the pause in which the rules buy
DAYS = ("--from", "2025-09-12", "--to", "2025-09-14")
SECONDS = 240


def replay(world: World, candles: Path, *options: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "cli", "replay", "--market", "upbit", "--candles", str(candles), *DAYS, "--json"]
    done = subprocess.run(
        [*argv, *options], env=world.env, cwd=world.directory, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ready(world: World, name: str) -> None:
    world.processes.wait_for_line(name, lambda line: True if f"{name}@" in line and "ready" in line else None, 90)


def test_a_replay_on_two_workers_is_the_same_each_time_and_touches_nothing_real(world: World) -> None:
    candles = world.directory / "candles"
    rising.write(candles, "upbit", SYMBOLS)
    world.env["LOG_FORMAT"] = "console"
    for name in ("one", "two"):
        options = ("-A", "tasks", "worker", "-P", "threads", "-c", "8", "-Q", "upbit", "-n", f"{name}@%h")
        world.start(name, "celery", *options)
    for name in ("one", "two"):
        ready(world, name)
    picture = world.directory / "replay.png"
    first = replay(world, candles, "--picture", str(picture))
    second = replay(world, candles)
    took, again = first.pop("took"), second.pop("took")
    assert json.dumps(first) == json.dumps(second)
    assert {name.partition("@")[0] for name in took["days_by_worker"]} == {"one", "two"}
    assert took["days"] == again["days"] == 3 * len(SYMBOLS)
    assert first["together"]["trades"] > 0
    assert first["together"]["cash"] == "10000000.00"
    assert {line["symbol"]: line["cash"] for line in first["symbols"]} == dict.fromkeys(sorted(SYMBOLS), "2500000.00")
    assert picture.read_bytes().startswith(b"\x89PNG")
    # nothing of it is anywhere but in what was printed
    for table in ("orders", "analyses", "runs", "paper_orders", "trading_states", "portfolio_snapshots"):
        assert world.rows(f"SELECT 1 FROM {table}") == []
    assert world.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name LIKE 'replay%'") == []
    assert world.messages(TRADE_CHAT) == []
