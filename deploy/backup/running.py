"""Programs that are started and waited for, with what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from deploy.backup.errors import BackupError

LAST_WORDS = 3


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> str:
    """What the program wrote, unless `stdout` took it. Raises `BackupError` with its last words if it failed."""
    try:
        done = subprocess.run(
            list(argv),
            env={**os.environ, **(environment or {})},
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    except OSError as error:
        raise BackupError(f"{argv[0]} cannot be started ({error.strerror}); install it, or correct PATH") from None
    if done.returncode:
        raise BackupError(_last_words(argv[0], done.returncode, done.stderr))
    return (done.stdout or b"").decode(errors="replace")


def _last_words(program: str, code: int, stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-LAST_WORDS:]) or f"{program} ended with {code} and said nothing"
