"""What comes from Telegram, as far as the bot minds it: a command that was typed, or a button that was pressed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from telegram import Update

from notifications.message import cut, sendable

# What is kept of what people typed.
NAME_LIMIT = 64
TEXT_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One update. `text` is what was typed, or the action of the button; `at` is when it was typed, by Telegram's
    clock, and None for a button. `press_id` is there for a button, and has to be answered."""

    update_id: int
    chat_id: int
    private: bool
    user_id: int
    username: str
    text: str
    at: datetime | None = None
    press_id: str = ""
    message_id: int = 0

    @property
    def by(self) -> str:
        """Who it is from, as rows and messages show it."""
        return f"telegram:{self.user_id} ({self.username or '-'})"


def read(update: Update) -> Incoming | None:
    """The update, if it is a text or a pressed button; edits, joins, pictures and the like are none of the bot's
    business."""
    user, chat = update.effective_user, update.effective_chat
    if user is None or chat is None:
        return None
    username = cut(sendable(user.username or user.full_name), NAME_LIMIT)
    press, message = update.callback_query, update.message
    if press is not None and press.data and press.message is not None:
        return Incoming(
            update_id=update.update_id,
            chat_id=chat.id,
            private=chat.type == chat.PRIVATE,
            user_id=user.id,
            username=username,
            text=cut(sendable(press.data), TEXT_LIMIT),
            press_id=press.id,
            message_id=press.message.message_id,
        )
    if message is not None and message.text and message.text.startswith("/"):
        return Incoming(
            update_id=update.update_id,
            chat_id=chat.id,
            private=chat.type == chat.PRIVATE,
            user_id=user.id,
            username=username,
            text=cut(sendable(message.text), TEXT_LIMIT),
            at=message.date,
            message_id=message.message_id,
        )
    return None
