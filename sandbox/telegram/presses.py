"""Buttons that were pressed: the bot has to answer each of them, once and in time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sandbox.telegram import fields as parameters
from sandbox.telegram.errors import bad
from sandbox.telegram.fields import Fields
from sandbox.telegram.markup import buttons
from sandbox.telegram.messages import Message

# The real server does not say how long; the clients show their waiting wheel for about that long.
ANSWER_SECONDS = 30.0
MOST_ANSWER_CHARACTERS = 200
TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


class NoSuchButton(LookupError):
    """There is no such message, or no button of that label under it that could be pressed."""


@dataclass(slots=True)
class Press:
    """One press; `answer` is what the bot said to it."""

    id: str
    message: Message
    label: str
    user_id: int
    at: float = field(default_factory=time.monotonic)
    answer: dict[str, Any] | None = None


class Presses:
    """All presses by the id of their callback query; `seconds` is the time there is to answer."""

    def __init__(self, seconds: float = ANSWER_SECONDS) -> None:
        self.seconds = seconds
        self._presses: dict[str, Press] = {}

    def add(self, message: Message, label: str, user_id: int) -> Press:
        number = len(self._presses) + 1
        press = Press(f"{user_id:d}{number:012d}", message, label, user_id)
        self._presses[press.id] = press
        return press

    def answer(self, fields: Fields) -> bool:
        """An `answerCallbackQuery`. Raises `ApiError`."""
        text = str(fields.get("text") or "")
        if len(text) > MOST_ANSWER_CHARACTERS:
            raise bad("MESSAGE_TOO_LONG")
        press = self._presses.get(str(fields.get("callback_query_id") or ""))
        if press is None or press.answer is not None or time.monotonic() - press.at > self.seconds:
            raise bad(TOO_OLD)
        press.answer = {
            "label": press.label,
            "text": text,
            "show_alert": parameters.true(fields, "show_alert"),
            "at": time.time(),
        }
        press.message.answers.append(press.answer)
        return True

    def listed(self) -> list[dict[str, Any]]:
        """All presses, oldest first, with what the bot answered."""
        return [
            {
                "id": press.id,
                "chat_id": press.message.chat_id,
                "message_id": press.message.message_id,
                "label": press.label,
                "user_id": press.user_id,
                "answer": press.answer,
            }
            for press in self._presses.values()
        ]


def data_of(message: Message, label: str) -> str:
    """The `callback_data` of the button with that label. Raises `NoSuchButton`."""
    there = list(buttons(message.reply_markup))
    for button in there:
        if button["text"] == label:
            if "callback_data" not in button:
                raise NoSuchButton(
                    f"the button {label!r} opens {button.get('url', 'something')!r}: the bot gets nothing"
                )
            return str(button["callback_data"])
    labels = ", ".join(repr(button["text"]) for button in there) or "no button"
    raise NoSuchButton(f"message {message.message_id} has no button {label!r}, but {labels}")
