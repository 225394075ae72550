"""Who may command the bot, and where."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from redis import RedisError

from bot.incoming import Incoming
from notifications.ledger import Ledger


class Gate:
    """Lets `users` through, in `chats` or in a private chat with the bot. Groups that moved are followed."""

    def __init__(self, users: Iterable[int], chats: Iterable[str], ledger: Ledger) -> None:
        self.users = frozenset(users)
        self._chats = {chat for chat in chats if chat}
        self._ledger = ledger

    async def refusal(self, incoming: Incoming) -> str:
        """Why this must not be answered, or ""."""
        if incoming.user_id not in self.users:
            return "the user is not in TELEGRAM_ALLOWED_USERS"
        if incoming.private or str(incoming.chat_id) in self._chats:
            return ""
        with suppress(RedisError, OSError, TimeoutError):
            await self._follow()
        return "" if str(incoming.chat_id) in self._chats else "the chat is none of the settings"

    async def _follow(self) -> None:
        new = set(self._chats)
        while new:
            new = {await self._ledger.moved_chat(chat) for chat in new} - self._chats
            self._chats |= new
