"""Named child processes with a log file each: started one by one, watched, and stopped in reverse.

Each runs in a session of its own, so Ctrl-C in the terminal reaches only the supervisor, which then stops
them in order; and each is tied to the supervisor's life by the kernel (`sandbox.local.death`), so start
them from the main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Self, TypeVar

from sandbox.local.death import die_with_parent

T = TypeVar("T")

_LAST_LINES = 12
_POLL_SECONDS = 0.05


class ProcessFailed(Exception):
    """A process ended when it should run, did not get ready in time, or ended with an error."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """How a process stands: `exit_code` is None while it runs, negative for the signal that ended it."""

    name: str
    pid: int
    exit_code: int | None


@dataclass(slots=True)
class _Child:
    name: str
    stage: int
    process: subprocess.Popen[bytes]
    log: Path


class ProcessGroup:
    """Child processes that live and end together.

    `directory` gets the log files, `grace` is the seconds between SIGTERM and SIGKILL, `on_death` the
    signal the children get when the supervisor is killed.
    """

    def __init__(self, directory: Path, *, grace: float = 10.0, on_death: Signals = SIGTERM) -> None:
        self._directory = directory
        self._grace = grace
        self._on_death = on_death
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, stage: int = 0
    ) -> int:
        """Start a process and return its pid; those of a higher `stage` are stopped earlier.

        Raises `ProcessFailed` if there is no such program.
        """
        if name in self._children:
            raise ValueError(f"a process {name!r} was started already")
        log = self._directory / f"{name}.log"
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    argv,
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent(self._on_death),
                )
        except OSError as error:
            raise ProcessFailed(f"{name} could not be started: {error}") from error
        self._children[name] = _Child(name, stage, process, log)
        return process.pid

    def run(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, seconds: float
    ) -> None:
        """Run a process to its end. Raises `ProcessFailed` if it takes longer or ends with an error."""
        self.start(name, argv, env=env, cwd=cwd)
        child = self._children[name]
        try:
            code = child.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{name} took longer than {seconds:g} s; {self._last_words(child)}") from None
        finally:
            if child.process.poll() is None:
                _signal_group(child, SIGKILL)
                child.process.wait()
            del self._children[name]
        if code:
            raise ProcessFailed(f"{name} ended with exit code {code}; {self._last_words(child)}")

    def wait_until(self, predicate: Callable[[], bool], seconds: float, what: str) -> None:
        """Return when `predicate` holds. Raises `ProcessFailed` after `seconds`, or at once if a process ends."""
        deadline = time.monotonic() + seconds
        while not predicate():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{what} did not happen within {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def wait_for_line(self, name: str, match: Callable[[str], T | None], seconds: float) -> T:
        """The first thing `match` makes of a line of the process's output that is not None.

        Raises `ProcessFailed` as `wait_until` does.
        """
        child = self._children[name]
        found: list[T] = []

        def seen() -> bool:
            for line in child.log.read_text(errors="replace").splitlines():
                if (value := match(line)) is not None:
                    found.append(value)
                    return True
            return False

        try:
            self.wait_until(seen, seconds, f"the start of {name}")
        except ProcessFailed as error:
            if child.process.poll() is None:
                raise ProcessFailed(f"{error}; {self._last_words(child)}") from None
            raise
        return found[0]

    def check(self) -> None:
        """Raise `ProcessFailed` with the last lines of the first process that has ended."""
        for child in self._children.values():
            if (code := child.process.poll()) is not None:
                raise ProcessFailed(f"{child.name} ended with exit code {code}; {self._last_words(child)}")

    def states(self) -> list[ProcessState]:
        """Every process in the order of starting."""
        return [ProcessState(child.name, child.process.pid, child.process.poll()) for child in self._children.values()]

    def stop(self) -> dict[str, int]:
        """Stop everything, the last stage first; returns the exit codes by name. May be called again.

        What does not end within the grace after SIGTERM is killed, and what a process leaves behind in its
        session is killed with it.
        """
        codes: dict[str, int] = {}
        for stage in sorted({child.stage for child in self._children.values()}, reverse=True):
            children = [child for child in self._children.values() if child.stage == stage]
            running = [child for child in reversed(children) if child.process.poll() is None]
            for child in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.process.pid, SIGTERM)
            deadline = time.monotonic() + self._grace
            for child in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
                _signal_group(child, SIGKILL)
            for child in reversed(children):
                codes[child.name] = child.process.wait()
        self._children.clear()
        return codes

    def _last_words(self, child: _Child) -> str:
        lines = child.log.read_text(errors="replace").rstrip().splitlines()[-_LAST_LINES:]
        return "its last lines:\n" + "\n".join(f"  {line}" for line in lines) if lines else "it wrote nothing"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C and its like while children are stopped, so that a second one leaves none behind."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _signal_group(child: _Child, signum: Signals) -> None:
    """Signal all of the child's session; its number is its leader's pid."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, signum)
