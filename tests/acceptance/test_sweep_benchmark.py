"""The benchmark of a sweep: real workers and an enforcing venue, with few symbols and no promise about time."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from nodes import ROOT

SYMBOLS = 12
LINE = re.compile(
    r"symbols=(?P<symbols>\d+) workers=(?P<workers>\d+) seconds=\d+\.\d\d floor=\d+\.\d\d ratio=\d+\.\d{3} "
    r"throttled=(?P<throttled>\d+)\n  done=(?P<done>\d+) failed=(?P<failed>\d+) requests: (?P<requests>.*) \(target"
)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_does_all_its_symbols_without_being_throttled(workers: int) -> None:
    argv = [sys.executable, "-m", "benchmarks.sweep", "--symbols", str(SYMBOLS), "--workers", str(workers)]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    told = LINE.match(run.stdout)
    assert told is not None, f"{run.stdout}\n{run.stderr}"
    assert (told["symbols"], told["workers"]) == (str(SYMBOLS), str(workers))
    assert (told["throttled"], told["done"], told["failed"]) == ("0", str(SYMBOLS), "0")
    requests = dict(part.split("=") for part in told["requests"].split())
    # days and hours of each symbol, and nothing of it twice
    assert requests["candle"] == str(2 * SYMBOLS)
