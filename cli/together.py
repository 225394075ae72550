"""All processes of one machine, forked from one that has loaded what they have in common.

Each remains a process of its own, with its own telemetry, loop and fate; what they share is the memory of the code.
Loaded once it is counted once: six processes then need less than half of what they need apart, and are up as soon as
one would be.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cli.signs import SILENT_SECONDS, Signs
from telemetry import systemd

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# who lives so long has started well, and is started again at once
LIVES_SECONDS = 60.0
# once may be chance, and is told by the log alone
TOLD_FROM = 3
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One process: what it runs, and in which stage it is stopped, the lowest first."""

    name: str
    run: Callable[[], None]
    stage: int


class KeepsEnding(Exception):
    """A process is started again and again, and ends each time."""


@dataclass(slots=True)
class _Life:
    since: float
    pause: float = SHORTEST_PAUSE
    ends: int = 0


class Family:
    """Keeps the members running until SIGTERM or Ctrl-C, and then stops them stage by stage.

    What does not end within `grace` seconds of its stage is killed, and so is a member that was at work and gives no
    sign for `silent` seconds. Of a member that ends soon after each start, `tell` hears its name and why. For the main
    thread, and before any other runs: a fork copies only the thread that forks.
    """

    def __init__(
        self,
        members: Sequence[Member],
        grace: float,
        tell: Callable[[str, KeepsEnding], None] | None = None,
        silent: float = SILENT_SECONDS,
    ) -> None:
        self._members = {member.name: member for member in members}
        self._grace = grace
        self._tell = tell
        self._signs = Signs(self._members, silent)
        self._running: dict[int, str] = {}
        self._lives: dict[str, _Life] = {}
        self._due: dict[str, float] = {}
        self._mask: set[signal.Signals] = set()

    def run(self) -> None:
        """Start and watch; returns in the parent when all have ended. In a member it leaves as `SystemExit`."""
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS))  # type: ignore[arg-type]
        for name in self._members:
            self._fork(name)
        while True:
            came = signal.sigtimedwait(SIGNALS, self._patience())
            if came is not None and came.si_signo != signal.SIGCHLD:
                break
            self._bury()
            for name in self._signs.look():
                self._kill(name)
            for name in [name for name, at in self._due.items() if at <= time.monotonic()]:
                self._fork(name)
        log.info("%s: everything is stopped in order", signal.Signals(came.si_signo).name)
        self._stop()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _fork(self, name: str) -> None:
        """Start a member; in it this does not return."""
        self._due.pop(name, None)
        parent = os.getpid()
        line = self._signs.open(name)
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            _be_a_child(parent)
            self._signs.answer(line)
            self._members[name].run()
            sys.exit(0)
        line.close()
        self._running[pid] = name
        self._lives.setdefault(name, _Life(0.0)).since = time.monotonic()
        log.info("%s is process %d", name, pid)

    def _patience(self) -> float:
        soonest = min(self._due.values(), default=time.monotonic() + LONGEST_PAUSE)
        return min(max(0.0, soonest - time.monotonic()), self._signs.pause)

    def _bury(self) -> None:
        """Note who has ended, and when each is started again."""
        for name, code in self._ended():
            life = self._lives[name]
            if time.monotonic() - life.since > LIVES_SECONDS:
                life.pause, life.ends = SHORTEST_PAUSE, 0
            life.ends += 1
            log.error("%s ended with exit code %d; it is started again in %.0f s", name, code, life.pause)
            self._due[name] = time.monotonic() + life.pause
            life.pause = min(life.pause * 2, LONGEST_PAUSE)
            if self._tell is not None and life.ends >= TOLD_FROM:
                ends = f"{name} ended {life.ends} times, each within {LIVES_SECONDS:g} s of its start"
                self._tell(name, KeepsEnding(f"{ends}, with exit code {code} now: its log says why"))

    def _ended(self) -> Iterable[tuple[str, int]]:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if name := self._running.pop(pid, None):
                self._signs.close(name)
                yield name, os.waitstatus_to_exitcode(status)

    def _kill(self, name: str) -> None:
        """It hangs as a whole, and cannot be asked to stop; its end is found as any other's."""
        log.error("%s has given no sign of life for too long and is killed", name)
        self._signs.close(name)
        for pid in [pid for pid, running in self._running.items() if running == name]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _stop(self) -> None:
        systemd.stopping()
        for stage in sorted({member.stage for member in self._members.values()}):
            self._end(stage, signal.SIGTERM)
            latest = time.monotonic() + self._grace
            while self._of(stage) and (left := latest - time.monotonic()) > 0:
                signal.sigtimedwait([signal.SIGCHLD], min(left, self._signs.pause))
                systemd.tell("WATCHDOG=1")
                for name, code in self._ended():
                    log.info("%s ended with exit code %d", name, code)
            self._end(stage, signal.SIGKILL)
            for pid in self._of(stage):
                os.waitpid(pid, 0)
                log.error("%s did not end within %.0f s and was killed", self._running.pop(pid), self._grace)

    def _of(self, stage: int) -> list[int]:
        return [pid for pid, name in self._running.items() if self._members[name].stage == stage]

    def _end(self, stage: int, number: signal.Signals) -> None:
        for pid in self._of(stage):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def load(modules: Iterable[str], prepare: Callable[[], None]) -> None:
    """Import and prepare what the members have in common.

    Python's search for cycles passes over it then: it writes to all it looks at, and what is written to is not shared.
    """
    for name in modules:
        importlib.import_module(name)
    prepare()
    gc.collect()
    gc.freeze()


def _be_a_child(parent: int) -> None:
    """Ctrl-C is for the parent, which then stops everybody in order; without a parent nobody goes on."""
    os.setsid()
    with contextlib.suppress(OSError, AttributeError):
        # where there is no Linux, what started the parent has to look after the rest
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # it ended before that was set
        sys.exit(1)


def stages(members: Mapping[str, Callable[[], None]]) -> list[Member]:
    """The beat ends first, so that nothing new is begun, and the notifier last, so that all is told."""
    order = {"beat": 0, "notifier": 2}
    return [Member(name, run, order.get(name, 1)) for name, run in members.items()]
