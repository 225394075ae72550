"""How old the last backups are. `deploy/backup` writes them; the notifier, the doctor and `status` look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from storage.direct import connection

Copy = Literal["local", "away"]

# a day, and what a machine that was off may be late
OLDEST = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class Backups:
    """When the last backup on this device and the last copy off it were made, None for never; `since` is when the
    oldest run was opened, from when on there is something to lose."""

    local: datetime | None
    away: datetime | None
    since: datetime | None

    def age(self, copy: Copy, now: datetime) -> timedelta:
        """How long what there is has not been backed up, by `copy`."""
        last = self.local if copy == "local" else self.away
        counted = last or self.since
        return max(now - counted, timedelta()) if counted else timedelta()


async def last_backups(database_url: str) -> Backups:
    """The last good ones. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        rows = await opened.fetch("SELECT copy, at FROM backups")
        since = await opened.fetchval("SELECT min(opened_at) FROM runs")
    at = {row["copy"]: row["at"] for row in rows}
    return Backups(at.get("local"), at.get("away"), since)
