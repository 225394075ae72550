"""Alerts that were given up."""

from __future__ import annotations

from notifications.alert import first_line
from operate.errors import CannotAnswer, of_direct
from operate.fault_words import fault_words
from operate.texts import when
from operate.view_words import view_words
from settings import Settings
from storage import dead_letters
from storage.direct import DatabaseUnavailable


async def show_dead_alerts(settings: Settings, limit: int, seen: bool) -> str:
    """The alerts that were given up, newest first; with `seen` they all count as seen from now on."""
    try:
        letters = await dead_letters.newest(settings.database_url, limit)
        if seen:
            await dead_letters.mark_seen(settings.database_url)
    except DatabaseUnavailable as error:
        why = fault_words(settings.notify_language)
        raise CannotAnswer(why.dead_letters.format(reason=of_direct(why, error))) from None
    told = view_words(settings.notify_language)
    lines = [
        told.dead.format(
            at=when(letter.died_at),
            kind=letter.kind,
            n=letter.occurrences,
            attempts=letter.attempts,
            fingerprint=letter.fingerprint[:16],
            reason=letter.reason or told.no_reason,
            new="" if letter.seen_at else told.new,
            line=first_line(letter.payload),
        )
        for letter in letters
    ]
    return "\n".join(lines) or told.no_dead
