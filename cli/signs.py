"""The signs of life of the processes of `autotrader run`: heard by their parent, and told on to its own supervisor."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from telemetry import systemd

# A process ends itself when a part of it hangs for WATCHDOG_SECONDS; this is for one that hangs as a whole, and cannot.
SILENT_SECONDS = 90.0
MOST_SECONDS = 5.0
# who looks so late was held up itself, and all its processes with it
HELD_UP_SECONDS = 5.0
_LONGEST = 1_024


@dataclass(slots=True)
class _Process:
    line: socket.socket
    heard: float
    at_work: bool = False


class Signs:
    """What is heard of each process by its name. One that was at work is to give a sign every `limit` seconds."""

    def __init__(self, names: Iterable[str], limit: float = SILENT_SECONDS) -> None:
        self._not_yet = set(names)
        self._count = len(self._not_yet)
        self._limit = limit
        # how often to look
        self.pause = min(limit / 3, MOST_SECONDS)
        self._processes: dict[str, _Process] = {}
        self._looked = time.monotonic()
        self._told = ""

    def open(self, name: str) -> socket.socket:
        """The end of a line for a process that is about to be forked: for its `answer`."""
        self.close(name)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._processes[name] = _Process(ours, time.monotonic())
        return theirs

    def answer(self, line: socket.socket) -> None:
        """In the forked process: tell the parent, and know nothing of the others."""
        for name in list(self._processes):
            self.close(name)
        systemd.answer_to(line, self._limit)

    def close(self, name: str) -> None:
        """A process has ended."""
        if process := self._processes.pop(name, None):
            process.line.close()

    def look(self) -> list[str]:
        """Hear them all, and tell the supervisor that this process turns; returns who has been silent for too long."""
        now = time.monotonic()
        held_up, self._looked = now - self._looked > self.pause + HELD_UP_SECONDS, now
        for name, process in self._processes.items():
            self._hear(name, process, now)
            if held_up:
                process.heard = now
        systemd.tell("WATCHDOG=1")
        self._tell_how_many()
        return [
            name for name, process in self._processes.items() if process.at_work and now - process.heard > self._limit
        ]

    def _hear(self, name: str, process: _Process, now: float) -> None:
        while True:
            try:
                words = process.line.recv(_LONGEST).decode(errors="replace").splitlines()
            except OSError:
                return
            if "READY=1" in words:
                process.at_work = True
                self._not_yet.discard(name)
            if "STOPPING=1" in words:
                # it may take its time
                process.at_work = False
            process.heard = now

    def _tell_how_many(self) -> None:
        well = sum(process.at_work for process in self._processes.values())
        status = f"STATUS={well} of {self._count} processes are at work"
        if status != self._told:
            self._told = status
            # all of them have been: what has started in one of them may end again, and is started again
            systemd.tell(*(["READY=1"] if not self._not_yet else []), status)
