"""As whom a server runs: PostgreSQL refuses root, so for root it runs as the existing user `nobody`."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.local.errors import LocalServerError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """What `subprocess` needs to run a command as this user; nothing for the user we are."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def succeeds(self, *argv: str, directory: Path) -> bool:
        """Whether a command run as this user ends with 0."""
        try:
            done = subprocess.run(
                argv,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                **self.popen_options(),
            )
        except OSError:
            return False
        return done.returncode == 0


def postgres_account() -> Account:
    """Ourselves, or `nobody` when we are root. Raises `LocalServerError`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise LocalServerError(
            f"PostgreSQL refuses to run as root and there is no user {UNPRIVILEGED!r}: run as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)
