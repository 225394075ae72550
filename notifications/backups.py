"""How old the last backups are, as a metric, and once a day as a message where they are too old.

The message is for those without Prometheus; a system that was never backed up is told so from a day after its first
run, not at once: who tries it out has nothing to lose yet.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from redis import RedisError

from notifications import life_texts
from notifications.alert import ONCE_WINDOW_SECONDS, Alert
from notifications.ledger import Ledger
from notifications.words import Words
from storage.backups import OLDEST, Backups, Copy, last_backups
from storage.direct import DatabaseUnavailable
from telemetry.instruments import backup_age

log = logging.getLogger(__name__)

LOOK_SECONDS = 300.0


class BackupWatch:
    """Looks at the backups; at the copies off this device only where there are to be some (`away`)."""

    def __init__(self, ledger: Ledger, database_url: str, words: Words, *, away: bool) -> None:
        self._ledger = ledger
        self._database_url = database_url
        self._words = words
        self._copies: tuple[Copy, ...] = ("local", "away") if away else ("local",)
        self._last: Backups | None = None

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self.look(datetime.now(UTC))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, now: datetime) -> None:
        """Look once. While the database is away, what was seen last grows older: that is no less true."""
        try:
            self._last = await last_backups(self._database_url)
        except DatabaseUnavailable as error:
            log.info("how old the backups are cannot be seen: %s", error)
        if self._last is None:
            return
        for copy in self._copies:
            backup_age.observe(lambda last=self._last, copy=copy: _seconds(last, copy), {"copy": copy})  # type: ignore[misc]
            if self._last.age(copy, now) > OLDEST:
                await self._tell(self._last, copy, now)

    async def _tell(self, last: Backups, copy: Copy, now: datetime) -> None:
        made = last.local if copy == "local" else last.away
        message = life_texts.backup_old(self._words, copy, last=made, at=now)
        # one fingerprint: whoever has been told is told again after a day, however often the notifier starts
        alert = Alert(f"backup_old:{copy}", "system", message, now, window_seconds=ONCE_WINDOW_SECONDS, once=True)
        try:
            await self._ledger.record(alert)
        except (RedisError, OSError, TimeoutError):
            log.warning("a backup is too old, and Redis is away: told at the next look")


def _seconds(last: Backups, copy: Copy) -> float:
    return last.age(copy, datetime.now(UTC)).total_seconds()
