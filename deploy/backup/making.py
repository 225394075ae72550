"""Make a backup: dump, verify, and only then give it its name."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup.belongings import gather
from deploy.backup.dumps import PARTIAL, belong, dumps_in, expired, hash_file, hash_of, sweep, sync
from deploy.backup.errors import BackupError
from deploy.backup.place import Place, stamp
from deploy.backup.server import Server

log = logging.getLogger(__name__)

# left free on the disk whatever happens: PostgreSQL stops when it cannot write
RESERVE_BYTES = 100 << 20
# so long another backup is waited for
PATIENCE_SECONDS = 900.0


def make(place: Place, server: Server, label: str, project: str) -> Path:
    """A verified dump in the folder of backups; those that are no longer needed are removed. Raises `BackupError`."""
    folder = place.backups
    with alone(folder):
        sweep(folder)
        revision = revision_of(server)
        _check_space(folder, server)
        at = datetime.now(UTC)
        path = folder / f"{stamp(at)}-{revision}{f'-{label}' if label else ''}.dump"
        _dump(server, path)
        gather(place, server, path, project)
        finish(path)
        note(server, "local", path, at)
        for old in expired(dumps_in(folder), place.releases()):
            if _is_in_use(old.path):
                continue
            # the dump first: what is left of one that is cut off here is swept away by the next
            for file in old.files():
                file.unlink(missing_ok=True)
            log.info("removed %s, which need not be kept", old.path.name)
        log.info("backed up %s: %s, %s", server, path.name, readable(path.stat().st_size))
    return path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in the folder while nobody else does; waits for who is at it. Raises `BackupError`."""
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            belong(folder)
        # the folder itself: a file would belong to who came first
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BackupError(f"{folder} cannot be written ({error.strerror}); run this as its owner") from None
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BackupError(f"another backup or restore has been at work in {folder} for too long") from None
                time.sleep(0.5)
        yield
    finally:
        os.close(lock)


@contextmanager
def in_use(dump: Path) -> Iterator[None]:
    """Keep a dump from being removed as one that is no longer needed, while it is read."""
    with dump.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _is_in_use(dump: Path) -> bool:
    with dump.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def revision_of(server: Server, database: str = "") -> str:
    """The migration a database stands at, "none" for one that was never migrated."""
    if server.ask("SELECT to_regclass('alembic_version') IS NOT NULL", database=database) != "t":
        return "none"
    return server.ask("SELECT version_num FROM alembic_version", database=database) or "none"


def note(server: Server, copy: str, path: Path, at: datetime) -> None:
    """Tell the database of its backup, where the processes see how old it is; one that cannot be told is no fault of
    the backup."""
    try:
        if server.ask("SELECT to_regclass('backups') IS NOT NULL") != "t":
            log.warning("the database is too old to be told of its backup; the next deployment migrates it")
            return
        server.ask(
            "INSERT INTO backups (copy, at, name, bytes) "
            f"VALUES ('{copy}', '{at.isoformat()}', '{path.name}', {path.stat().st_size}) ON CONFLICT (copy) "
            "DO UPDATE SET at = excluded.at, name = excluded.name, bytes = excluded.bytes"
        )
    except BackupError as error:
        log.warning("the backup is good, but the database could not be told of it: %s", error)


def finish(path: Path) -> None:
    """Give the part its name, with its hash beside it, so that no loss of power leaves one that only looks whole."""
    part = path.with_name(path.name + PARTIAL)
    hashed = hash_file(path)
    hashed_part = hashed.with_name(hashed.name + PARTIAL)
    hashed_part.write_text(f"{hash_of(part)}  {path.name}\n", encoding="utf-8")
    hashed_part.chmod(0o600)
    for written in (part, hashed_part):
        belong(written)
        sync(written)
    hashed_part.rename(hashed)
    part.rename(path)
    sync(path.parent)


def readable(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _check_space(folder: Path, server: Server) -> None:
    """Raise `BackupError` where the dump may not fit: twice the last one, or without one the whole database."""
    last = next(iter(dumps_in(folder)), None)
    needed = 2 * last.size if last else int(server.ask("SELECT pg_database_size(current_database())"))
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise BackupError(
            f"{folder} has {readable(free)} free, and a backup may take {readable(needed)} besides the "
            f"{readable(RESERVE_BYTES)} that stay free; make room (docker image prune, older dumps)"
        )


def _dump(server: Server, path: Path) -> None:
    part = path.with_name(path.name + PARTIAL)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            server.run("pg_dump", "-Fc", "-d", server.database, "--lock-wait-timeout=60s", stdout=file)
        read_through(server, part)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_through(server: Server, path: Path) -> None:
    """Have pg_restore read all of a dump, not only its table of contents. Raises `BackupError`."""
    with path.open("rb") as file:
        server.run("pg_restore", "--file=/dev/null", stdin=file)
