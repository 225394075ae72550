"""The folder of dumps: how they are named, when one is whole, and which may go.

A dump is `TIME-REVISION.dump`, or `TIME-REVISION-LABEL.dump`, with its hash beside it in the form of sha256sum. It gets
this name last of all, by a rename: whatever bears it is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deploy.backup.errors import BackupError
from deploy.backup.journal import Journal, recorded
from deploy.backup.place import read_stamp

NAME = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-z]+)(?:-([a-z][a-z-]*))?\.dump")
PARTIAL = ".partial"
# what deploy/backup/backup.sh sends, until it is there wholly
INCOMING, INCOMING_SECONDS = ".incoming", 86_400.0
MAGIC = b"PGDMP"

DAILY, WEEKLY, MONTHLY = 7, 4, 6
# of those with a label, which are kept as long as a release of their time, at least so many
LABELLED = 3
# of a dump whose journal was not noted: more than an empty one, less than any with an order
UNKNOWN = Journal(0, 1)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump: when it was begun, the migration its database stood at, and its label or ""."""

    path: Path
    at: datetime
    revision: str
    label: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def journal(self) -> Journal:
        return recorded(companion(self.path)) or UNKNOWN

    def files(self) -> Iterable[Path]:
        """The dump and what lies beside it."""
        return (self.path, hash_file(self.path), companion(self.path))


def read_name(path: Path) -> Dump | None:
    """The dump at `path`, or None for a name that is none of ours."""
    found = NAME.fullmatch(path.name)
    return Dump(path, read_stamp(found[1]), found[2], found[3] or "") if found else None


def dumps_in(folder: Path) -> list[Dump]:
    """The dumps of a folder, the newest first."""
    found = (read_name(path) for path in folder.glob("*.dump"))
    return sorted((dump for dump in found if dump), key=lambda dump: (dump.at, dump.path.name), reverse=True)


def hash_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def companion(path: Path) -> Path:
    """What belongs to a dump and is not in the database."""
    return path.with_suffix(".files.tar")


def hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check(path: Path) -> None:
    """Raise `BackupError` unless the file is a dump of pg_dump -Fc, and the one its hash was taken of."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise BackupError(f"{path} cannot be read ({error.strerror}); `backup.py list` shows what there is") from None
    if magic != MAGIC:
        raise BackupError(f"{path} is no dump of PostgreSQL (pg_dump -Fc); `backup.py list` shows those there are")
    try:
        expected = hash_file(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        raise BackupError(
            f"{hash_file(path)} is missing or empty: nobody can tell whether the dump is whole. Take another one, or, "
            f"if you know where it comes from, make it: sha256sum {path.name} > {hash_file(path).name}"
        ) from None
    if hash_of(path) != expected:
        raise BackupError(
            f"{path} is not what was written: its SHA-256 differs from {hash_file(path).name}; take another dump, or "
            "the copy off this device (restic:latest)"
        )


def sync(path: Path) -> None:
    """Have the file or folder on the disk, not only in the memory of the kernel."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def belong(path: Path) -> None:
    """Have what root has made belong to the owner of its folder, who makes the next one without being root."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sweep(folder: Path) -> None:
    """Remove what an attempt that was cut off left: parts, and hashes without their dumps."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"*{INCOMING}"):
        # a younger one may still be on its way
        if path.stat().st_mtime < time.time() - INCOMING_SECONDS:
            path.unlink(missing_ok=True)
    for path in (*folder.glob("*.dump.sha256"), *folder.glob("*.files.tar")):
        dump = path.with_name(path.name.removesuffix(".sha256").replace(".files.tar", ".dump"))
        if NAME.fullmatch(dump.name) and not dump.exists():
            path.unlink(missing_ok=True)


def expired(dumps: Sequence[Dump], releases: Sequence[datetime]) -> list[Dump]:
    """Those that need not be kept: 7 days, 4 weeks and 6 months have their newest, labelled ones their release.

    A newest that holds less than an older one of its time, after a lost volume, does not take its place: both stay.
    """
    plain = sorted((dump for dump in dumps if not dump.label), key=lambda dump: dump.at, reverse=True)
    labelled = sorted((dump for dump in dumps if dump.label), key=lambda dump: dump.at, reverse=True)
    kept: set[Path] = {dump.path for dump in labelled[:LABELLED]}
    journals = {dump.path: dump.journal for dump in plain}
    for form, number in (("%Y-%m-%d", DAILY), ("%G-%V", WEEKLY), ("%Y-%m", MONTHLY)):
        times: dict[str, list[Path]] = {}
        for dump in plain:
            times.setdefault(dump.at.strftime(form), []).append(dump.path)
        for paths in list(times.values())[:number]:
            # of equals the first, which is the newest
            kept.update((paths[0], max(paths, key=journals.__getitem__)))
    if releases:
        # a dump is made before its release is switched to, so that of the oldest release may be a little younger
        kept.update(dump.path for dump in labelled if dump.at >= min(releases))
    return [dump for dump in dumps if dump.path not in kept]
