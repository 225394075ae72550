"""Whether a replay is faster on two workers than on one: `python -m benchmarks.replay`, `--days 6` for a short one.

Each turn brings its own Redis, PostgreSQL and workers, and replays the same simulated days; starting them is not
measured. On a machine with one free processor the ratio is about 1: a replay is work for the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS = "KRW-BTC,KRW-ETH,KRW-SOL,KRW-XRP"
LAST = date(2026, 6, 30)
PATIENCE_SECONDS = 1_800


def main() -> int:
    """Print the seconds of each and their ratio; 1 where the two came to different figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=20, help="days of each symbol")
    days = parser.parse_args().days
    results = [replay(workers, days) for workers in (1, 2)]
    (one, took_one), (two, took_two) = results
    _say(f"days replayed: {took_one['days']}, symbols: {len(one['symbols'])}, processors: {os.cpu_count()}")
    for workers, took in ((1, took_one), (2, took_two)):
        _say(f"{workers} worker(s): {took['seconds']:.1f} s, {took['days'] / took['seconds']:.1f} days/s")
    _say(f"ratio: {took_one['seconds'] / took_two['seconds']:.2f} times as fast on 2 workers as on 1")
    if one != two:
        _say("the figures differ, and should not")
        return 1
    return 0


def replay(workers: int, days: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A replay's figures, and how long it took. Raises `CalledProcessError`."""
    argv = [sys.executable, "-m", "cli", "replay", "--market", "upbit", "--simulated", "--seed", "4", "--json"]
    first = LAST - timedelta(days=days - 1)
    argv += [
        "--from",
        f"{first:%Y-%m-%d}",
        "--to",
        f"{LAST:%Y-%m-%d}",
        "--symbols",
        SYMBOLS,
        "--local",
        "--workers",
        str(workers),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_SECONDS)
    answer: dict[str, Any] = json.loads(done.stdout)
    took = answer.pop("took")
    return answer, took


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
