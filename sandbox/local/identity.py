"""Tell a living process from another one that was given the same pid later."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A pid and when it started, in clock ticks since boot; 0 where the system does not tell."""

    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.pid} {self.started}"

    @classmethod
    def of(cls, pid: int) -> Identity:
        return cls(pid, _start_time(pid))

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read what `str` wrote. Raises `ValueError`."""
        pid, started = text.split()
        return cls(int(pid), int(started))

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        if _state(self.pid) == "Z":
            return False
        return self.started == 0 or _start_time(self.pid) == self.started


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second may itself hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    fields = _fields(pid)
    return fields[0] if fields else ""


def _start_time(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[19]) if len(fields) > 19 else 0
