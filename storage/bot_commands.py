"""What people told the bot to do: one row per command or pressed button, with what came of it.

The row is written before anything is done, and an update has one row at most, so what Telegram delivers twice is done
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from storage.direct import connection

Outcome = Literal["begun", "done", "asked", "refused", "failed"]
# What may come of a command that was begun.
ENDS: tuple[Outcome, ...] = ("done", "asked", "refused", "failed")


@dataclass(frozen=True, slots=True)
class BotCommand:
    """A command as it came. `update_id` is Telegram's; `command` and `arguments` are what a person typed, cut."""

    update_id: int
    chat_id: int
    user_id: int
    username: str
    command: str
    arguments: str


async def begin(database_url: str, row: BotCommand, trace_id: str) -> bool:
    """Write that the command is begun; False if it was before. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        seq = await opened.fetchval(
            "INSERT INTO bot_commands (update_id, chat_id, user_id, username, command, arguments, outcome, trace_id) "
            "VALUES ($1, $2, $3, $4, $5, $6, 'begun', $7) ON CONFLICT (update_id) DO NOTHING RETURNING seq",
            *_values(row),
            trace_id or None,
        )
    return seq is not None


async def end(database_url: str, update_id: int, outcome: Outcome, detail: str) -> None:
    """Write what came of a command that was begun. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        await opened.execute(
            "UPDATE bot_commands SET outcome = $2, detail = $3 WHERE update_id = $1 AND outcome = 'begun'",
            update_id,
            outcome,
            detail,
        )


async def refuse_stranger(
    database_url: str, row: BotCommand, detail: str, trace_id: str, *, allowed: Iterable[int], most_per_hour: int
) -> bool:
    """Write that somebody who is not `allowed` was refused, unless so many rows of such people were written in the last
    hour: a stranger must not fill the database. Returns whether it was. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        seq = await opened.fetchval(
            "INSERT INTO bot_commands "
            "(update_id, chat_id, user_id, username, command, arguments, outcome, detail, trace_id) "
            "SELECT $1, $2, $3, $4, $5, $6, 'refused', $7, $8 WHERE (SELECT count(*) FROM bot_commands "
            "WHERE at > now() - interval '1 hour' AND outcome = 'refused' AND user_id <> ALL($9::bigint[])) < $10 "
            "ON CONFLICT (update_id) DO NOTHING RETURNING seq",
            *_values(row),
            detail,
            trace_id or None,
            list(allowed),
            most_per_hour,
        )
    return seq is not None


async def give_up_begun(
    database_url: str, before: datetime, detail: str, *, but: Iterable[int] = ()
) -> list[BotCommand]:
    """Mark as failed what was begun before a time and never ended, because its notifier died; returns it, the oldest
    first. `but` are updates that are known to be under way. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        rows = await opened.fetch(
            "UPDATE bot_commands SET outcome = 'failed', detail = $2 WHERE outcome = 'begun' AND at < $1 "
            "AND update_id <> ALL($3::bigint[]) "
            "RETURNING update_id, chat_id, user_id, username, command, arguments",
            before,
            detail,
            list(but),
        )
    return sorted((BotCommand(**dict(row)) for row in rows), key=lambda row: row.update_id)


def _values(row: BotCommand) -> tuple[int, int, int, str, str, str]:
    return row.update_id, row.chat_id, row.user_id, row.username, row.command, row.arguments
