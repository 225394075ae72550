"""`python -m sandbox.chaos_alerts.sender`: the notifier with short leases and no pace, until killed."""

from __future__ import annotations

import asyncio
import sys

from notifications.notifier import run_notifier
from notifications.pace import Pace
from settings import get_settings

# Longer than the stand-in hangs, shorter than anybody wants to wait.
LEASE_SECONDS = 5.0
# Each alert in a message of its own, so that its count can be read.
PACE = Pace(per_chat=100, burst=100, overall=1000, fold_above=-1)


def main() -> int:
    """Send until killed."""
    asyncio.run(run_notifier(get_settings(), stop=asyncio.Event(), pace=PACE, lease_seconds=LEASE_SECONDS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
