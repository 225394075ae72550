"""Live trading at the sandbox venues while orders, workers and servers fail: nothing is doubled, lost or left open."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from nodes import ROOT

RUNS = 40
SEED = 11
SECONDS = 280


def test_no_fault_doubles_or_loses_an_order() -> None:
    argv = [sys.executable, "-m", "sandbox.chaos", "--runs", str(RUNS), "--seed", str(SEED), "--symbols", "10"]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    said = f"{done.stdout}\n{done.stderr}"
    assert done.stdout.splitlines()[-1:] == [f"orders_doubled=0 orders_lost=0 unresolved=0 runs={RUNS}"], said
    orders = re.search(r"^seed=\d+ orders=(\d+) ", done.stdout, re.MULTILINE)
    assert orders is not None, said
    assert int(orders[1]) >= RUNS // 4, said
    assert done.returncode == 0, said
