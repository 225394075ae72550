"""The system's processes under a supervisor that starts again what ends, as systemd and compose do.

Everything happens in the main thread, inside `tend`: a child is tied to the life of the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.local.death import die_with_parent
from sandbox.processes import ProcessFailed

RESTART_SECONDS = 2.0
STOP_SECONDS = 12.0
# one that ends so often did not end because of a fault
MOST_RESTARTS = 40
_LAST_LINES = 15


@dataclass(slots=True)
class Supervised:
    """One process. `held` keeps the supervisor from starting it again."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    stage: int
    process: subprocess.Popen[bytes] | None = None
    held: bool = False
    starts: int = 0
    ended_at: float | None = None
    exit_codes: tuple[int, ...] = ()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Named processes with a log file each; `directory` gets the logs and is where they run."""

    def __init__(self, directory: Path, logs: Path) -> None:
        self._directory = directory
        self._logs = logs
        self._all: dict[str, Supervised] = {}

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str], stage: int = 0) -> None:
        """Start a process and keep it running; those of a higher `stage` are stopped earlier."""
        self._all[name] = Supervised(name, argv, env, self._logs / f"{name}.log", stage)
        self._launch(self._all[name])

    def run(self, name: str, argv: Sequence[str], env: Mapping[str, str], seconds: float) -> None:
        """Run a process to its end. Raises `ProcessFailed` if it fails or takes longer."""
        try:
            done = subprocess.run(
                argv, env=dict(env), cwd=self._directory, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{name} took longer than {seconds:g} s") from None
        if done.returncode:
            words = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
            raise ProcessFailed(f"{name} ended with exit code {done.returncode}: " + "\n".join(words))

    def tend(self) -> None:
        """Start again what has ended and is not held. Raises `ProcessFailed` for one that never stays up."""
        for child in self._all.values():
            if child.running:
                continue
            if child.ended_at is None and child.process is not None:
                child.ended_at = time.monotonic()
                child.exit_codes += (child.process.returncode,)
            if child.held or time.monotonic() - (child.ended_at or 0.0) < RESTART_SECONDS:
                continue
            if child.starts > MOST_RESTARTS:
                raise ProcessFailed(
                    f"{child.name} ends again and again; its last lines:\n{self.last_words(child.name)}"
                )
            self._launch(child)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a running process."""
        process = self._all[name].process
        if process is None or process.poll() is not None:
            raise ProcessFailed(f"{name} does not run, so it cannot be sent {number.name}")
        os.kill(process.pid, number)

    def hold(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process and leave it ended until `release`."""
        self._all[name].held = True
        self.send(name, number)

    def release(self, name: str) -> None:
        """Have the supervisor start it again."""
        self._all[name].held = False

    def resume(self) -> None:
        """Let every stopped process go on, and start every held one."""
        for child in self._all.values():
            child.held = False
            if child.process is not None and child.running:
                os.kill(child.process.pid, signal.SIGCONT)

    def running(self, name: str) -> bool:
        return self._all[name].running

    def starts(self, name: str) -> int:
        """How often it was started."""
        return self._all[name].starts

    def exit_codes(self, name: str) -> tuple[int, ...]:
        """How it ended so far, negative for the signal that ended it."""
        return self._all[name].exit_codes

    @property
    def names(self) -> list[str]:
        return list(self._all)

    def log(self, name: str) -> str:
        """What it has written."""
        log = self._all[name].log
        return log.read_text(errors="replace") if log.exists() else ""

    def last_words(self, name: str) -> str:
        return "\n".join(f"  {line}" for line in self.log(name).rstrip().splitlines()[-_LAST_LINES:])

    def stop(self) -> None:
        """Stop everything, the last stage first; what does not end in time is killed."""
        for stage in sorted({child.stage for child in self._all.values()}, reverse=True):
            running = [child.process for child in self._all.values() if child.stage == stage and child.process]
            running = [process for process in running if process.poll() is None]
            for process in running:
                os.kill(process.pid, signal.SIGCONT)
                process.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._all.clear()

    def _launch(self, child: Supervised) -> None:
        try:
            with child.log.open("ab") as output:
                child.process = subprocess.Popen(
                    child.argv,
                    env=dict(child.env),
                    cwd=self._directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGKILL),
                )
        except OSError as error:
            raise ProcessFailed(f"{child.name} could not be started: {error}") from None
        child.starts += 1
        child.ended_at = None
