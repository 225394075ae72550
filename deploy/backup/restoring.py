"""Restore: into a fresh database beside the one in use, which takes its name only when everything is well.

Until the last step nothing of the old database is touched, and that step is one transaction: a restore that fails, or
that is cut off, leaves things as they were. The old database stays, under the name it is given.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup.dumps import read_name
from deploy.backup.errors import BackupError
from deploy.backup.journal import newest_order
from deploy.backup.making import RESERVE_BYTES, alone, note, read_through, readable, revision_of
from deploy.backup.place import Place, stamp
from deploy.backup.server import Server
from deploy.backup.traders import migrate, stopped

log = logging.getLogger(__name__)

MAINTENANCE = "postgres"
SWAPS, SWAP_SECONDS = 20, 0.5
# what a dump becomes when its rows and indexes are written out
GROWTH = 8


def restore(place: Place, server: Server, dump: Path, project: str) -> str:
    """The old database's new name. Raises `BackupError`; the database in use is then what it was."""
    at = datetime.now(UTC)
    fresh = f"{server.database}_restored_{stamp(at)}".lower()
    before = f"{server.database}_before_{stamp(at)}".lower()
    with alone(place.backups):
        read_through(server, dump)
        _check_space(server, dump)
        with stopped(server, project):
            try:
                _fill(server, fresh, dump)
                migrate(place, server, project, fresh)
                _halt(server, fresh, dump)
                held = newest_order(server, fresh)
                _swap(server, fresh, before)
            except BaseException:
                _drop(server, fresh)
                log.error("nothing was restored; the database in use is as it was")  # noqa: TRY400
                raise
            log.info("the database has %s now", held)
            if known := read_name(dump):
                note(server, "local", dump, known.at)
    return before


def kept_databases(server: Server) -> list[str]:
    """The databases that restores put aside, with their sizes."""
    rows = server.ask(
        "SELECT datname, pg_database_size(oid) FROM pg_database "
        f"WHERE starts_with(datname, {_literal(server.database + '_before_')}) ORDER BY datname"
    )
    split = (row.partition("|") for row in rows.splitlines())
    return [f"{name} ({readable(int(size))})" for name, _, size in split]


def _fill(server: Server, fresh: str, dump: Path) -> None:
    log.info("restoring %s into %s", dump.name, fresh)
    try:
        server.ask(f"CREATE DATABASE {_name(fresh)} TEMPLATE template0", database=MAINTENANCE)
    except BackupError as error:
        user = server.user or server.environment.get("PGUSER", "")
        cure = f"; as its administrator: ALTER ROLE {_name(user)} CREATEDB" if "permission denied" in str(error) else ""
        raise BackupError(f"no database can be made beside the one in use: {error}{cure}") from None
    with dump.open("rb") as file:
        server.run("pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "-d", fresh, stdin=file)
    if revision_of(server, fresh) == "none":
        raise BackupError(f"{dump.name} is a dump of another program: it holds no tables of autotrader")


def _halt(server: Server, fresh: str, dump: Path) -> None:
    """No order until a person has looked: what was sent since the dump was made, only the venues know."""
    reason = f"restored from {dump.name}: what was ordered since then is not known here; compare with the venues"
    server.ask(
        f"INSERT INTO trading_states (state, reason, set_by) VALUES ('halted', {_literal(reason)}, 'restore'); "
        "INSERT INTO armings (market, since, until, set_by) "
        "SELECT DISTINCT market, now(), now(), 'restore' FROM armings WHERE until > now()",
        database=fresh,
    )


def _swap(server: Server, fresh: str, before: str) -> None:
    """Both names in one transaction. Who is connected is sent away, and may be back at once: tried several times."""
    old = server.database
    rename = (
        f"ALTER DATABASE {_name(old)} RENAME TO {_name(before)}; ALTER DATABASE {_name(fresh)} RENAME TO {_name(old)}"
    )
    away = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE datname IN ({_literal(old)}, {_literal(fresh)}) AND pid <> pg_backend_pid()"
    )
    for left in reversed(range(SWAPS)):
        server.ask(away, database=MAINTENANCE)
        try:
            server.ask(f"BEGIN; {rename}; COMMIT", database=MAINTENANCE)
        except BackupError as error:
            if left and "being accessed by other users" in str(error):
                time.sleep(SWAP_SECONDS)
                continue
            raise
        return


def _drop(server: Server, fresh: str) -> None:
    try:
        server.ask(f"DROP DATABASE IF EXISTS {_name(fresh)} WITH (FORCE)", database=MAINTENANCE)
    except BackupError as error:
        log.warning("%s is left over and may be dropped: %s", fresh, error)


def _check_space(server: Server, dump: Path) -> None:
    """Raise `BackupError` where the container's disk may not take a second database; of others it cannot be seen."""
    if not server.container:
        return
    data = server.ask("SHOW data_directory", database=MAINTENANCE)
    free = int(server.run("df", "--output=avail", "-B1", data).split()[-1])
    needed = max(GROWTH * dump.stat().st_size, _size(server))
    if free < needed + RESERVE_BYTES:
        raise BackupError(
            f"the disk of PostgreSQL has {readable(free)} free, and the restored database may take {readable(needed)} "
            f"besides the old one; drop what `backup.py list` calls put aside, or use a larger disk"
        )


def _size(server: Server) -> int:
    return int(server.ask(f"SELECT pg_database_size({_literal(server.database)})", database=MAINTENANCE))


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
