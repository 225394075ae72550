"""Groups that became supergroups: what the settings call them, and what Telegram calls them now."""

from __future__ import annotations

from collections.abc import Mapping

from storage.direct import connection


async def remember(database_url: str, moved: Mapping[str, str]) -> None:
    """Keep the new id of each chat; a later one replaces an earlier. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        await opened.executemany(
            "INSERT INTO moved_chats (chat_id, moved_to) VALUES ($1, $2) "
            "ON CONFLICT (chat_id) DO UPDATE SET moved_to = excluded.moved_to, at = now()",
            list(moved.items()),
        )


async def known(database_url: str) -> dict[str, str]:
    """The new id of every chat that moved. Raises `DatabaseUnavailable`."""
    async with connection(database_url) as opened:
        return {row["chat_id"]: row["moved_to"] for row in await opened.fetch("SELECT * FROM moved_chats")}
