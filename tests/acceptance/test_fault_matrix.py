"""Real faults in the running system reach Telegram, through the rules of `deploy/` and the real Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from nodes import ROOT

from sandbox.faultmatrix.faults import FAULTS
from sandbox.faultmatrix.programs import missing

SECONDS = 540
QUIET_SECONDS = 20


@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.skipif(bool(missing()), reason=f"not installed here: {', '.join(missing())}")
def test_each_of_a_few_faults_is_told_at_telegram_and_nothing_is_while_all_is_well() -> None:
    argv = [sys.executable, "-m", "sandbox.faultmatrix", "--quick", "--json", "--quiet", str(QUIET_SECONDS)]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    said = f"{done.stdout}\n{done.stderr}"
    assert done.stdout, said
    matrix = json.loads(done.stdout)
    assert matrix["told_while_healthy"] == [], said
    assert {row["fault"] for row in matrix["rows"]} == {fault.name for fault in FAULTS.values() if fault.quick}, said
    for row in matrix["rows"]:
        fault = FAULTS[row["fault"]]
        assert {*fault.alerts} <= {seen["name"] for seen in row["seen"]}, said
        assert row["passed"], said
    assert done.returncode == 0, said


def test_every_fault_of_the_matrix_names_a_rule_that_is_deployed() -> None:
    rules = "".join(file.read_text("utf-8") for file in (ROOT / "deploy/prometheus/rules").glob("*.yml"))
    named = {alert for fault in FAULTS.values() for alert in fault.alerts}
    assert {alert for alert in named if f"- alert: {alert}\n" not in rules} == set()
