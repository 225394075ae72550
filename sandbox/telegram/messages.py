"""The messages of all chats: those the bot sent, and those that people wrote to it."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.telegram.chats import bot, chat
from sandbox.telegram.errors import bad
from sandbox.telegram.formatting import Entities
from sandbox.telegram.markup import editable

KEPT_MESSAGES = 50_000
KEPT_WRITTEN = 1_000

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)


@dataclass(slots=True)
class Message:
    """A message a bot sent. `at` is its receipt in Unix seconds; `text` and `entities` are those of the last edit.

    Of a photo they are the caption's, and `photo` is the id it is kept by.
    """

    message_id: int
    chat_id: int | str
    text: str
    entities: Entities
    at: float
    original_text: str
    parse_mode: str | None = None
    reply_markup: Any = None
    disable_notification: bool = False
    message_thread_id: int | None = None
    edits: list[dict[str, Any]] = field(default_factory=list)
    photo: str = ""
    photo_sizes: list[dict[str, Any]] = field(default_factory=list)
    reply_to: int | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)

    def edit(self, text: str, entities: Entities, markup: Any) -> None:
        """Put new content in the place of the old one. Raises `ApiError`."""
        if not editable(self.reply_markup):
            raise bad("message can't be edited")
        if (text, entities, markup) == (self.text, self.entities, self.reply_markup):
            raise bad(NOT_MODIFIED)
        if (text, entities) != (self.text, self.entities):
            self.edits.append({"at": time.time(), "text": text, "entities": entities})
        self.text, self.entities, self.reply_markup = text, entities, markup

    def shown(self, token: str) -> dict[str, Any]:
        """It as the Bot API's Message."""
        shown: dict[str, Any] = {
            "message_id": self.message_id,
            "from": bot(token),
            "chat": chat(self.chat_id),
            "date": int(self.at),
        }
        words, entities = ("caption", "caption_entities") if self.photo else ("text", "entities")
        if self.photo:
            shown["photo"] = self.photo_sizes
        if self.text:
            shown[words] = self.text
        if self.entities:
            shown[entities] = self.entities
        if self.reply_markup is not None and "inline_keyboard" in self.reply_markup:
            shown["reply_markup"] = self.reply_markup
        if self.edits:
            shown["edit_date"] = int(self.edits[-1]["at"])
        return shown


@dataclass(frozen=True, slots=True)
class Written:
    """What a person wrote to the bot. `at` is in Unix seconds."""

    message_id: int
    chat_id: int
    text: str
    entities: Entities
    at: float
    user_id: int
    username: str = ""


class Messages:
    """All messages, under one sequence of ids."""

    def __init__(self) -> None:
        self._last_id = 0
        self._sent: OrderedDict[int, Message] = OrderedDict()
        self._written: deque[Written] = deque(maxlen=KEPT_WRITTEN)

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def add(self, message: Message) -> None:
        self._sent[message.message_id] = message
        while len(self._sent) > KEPT_MESSAGES:
            self._sent.popitem(last=False)

    def add_written(self, written: Written) -> None:
        self._written.append(written)

    def find(self, chat_id: int | str, message_id: int | None) -> Message | None:
        """A message the bot sent to that chat."""
        message = self._sent.get(message_id or 0)
        return message if message is not None and message.chat_id == chat_id else None

    def was(self, message_id: int) -> bool:
        """Whether there ever was such a message, whoever wrote it."""
        return 0 < message_id <= self._last_id

    def delete(self, chat_id: int | str, message_id: int | None) -> bool:
        message = self.find(chat_id, message_id)
        return message is not None and self._sent.pop(message.message_id) is message

    def sent(self) -> list[Message]:
        """What the bot sent, oldest first."""
        return list(self._sent.values())

    def everything(self) -> Iterable[Message | Written]:
        """What anybody sent, oldest first."""
        return sorted([*self._sent.values(), *self._written], key=lambda message: message.message_id)

    def __len__(self) -> int:
        return len(self._sent)

    def clear(self) -> None:
        self._sent.clear()
        self._written.clear()
