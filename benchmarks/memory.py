"""What the processes take of the memory, and how soon they work: the promises for a Raspberry Pi.

`python -m benchmarks.memory [--apart] [--sweeps N] [--minutes N] [--starts N] [--analyst llm] [--json]` starts Redis,
PostgreSQL and the sandbox, then all processes of the system as one service (`autotrader run`), or one after the other
with `--apart`, with traces, metrics and logs exported and Prometheus text served. It lets them work: sweeps of all
three markets with their messages and pictures, a failure, the reports of a day and a week, every question of the bot,
pages of the API. It prints each process after its start, after the first sweeps and at the end.

  share    PSS as if nothing else ran on this machine: a page that several of the processes map is divided among
           them. This is what is promised.
  PSS      the kernel's: divided among all processes of the machine, which flatters where other Pythons run
  private  what ends with the process
  growth   the share at the end, against the same after the first sweeps: a leak shows here

With `--starts` each process is also started so often, alone, before: the median from the launch to `bot_running`, and
beside it the same in units of `python -c "import celery.app"`, since seconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks import smaps
from benchmarks.household import PROCESSES, TOGETHER, Household, household
from benchmarks.smaps import MIB, Memory
from sandbox.processes import ProcessFailed

ALL_MIB = 450
NOTIFIER_MIB = 70
START_SECONDS = 2.5
# of everything over the sweeps after the first: caches fill, a leak goes on
GROWTH = 1.10
FIRST_SWEEPS = 3

Table = Mapping[str, Memory]


@dataclass(frozen=True, slots=True)
class Start:
    """How long processes of a kind took until they worked, in seconds and in imports of Celery."""

    seconds: float
    imports: float


@dataclass(frozen=True, slots=True)
class Result:
    """The memory by process at three times, and the starts."""

    started: Table
    worked: Table
    ended: Table
    sweeps: int
    threads: Mapping[str, int]
    starts: Mapping[str, Start]
    together: float
    done: Mapping[str, int]

    @property
    def total(self) -> float:
        return _total(self.ended)

    @property
    def growth(self) -> float:
        return self.total / _total(self.worked)

    def faults(self) -> list[str]:
        """Each promise that is not kept, as a line."""
        promises = [
            ("all processes, MiB", self.total, ALL_MIB),
            ("notifier, MiB", self.ended["notifier"].share / MIB, NOTIFIER_MIB),
            ("growth, ratio", self.growth, GROWTH),
        ]
        starts = [start.seconds for name, start in self.starts.items() if name.startswith("worker")]
        if starts:
            promises.append(("start of a worker, s", max(starts), START_SECONDS))
        return [f"{what}: {found:.2f}, promised <= {most}" for what, found, most in promises if found > most]

    def as_json(self) -> str:
        """The whole result; memory in bytes."""
        tables = {"started": self.started, "worked": self.worked, "ended": self.ended}
        return json.dumps(
            {
                **{name: {one: asdict(memory) for one, memory in table.items()} for name, table in tables.items()},
                "starts": {name: asdict(start) for name, start in self.starts.items()},
                "seconds_to_start_together": self.together,
                "threads": dict(self.threads),
                "sweeps": self.sweeps,
                "done": dict(self.done),
                "total": self.total,
                "growth": self.growth,
                "faults": self.faults(),
            }
        )

    def __str__(self) -> str:
        head = (
            f"{'MiB':16}{'started':>9}{f'{FIRST_SWEEPS} sweeps':>10}{f'{self.sweeps} sweeps':>10}"
            f"{'PSS':>8}{'RSS':>8}{'private':>9}{'swap':>6}{'threads':>9}{'start s':>9}{'imports':>9}"
        )
        lines = [head, *(self._line(name) for name in self.ended)]
        first, second, third = _total(self.started), _total(self.worked), self.total
        pss, private = (sum(getattr(one, name) for one in self.ended.values()) / MIB for name in ("pss", "private"))
        lines.append(
            f"{'total':16}{first:9.1f}{second:10.1f}{third:10.1f}{pss:8.1f}{'':8}{private:9.1f}"
            f"   growth {self.growth:.3f}"
        )
        if self.together:
            lines.append(f"all work {self.together:.1f} s after the launch of `autotrader {TOGETHER}`")
        lines.append(
            f"promised: all <= {ALL_MIB}, notifier <= {NOTIFIER_MIB}, start of a worker <= {START_SECONDS} s, "
            f"growth <= {GROWTH:.2f}; done: {', '.join(f'{count} {what}' for what, count in self.done.items())}"
        )
        return "\n".join([*lines, *(f"MISSED {fault}" for fault in self.faults())])

    def _line(self, name: str) -> str:
        end, start = self.ended[name], self.starts.get(name)
        shares = (self.started[name].share, self.worked[name].share, end.share)
        first, second, third = (share / MIB for share in shares)
        line = (
            f"{name:16}{first:9.1f}{second:10.1f}{third:10.1f}{end.pss / MIB:8.1f}{end.rss / MIB:8.1f}"
            f"{end.private / MIB:9.1f}{end.swap / MIB:6.1f}{self.threads[name]:9}"
        )
        return line if start is None else f"{line}{start.seconds:9.2f}{start.imports:9.1f}"


def measure(sweeps: int, minutes: float, starts: int, env: Mapping[str, str], *, apart: bool) -> Result:
    """Start, let work at least so many sweeps and so many minutes, and look. Raises `ProcessFailed`."""
    with household(env) as house:
        took = {name: start_of(house, name, starts) for name in PROCESSES if starts}
        together = 0.0
        if apart:
            for name in PROCESSES:
                house.start(name)
        else:
            together = house.start_together()
        started = _look(house)
        for _ in range(FIRST_SWEEPS):
            house.work()
        worked = _look(house)
        until = time.monotonic() + minutes * 60
        count = FIRST_SWEEPS
        while count < sweeps or time.monotonic() < until:
            house.work()
            count += 1
        threads = {name: smaps.threads(pid) for name, pid in house.pids.items()}
        return Result(started, worked, _look(house), count, threads, took, together, house.done())


def start_of(house: Household, name: str, times: int) -> Start:
    """How long a process takes to start, so many times, each next to an import of Celery."""
    taken = []
    for _ in range(times):
        celery = house.seconds_of("import celery.app")
        seconds = house.seconds_to_start(name)
        taken.append(Start(seconds, seconds / celery))
    return Start(median(one.seconds for one in taken), median(one.imports for one in taken))


def _look(house: Household) -> dict[str, Memory]:
    # what a process has started itself is counted with it, except for those that are counted by themselves
    ours = set(house.pids.values())
    families = [[one for one in smaps.family(pid) if one == pid or one not in ours] for pid in house.pids.values()]
    return dict(zip(house.pids, smaps.read(families), strict=True))


def _total(table: Table) -> float:
    """MiB of all processes."""
    return sum(memory.share for memory in table.values()) / MIB


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--apart", action="store_true", help="every process by itself, not `autotrader run`")
    parser.add_argument("--sweeps", type=int, default=12, help=f"of all markets, more than {FIRST_SWEEPS}")
    parser.add_argument("--minutes", type=float, default=0, help="go on sweeping for so long")
    parser.add_argument("--starts", type=int, default=0, help="of each process, alone; 0 leaves that out")
    parser.add_argument("--analyst", choices=("rules", "llm"), default="rules")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args(arguments)
    sweeps, env = max(options.sweeps, FIRST_SWEEPS + 1), {"ANALYST": options.analyst}
    try:
        result = measure(sweeps, options.minutes, max(options.starts, 0), env, apart=options.apart)
    except ProcessFailed as error:
        sys.stderr.write(f"memory: {error}\n")
        return 1
    sys.stdout.write(f"{result.as_json() if options.json else result}\n")
    return 1 if result.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
