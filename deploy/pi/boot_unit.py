"""The unit that starts the release in use at boot and stops it in order at shutdown, where the machine has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from deploy.pi.layout import Layout

UNIT = "autotrader-stack.service"
# its `up` finds everything up; on a slow machine that is asked of docker for a while
STARTS_SECONDS = 300.0


def count_as_started(layout: Layout) -> str:
    """Start the unit if systemd skipped it, as at a boot before the first release; what was done, "" for nothing.

    A unit that was never started is not stopped either: the next shutdown would end everything in no order. Its `up`
    takes the lock of a deployment, so whoever calls this must have let it go.
    """
    if not Path("/run/systemd/system").is_dir() or not shutil.which("systemctl"):
        return ""
    asked = ["systemctl", "show", "--property=WorkingDirectory", "--property=ActiveState", UNIT]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    state = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    # a unit of another root is no business of ours
    if Path(state.get("WorkingDirectory") or "/").resolve() != layout.root or state.get("ActiveState") == "active":
        return ""
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    try:
        done = subprocess.run(
            [*rights, "systemctl", "start", UNIT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STARTS_SECONDS,
            check=False,
        )
        why = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = type(error).__name__
    if why:
        return f"{UNIT} does not start ({why}): `sudo systemctl start {UNIT}`, or a shutdown stops nothing in order"
    return f"{UNIT} is started: it starts this release at boot, and stops it in order at shutdown"
