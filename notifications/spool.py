"""Alerts on disk while Redis is away: one JSON line per occurrence, synced before the recorder goes on.

Each process appends to a file of its own, under a lock that is held for one line. Whoever drains takes a file over by
renaming it under that lock, so no line is ever written to a file that was read. A line carries the id of its
occurrence: read twice, it counts once. Only the first line of an alert in a file holds its message.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import uuid4

from notifications.alert import Alert
from notifications.message import Priority
from settings import Settings

log = logging.getLogger(__name__)

MOST_BYTES = 50 * 2**20
# What is critical is taken a little longer than everything else.
MOST_BYTES_CRITICAL = 60 * 2**20
OPEN, TAKEN = ".jsonl", ".taken"
# How many alerts are remembered as having their message in the file.
KNOWN = 10_000
# fingerprint, chat, priority, once, window, payload
ARGUMENTS = 6
PRIORITY = 2


class SpoolUnusable(OSError):
    """The spool takes nothing; the message says why."""


@dataclass(slots=True)
class Spooled:
    """The occurrences of one alert in one file: their ids, and the times (ms) of the first and the last."""

    kind: str
    arguments: list[str]
    first: int
    last: int
    ids: list[str] = field(default_factory=list)


def spool_directory(settings: Settings) -> Path:
    """`ALERT_SPOOL_DIR`, or a directory among what programs keep for this user."""
    if settings.alert_spool_dir:
        return Path(settings.alert_spool_dir)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "autotrader" / "spool"


def spool_of(settings: Settings) -> Spool:
    """The spool of this process: one, whoever asks."""
    return _spool_at(spool_directory(settings), os.getpid())


@cache
def _spool_at(directory: Path, _process: int) -> Spool:
    # a fork of a process that has one begins with none
    return Spool(directory)


class Spool:
    """The spool of this host. May be used from any thread; nothing touches the disk before the first line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / f"{os.getpid()}-{uuid4().hex[:8]}{OPEN}"
        self._lock = threading.Lock()
        self._inode = 0
        self._known: set[str] = set()
        self._counted: dict[Path, tuple[int, int]] = {}

    def append(self, alert: Alert, occurrence: str, arguments: list[str]) -> None:
        """Keep one occurrence with what `record.lua` wants to know of it. Raises `OSError` if the disk does not take
        it, with the file as it was before."""
        with self._lock:
            self._prepare()
            limit = MOST_BYTES_CRITICAL if alert.message.priority is Priority.CRITICAL else MOST_BYTES
            if (size := self._size()) > limit:
                raise SpoolUnusable(f"{self.directory} holds {size >> 20} MB already")
            with _locked(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY) as file:
                self._write(file, alert, occurrence, arguments)

    def take(self) -> list[Path]:
        """The files to read now: those that were taken before and not finished, and all that were written since."""
        if not self.directory.is_dir():
            return []
        for path in sorted(self.directory.glob(f"*{OPEN}")):
            try:
                with _locked(path, os.O_RDONLY):
                    path.rename(path.with_suffix(f".{uuid4().hex[:8]}{TAKEN}"))
            except FileNotFoundError:
                continue
        return sorted(self.directory.glob(f"*{TAKEN}"))

    def finish(self, path: Path) -> None:
        """Every line of the file is recorded: remove it."""
        path.unlink(missing_ok=True)
        self._counted.pop(path, None)

    def waiting(self) -> int:
        """How many occurrences are on disk. Raises `OSError` if that cannot be seen."""
        if not self.directory.is_dir():
            return 0
        counted = {}
        for path in [*self.directory.glob(f"*{OPEN}"), *self.directory.glob(f"*{TAKEN}")]:
            try:
                size = path.stat().st_size
                known, lines = self._counted.get(path, (0, 0))
                if size > known:
                    with path.open("rb") as file:
                        file.seek(known)
                        lines += file.read(size - known).count(b"\n")
            except FileNotFoundError:
                continue
            counted[path] = size, lines
        self._counted = counted
        return sum(lines for _, lines in counted.values())

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = self.directory.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            raise SpoolUnusable(f"{self.directory} is not a directory of this user; set ALERT_SPOOL_DIR to one")
        if stat.S_IMODE(state.st_mode) != 0o700:
            self.directory.chmod(0o700)

    def _size(self) -> int:
        total = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
        return total

    def _write(self, file: int, alert: Alert, occurrence: str, arguments: list[str]) -> None:
        before = os.fstat(file)
        if before.st_ino != self._inode or before.st_size == 0 or len(self._known) > KNOWN:
            self._known.clear()
        key = f"{alert.fingerprint}:{int(alert.message.priority)}"
        line: dict[str, object] = {"id": occurrence, "key": key, "at": time.time_ns() // 1_000_000}
        if key not in self._known:
            line |= {"kind": alert.kind, "arguments": arguments}
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
        data = text.encode("utf-8", "surrogatepass")
        try:
            if os.write(file, data) != len(data):
                raise SpoolUnusable(f"{self.directory}: the disk is full")
            os.fsync(file)
        except OSError:
            # half a line would spoil the next one
            os.ftruncate(file, before.st_size)
            raise
        if before.st_size == 0:
            _sync(self.directory)
        self._inode = before.st_ino
        self._known.add(key)


def read(path: Path) -> list[Spooled]:
    """What a file holds, by alert, the critical ones first. A line that cannot be read is told to the log."""
    found: dict[str, Spooled] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line:
            continue
        try:
            fields = json.loads(line.decode("utf-8", "surrogatepass"))
            key, at = str(fields["key"]), int(fields["at"])
            if key not in found:
                arguments = [str(argument) for argument in fields["arguments"]]
                if len(arguments) != ARGUMENTS:
                    raise ValueError(f"{len(arguments)} arguments")
                found[key] = Spooled(str(fields["kind"]), arguments, at, at)
            found[key].ids.append(str(fields["id"]))
            found[key].first, found[key].last = min(found[key].first, at), max(found[key].last, at)
        except (ValueError, KeyError, TypeError):
            log.error("%s: line %d is no spooled alert: %.2000r", path.name, number, line)  # noqa: TRY400
    return sorted(found.values(), key=lambda spooled: spooled.arguments[PRIORITY])


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[int]:
    """The file at `path`, open and locked: the one that is there now, not one that was just taken away."""
    while True:
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(file), path.lstat())
            except FileNotFoundError:
                same = False
            if same:
                yield file
                return
            if not flags & os.O_CREAT:
                raise FileNotFoundError(path)
        finally:
            os.close(file)


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
