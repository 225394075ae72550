"""What the processes of a running stack hold of this machine's memory, as a table:

    python tests/deploy/memory_table.py PROJECT        (as root; the project of `make up` is autotrader)

Proportional set size, read from outside the containers (benchmarks/smaps.py): a page that several of our processes map
is divided among them. Redis, PostgreSQL, nginx, Flower and stand-ins are told of, and not counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from engine import Engine
from stack import containers_of, family

from benchmarks import smaps

OURS = ("trader", "worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")
PROMISED = 450.0
"""Of all our processes together, in MB as the promise says it: 10^6 bytes."""
_MB = 1e6
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Held:
    """Of the processes of one container, in MB; `limit` is 0 where it has none."""

    service: str
    processes: int
    pss: float
    rss: float
    limit: float


def measure(engine: Engine, project: str) -> list[Held]:
    """Every running container of a compose project. Raises `PermissionError` for who may not read other processes."""
    if os.geteuid() != 0:
        raise PermissionError("only root may read what the processes of containers hold")
    for _ in range(_TRIES - 1):
        # PostgreSQL and others end processes whenever they like, also while we read
        with suppress(FileNotFoundError, ProcessLookupError):
            return _measured(engine, project)
    return _measured(engine, project)


def _measured(engine: Engine, project: str) -> list[Held]:
    pids: dict[str, list[int]] = {}
    limits: dict[str, int] = {}
    for service, container in sorted(containers_of(engine, project).items()):
        found = json.loads(engine.docker("inspect", container))[0]
        if found["State"]["Running"]:
            pids[service] = [pid for pid in family(found["State"]["Pid"]) if _has_memory(pid)]
            limits[service] = found["HostConfig"]["Memory"]
    ours = [service for service in OURS if service in pids]
    # pages of a file are shared among ours only; each of the others is asked about by itself
    share = dict(zip(ours, smaps.read([pids[service] for service in ours]), strict=True))
    share |= {service: smaps.read([pids[service]])[0] for service in pids if service not in share}
    return [
        Held(service, len(pids[service]), held.share / _MB, held.rss / _MB, limits[service] / _MB)
        for service, held in share.items()
    ]


def total(held: Sequence[Held]) -> float:
    """What ours hold together, in MB."""
    return sum(one.pss for one in held if one.service in OURS)


def table(held: Sequence[Held]) -> str:
    """Markdown, with the promise and whether it is kept."""
    lines = ["| container | processes | PSS, MB | RSS, MB | limit, MB |", "|---|--:|--:|--:|--:|"]
    lines += [_row(one) for one in held if one.service in OURS]
    found = total(held)
    lines.append(f"| **ours together** | | **{found:.0f}** | | promised {PROMISED:.0f} |")
    lines += [_row(one) for one in held if one.service not in OURS]
    kept = "kept" if found <= PROMISED else f"MISSED by {found - PROMISED:.0f} MB"
    return "\n".join([*lines, "", f"At most {PROMISED:.0f} MB for all our processes: {kept}."])


def _row(one: Held) -> str:
    return f"| {one.service} | {one.processes} | {one.pss:.0f} | {one.rss:.0f} | {one.limit:.0f} |"


def _has_memory(pid: int) -> bool:
    """Not so a process that has ended, and a thread of the kernel."""
    try:
        return bool(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
    except OSError:
        return False


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        held = measure(Engine(), arguments[0])
    except PermissionError as error:
        sys.stderr.write(f"memory_table: {error}: run it with sudo\n")
        return 1
    if not held:
        sys.stderr.write(f"memory_table: no container of the project {arguments[0]} runs here: see docker compose ls\n")
        return 1
    sys.stdout.write(table(held) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
