"""What comes from Telegram, as far as the bot minds it: a command that was typed, or a button that was pressed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from telegram import Message, Update

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
    """The update, if it is a text that its sender has typed, or a pressed button; edits, joins, pictures, what others
    have written and the like are none of the bot's business."""
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
    if message is not None and message.text and message.text.startswith("/") and _typed(message):
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


def _typed(message: Message) -> bool:
    """Whether its sender wrote it: of what is forwarded, or comes by an inline bot, `from` is who passed it on, and
    `date` is when (Bot API, Message; `forward_date` and `forward_from` before 7.0)."""
    older = message.api_kwargs.keys() & {"forward_date", "forward_from"}
    return message.forward_origin is None and message.via_bot is None and not older
