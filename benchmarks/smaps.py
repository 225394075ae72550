"""What processes hold of the memory, from /proc/PID/smaps: Linux only.

A page that several processes map (the interpreter, libraries) is counted once for all of them. The kernel's own PSS
divides it among every process of the machine. Ours divides a file's pages among the processes that are asked about, so
that it is the same whatever else runs; pages without a file are shared by a fork only, and there the kernel is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
KIB = 2**10


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process and its children, in bytes. `pss` is the kernel's, `share` the same among ours alone; `private`
    goes with the process, `rss` counts what is shared in full."""

    share: float
    pss: int
    rss: int
    private: int
    swap: int


@dataclass(frozen=True, slots=True)
class _Maps:
    pss: int
    rss: int
    private: int
    swap: int
    own: int
    shared: Counter[str]


def read(groups: Iterable[Sequence[int]]) -> list[Memory]:
    """The memory of each group of processes, such as a process and its children; all groups together are `ours`.

    Raises `OSError` where a process is gone or is somebody else's.
    """
    maps = [[_maps(pid) for pid in group] for group in groups]
    users = Counter(name for group in maps for one in group for name, held in one.shared.items() if held)
    return [
        Memory(
            share=sum(one.own + sum(held / users[name] for name, held in one.shared.items() if held) for one in group),
            pss=sum(one.pss for one in group),
            rss=sum(one.rss for one in group),
            private=sum(one.private for one in group),
            swap=sum(one.swap for one in group),
        )
        for group in maps
    ]


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _maps(pid: int) -> _Maps:
    totals: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    own = 0
    file = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            # "7f00-7f10 r-xp 00000000 08:01 1234  /usr/lib/x.so", "[heap]" and the like, or nothing
            fields = line.split(maxsplit=5)
            file = fields[5] if len(fields) > 5 and fields[5].startswith("/") else ""
        elif rest.endswith(" kB"):
            held = int(rest.removesuffix(" kB")) * KIB
            totals[key] += held
            if not file:
                own += held if key == "Pss:" else 0
            elif key in ("Private_Clean:", "Private_Dirty:"):
                own += held
            elif key in ("Shared_Clean:", "Shared_Dirty:"):
                shared[file] += held
    return _Maps(
        pss=totals["Pss:"],
        rss=totals["Rss:"],
        private=totals["Private_Clean:"] + totals["Private_Dirty:"],
        swap=totals["Swap:"],
        own=own,
        shared=shared,
    )
