"""Private temporary directories that outlive neither their owner nor, after a kill, the next start."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from sandbox.local.account import Account
from sandbox.local.errors import LocalServerError
from sandbox.local.identity import Identity

PREFIX = "autotrader-local-"
OWNER = "owner"
SERVER = "server"

# a directory without an owner file is being created, unless it is older than this
_CREATION_SECONDS = 60.0


def sweep(*bases: Path) -> list[Path]:
    """Remove our directories whose owner is dead, and kill a server still running in one; returns what went."""
    removed = []
    for base in bases or _bases():
        for directory in base.glob(PREFIX + "*"):
            if _is_stale(directory):
                _kill_server(directory)
                shutil.rmtree(directory, ignore_errors=True)
                removed.append(directory)
    return removed


def create(kind: str, reachable_by: Account | None = None) -> Path:
    """A new directory of ours, writable by us only; `reachable_by` may pass through it to what it owns inside.

    Raises `LocalServerError` if no temporary directory can be reached by that user.
    """
    sweep()
    foreign = reachable_by is not None and reachable_by.uid != os.geteuid()
    for base in _bases():
        directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-", dir=base))
        (directory / OWNER).write_text(str(Identity.of(os.getpid())))
        if not foreign or reachable_by is None:
            return directory
        directory.chmod(0o711)
        if reachable_by.succeeds("/bin/sh", "-c", 'test -x "$0"', str(directory), directory=Path("/")):
            return directory
        remove(directory)
    raise LocalServerError(
        "no temporary directory can be reached by the user PostgreSQL runs as: set TMPDIR to one that can, like /tmp"
    )


def record_server(directory: Path, pid: int) -> None:
    """Note which server works in the directory, so that a later sweep can end it."""
    (directory / SERVER).write_text(str(Identity.of(pid)))


def remove(directory: Path) -> None:
    """Remove the directory and all in it; it may be gone already."""
    shutil.rmtree(directory, ignore_errors=True)


def _bases() -> list[Path]:
    bases = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    return [base for base in dict.fromkeys(bases) if base.is_dir() and os.access(base, os.W_OK)]


def _is_stale(directory: Path) -> bool:
    try:
        status = directory.lstat()
        if status.st_uid != os.geteuid() or directory.is_symlink():
            return False
        return not Identity.parse((directory / OWNER).read_text()).alive()
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            return time.time() - directory.lstat().st_mtime > _CREATION_SECONDS
        return False


def _kill_server(directory: Path) -> None:
    """End an orphan: only on a system without a parent-death signal can there be one."""
    try:
        server = Identity.parse((directory / SERVER).read_text())
    except (OSError, ValueError):
        return
    # without a start time the pid could be anybody's by now
    if server.started and server.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGQUIT)
        deadline = time.monotonic() + 5
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if server.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGKILL)
