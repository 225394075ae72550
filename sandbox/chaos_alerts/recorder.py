"""`python -m sandbox.chaos_alerts.recorder PLAN JOURNAL FIRST`: record the plan's alerts from FIRST on, until killed.

PLAN is a JSON file: `name`, `redis_url`, `spool`, `window` (s), `pause` (s between two), and `fingerprints`, one per
occurrence. The journal gets a line before and after each: `begin N`, then `done N RESULT`, so that whoever kills this
process knows what is certain.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from notifications.alert import Alert
from notifications.message import Chat, Message, Priority
from notifications.recorder import HookRecorder
from notifications.spool import Spool


def main() -> int:
    """Record to the end of the plan."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    journal = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    recorder = HookRecorder(plan["redis_url"], spool=Spool(Path(plan["spool"])))
    fingerprints = plan["fingerprints"]
    for number in range(int(sys.argv[3]), len(fingerprints)):
        fingerprint = fingerprints[number]
        message = Message(f"alert {fingerprint}, first by {plan['name']}-{number}.", (), Priority.HIGH, Chat.ERROR)
        os.write(journal, f"begin {number}\n".encode())
        result = recorder.record(Alert(fingerprint, "error", message, datetime.now(UTC), window_seconds=plan["window"]))
        os.write(journal, f"done {number} {result}\n".encode())
        time.sleep(plan["pause"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
