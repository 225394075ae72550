"""A short run of the alert chaos; `make chaos-alerts` is the long one."""

from __future__ import annotations

import random

from sandbox.chaos_alerts.__main__ import run


def test_no_alert_is_lost_and_every_count_is_exact_while_everything_is_killed() -> None:
    verdict, done = run(45, random.Random(5))
    assert verdict.good, verdict
    assert verdict.occurrences >= 30
    assert done["senders killed"]
    assert done["recorders killed"]
