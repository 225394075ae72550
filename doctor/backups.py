"""Whether there is something to go back to."""

from __future__ import annotations

from datetime import UTC, datetime

from doctor.findings import Finding, fault, ok, skipped
from settings import Settings
from storage.backups import OLDEST, Backups, Copy, last_backups
from storage.direct import DatabaseUnavailable

# what each copy is called, and what to do when it is too old
_NAMES = {"local": "backup", "away": "backup off this device"}
_CURES = {
    "local": "run make backup, and enable the timer autotrader-backup (docs/backups.md)",
    "away": "check RESTIC_REPOSITORY and the network, and run make backup (docs/backups.md)",
}


async def backups(settings: Settings) -> list[Finding]:
    """That the last backup, and its copy off this device, are not too old."""
    try:
        last = await last_backups(settings.database_url)
    except DatabaseUnavailable:
        return []  # another check says so
    now = datetime.now(UTC)
    return [_look(last, "local", now), _away(settings, last, now)]


def _away(settings: Settings, last: Backups, now: datetime) -> Finding:
    if not settings.copied_away:
        return skipped(_NAMES["away"], "RESTIC_REPOSITORY is empty: a disk that fails takes its backups along")
    if not settings.restic_password.get_secret_value():
        return fault(_NAMES["away"], "RESTIC_PASSWORD is missing: set it in .env, nothing is copied without it")
    return _look(last, "away", now)


def _look(last: Backups, copy: Copy, now: datetime) -> Finding:
    hours = f"{last.age(copy, now).total_seconds() / 3600:.0f} h"
    made = last.local if copy == "local" else last.away
    if last.age(copy, now) > OLDEST:
        told = f"the last is {hours} old" if made else f"none was ever made, in {hours} of trading"
        return fault(_NAMES[copy], f"{told}; {_CURES[copy]}")
    return ok(_NAMES[copy], f"{hours} old") if made else skipped(_NAMES[copy], f"none yet; {_CURES[copy]}")
