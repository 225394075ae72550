"""The programs of Debian that watch the system: where they are, or how to get them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

# program and the Debian package that has it
PACKAGES = {
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-postgres-exporter": "prometheus-postgres-exporter",
}


class MissingProgram(Exception):
    """A program is not installed; the message has the line that installs it."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The three programs of this machine."""

    prometheus: Path
    alertmanager: Path
    postgres_exporter: Path


def missing() -> list[str]:
    """Which of the programs are not on PATH."""
    return [name for name in PACKAGES if shutil.which(name) is None]


def find() -> Programs:
    """The programs on PATH. Raises `MissingProgram`."""
    if absent := missing():
        packages = " ".join(PACKAGES[name] for name in absent)
        raise MissingProgram(
            f"{', '.join(absent)} not found on PATH; on Debian: apt-get install --no-install-recommends {packages}"
        )
    prometheus, alertmanager, exporter = (Path(shutil.which(name) or "") for name in PACKAGES)
    return Programs(prometheus, alertmanager, exporter)
