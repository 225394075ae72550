"""How much a database holds of what cannot be made again. Nothing removes an order or a run, so what holds fewer than
before is no continuation: a volume was lost, or this is another device."""

from __future__ import annotations

import json
import logging
import tarfile
from dataclasses import dataclass
from pathlib import Path

from deploy.backup.errors import BackupError
from deploy.backup.server import Server

log = logging.getLogger(__name__)

ABOUT = "backup.json"
# a reader waits for nobody who changes the tables
_PATIENCE = "SET lock_timeout = '60s'; "


@dataclass(frozen=True, slots=True, order=True)
class Journal:
    """The number of orders and of runs; of two the greater one is that with more orders."""

    orders: int
    runs: int

    @property
    def is_empty(self) -> bool:
        return self.orders == self.runs == 0


def journal_of(server: Server) -> Journal | None:
    """What the database holds, None where it cannot be told: the backup is good all the same."""
    try:
        if server.ask("SELECT to_regclass('orders') IS NULL OR to_regclass('runs') IS NULL") == "t":
            return Journal(0, 0)
        rows = server.ask(f"{_PATIENCE}SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM runs)")
        orders, runs = rows.split("|")
        return Journal(int(orders), int(runs))
    except (BackupError, ValueError) as error:
        log.warning("how many orders the database has cannot be told: %s", error)
        return None


def newest_order(server: Server, database: str) -> str:
    """How many orders a database has and when the newest was made, for a person."""
    sql = "SELECT count(*), to_char(max(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM orders"
    try:
        rows = server.ask(sql, database=database)
    except BackupError as error:
        return f"orders that cannot be counted before it is migrated ({error})"
    number, _, at = rows.partition("|")
    return f"{number} orders, the newest of {at} UTC" if at else "no order"


def recorded(companion: Path) -> Journal | None:
    """What was noted beside a dump, None for one of a version that noted nothing."""
    try:
        with tarfile.open(companion) as tar:
            file = tar.extractfile(ABOUT)
            said = json.load(file) if file else {}
        return Journal(int(said["orders"]), int(said["runs"]))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError):
        return None
