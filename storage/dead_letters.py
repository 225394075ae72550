"""Alerts that were given up, kept until somebody has seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from storage.direct import connection


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An alert with why it was given up. `payload` is without secrets; `seen_at` is None until somebody saw it."""

    id: str
    died_at: datetime
    fingerprint: str
    kind: str
    payload: str
    attempts: int
    occurrences: int
    first_at: datetime
    last_at: datetime
    reason: str
    seen_at: datetime | None = None


async def keep(database_url: str, letters: Sequence[DeadLetter]) -> None:
    """Keep the letters; one that is kept already stays as it is. Raises `DatabaseUnavailable`."""
    rows = [
        (
            letter.id, letter.died_at, letter.fingerprint, letter.kind, letter.payload, letter.attempts,
            letter.occurrences, letter.first_at, letter.last_at, letter.reason,
        )
        for letter in letters
    ]  # fmt: skip
    async with connection(database_url) as opened:
        await opened.executemany(
            "INSERT INTO dead_letters (id, died_at, fingerprint, kind, payload, attempts, occurrences, first_at, "
            "last_at, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            rows,
        )


async def unseen(database_url: str) -> int:
    """How many nobody has seen yet. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        return int(await opened.fetchval("SELECT count(*) FROM dead_letters WHERE seen_at IS NULL"))


async def newest(database_url: str, limit: int) -> list[DeadLetter]:
    """The last ones that were given up, newest first. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        rows = await opened.fetch("SELECT * FROM dead_letters ORDER BY died_at DESC, id LIMIT $1", limit)
    return [DeadLetter(**dict(row)) for row in rows]


async def mark_seen(database_url: str) -> int:
    """Note that somebody has seen them all; returns how many were new. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        rows = await opened.fetch("UPDATE dead_letters SET seen_at = now() WHERE seen_at IS NULL RETURNING id")
    return len(rows)
