"""A deployment that goes on without the connection which began it, and how it is followed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.pi.journal import Busy, alone
from deploy.pi.layout import DeployError, Layout, append_line

# the last line of a log, with the exit code
END = "END"
STOPPED = 3
# a process that has been launched needs so long to take the lock
STARTS_SECONDS = 15.0
_LOOK_SECONDS = 0.5


def launch(layout: Layout, id: str, command: Sequence[str]) -> None:
    """Start the command apart from this session: as a unit of systemd where that may be done, or else on its own."""
    append_line(layout.log_of(id), f"{id} is launched")
    if Path("/run/systemd/system").is_dir() and shutil.which("systemd-run"):
        rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
        owner = ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
        home = ["--setenv", f"HOME={Path.home()}", "--setenv", f"PATH={os.environ.get('PATH', os.defpath)}"]
        # should it be killed, somebody goes on with it at once; where it came to its end there is nothing to do
        after = f"ExecStopPost={command[0]} {command[1]} recover --root {layout.root}"
        ends = ["--property", after, "--property", "TimeoutStopSec=30min"]
        unit = ["systemd-run", "--quiet", "--collect", "--unit", f"autotrader-{id}", *ends, *owner, *home]
        if subprocess.run([*rights, *unit, "--", *command], capture_output=True, check=False).returncode == 0:
            return
    with open(layout.log_of(id), "ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )


def follow(layout: Layout, id: str, line: int) -> int:
    """Print the log from a line on until it ends; its exit code, or `STOPPED` if nobody goes on with it."""
    path, idle_since = layout.log_of(id), time.monotonic()
    if not path.is_file():
        raise DeployError(f"there is no deployment {id} here; `make status-pi` shows the last")
    while True:
        fresh = path.read_text(encoding="utf-8").splitlines()[line:]
        for text in fresh:
            if text.startswith(f"{END} "):
                return int(text.split()[1])
            line += 1
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        if fresh or _somebody_acts(layout):
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > STARTS_SECONDS and not _boots():
            sys.stdout.write(
                "nobody goes on with it: it was cut off. After a boot autotrader-stack.service brings it to its end, "
                f"`make status-pi` shows how; without that unit: {layout.command('recover')}\n"
            )
            return STOPPED
        time.sleep(_LOOK_SECONDS)


def _somebody_acts(layout: Layout) -> bool:
    try:
        with alone(layout):
            return False
    except Busy:
        return True


def _boots() -> bool:
    """Whether the machine is still starting: who goes on with a deployment waits for the clock then."""
    if not shutil.which("systemctl"):
        return False
    said = subprocess.run(["systemctl", "is-system-running"], capture_output=True, text=True, check=False).stdout
    return said.strip() in ("initializing", "starting")
