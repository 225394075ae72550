"""A Telegram message as data: its text and the entities that format it.

Entities rather than a parse mode, because no character of an error text can then break the message.
Telegram counts offsets, lengths and its limit of 4096 in UTF-16 units.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Self
from urllib.parse import urlsplit

from telemetry.redaction import redact

TELEGRAM_LIMIT = 4096
# What is left is for the line with the count, which is added at delivery.
TEXT_LIMIT = 4000
# Of a text that stands under a picture, in the same message; the line with the count comes on top of it.
TELEGRAM_CAPTION_LIMIT = 1024
CAPTION_LIMIT = 960
ACTION_BYTES = 64
LABEL_LIMIT = 64

_UNSENDABLE = re.compile("[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]")
# A cut never leaves these at the start of what was cut off: they belong to the character before.
_JOINED = frozenset("\u200d\ufe0e\ufe0f\u20e3") | frozenset(map(chr, range(0x1F3FB, 0x1F400)))


class Priority(IntEnum):
    """Lower goes first; a critical alert goes before everything and does not wait for the pace."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2


class Chat(StrEnum):
    TRADE = "trade"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Entity:
    """`type` is Telegram's name; offset and length are in UTF-16 units."""

    type: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a message: `action` is what the bot gets when it is pressed (1-64 bytes), or `url` is opened."""

    label: str
    action: str = ""
    url: str = ""

    def can_be_sent(self) -> bool:
        """Whether Telegram takes it: with words on it, and one thing to do. It refuses addresses without a domain."""
        if not sendable(self.label).strip() or bool(self.action) is bool(self.url):
            return False
        if self.action:
            return self.action == sendable(self.action) and len(self.action.encode()) <= ACTION_BYTES
        try:
            address = urlsplit(self.url)
            host = address.hostname or ""
        except ValueError:
            return False
        sound = self.url.isprintable() and " " not in self.url
        return sound and address.scheme in ("http", "https") and "." in host


@dataclass(frozen=True, slots=True)
class Message:
    """What is shown, how urgent it is, and to which of the two chats it goes.

    `buttons` are rows of buttons. `picture` names a PNG kept in Redis (`notifications.pictures`) that goes above the
    text; where it is gone by then, the text goes alone.
    """

    text: str
    entities: tuple[Entity, ...]
    priority: Priority
    chat: Chat
    buttons: tuple[tuple[Button, ...], ...] = ()
    picture: str = ""

    def redacted(self, secrets: Iterable[str]) -> Message:
        """Without secrets. The formatting goes too where one was found, since its offsets no longer fit; so does a
        button whose action or address holds one, since it would lead nowhere."""
        secrets = tuple(secrets)
        clean, buttons = redact(self.text, secrets), _redacted_buttons(self.buttons, secrets)
        if clean != self.text:
            return replace(self, text=cut(clean, TEXT_LIMIT), entities=(), buttons=buttons)
        return self if buttons == self.buttons else replace(self, buttons=buttons)

    def title(self) -> Message:
        """Its first line, as the caption of a picture whose text follows in a message of its own."""
        text = cut(self.text.partition("\n")[0], CAPTION_LIMIT)
        return replace(self, text=text, entities=clip(self.entities, utf16_length(text)), buttons=())

    def caption(self) -> Message:
        """As much of it as Telegram takes under a picture."""
        text = cut(self.text, TELEGRAM_CAPTION_LIMIT)
        return replace(self, text=text, entities=clip(self.entities, utf16_length(text)))


@dataclass(slots=True)
class Text:
    """Builds a text piece by piece and notes where the formatting goes."""

    _parts: list[str] = field(default_factory=list)
    _entities: list[Entity] = field(default_factory=list)
    _length: int = 0

    def add(self, piece: str, entity: str = "") -> Self:
        """Append `piece`, formatted as `entity` ("bold", "code", "pre") if one is named."""
        piece = sendable(piece)
        length = utf16_length(piece)
        if entity and length:
            self._entities.append(Entity(entity, self._length, length))
        self._parts.append(piece)
        self._length += length
        return self

    def line(self, label: str, value: str, entity: str = "") -> Self:
        """Append `label: value` and a line break, the label bold."""
        return self.add(label + ":", "bold").add(" ").add(value, entity).add("\n")

    def message(
        self, priority: Priority, chat: Chat, *, buttons: tuple[tuple[Button, ...], ...] = (), picture: str = ""
    ) -> Message:
        """The finished message, cut to `TEXT_LIMIT`, its entities clipped to what is left."""
        text = cut("".join(self._parts).rstrip(), TEXT_LIMIT)
        return Message(text, clip(self._entities, utf16_length(text)), priority, chat, buttons, picture)


def sendable_rows(buttons: tuple[tuple[Button, ...], ...]) -> tuple[tuple[Button, ...], ...]:
    """The rows of buttons that Telegram takes: an odd one must not keep the message back."""
    rows = (
        tuple(replace(one, label=cut(sendable(one.label), LABEL_LIMIT)) for one in row if one.can_be_sent())
        for row in buttons
    )
    return tuple(row for row in rows if row)


def utf16_length(text: str) -> int:
    """The length of `text` as Telegram counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def sendable(text: str) -> str:
    """`text` with what neither JSON nor Telegram carries (lone surrogates, control characters) replaced."""
    return _UNSENDABLE.sub("\ufffd", text.replace("\r\n", "\n"))


def cut(text: str, limit: int) -> str:
    """The start of `text`, at most `limit` UTF-16 units, with "…" where something was cut off."""
    if utf16_length(text) <= limit:
        return text
    return text[: _fitting(text, limit - 1)].rstrip() + "…"


def cut_start(text: str, limit: int) -> str:
    """The end of `text`, at most `limit` UTF-16 units, in whole lines if it has any that fit, after "…"."""
    if utf16_length(text) <= limit:
        return text
    kept = text[-(limit - 2) :]
    while utf16_length(kept) > limit - 2:
        kept = kept[utf16_length(kept) - (limit - 2) :]
    _, line_break, whole = kept.partition("\n")
    return "…\n" + whole if line_break and whole else "…" + kept


def clip(entities: Iterable[Entity], length: int) -> tuple[Entity, ...]:
    """The entities that lie within the first `length` units, the last one shortened."""
    return tuple(
        entity if entity.offset + entity.length <= length else replace(entity, length=length - entity.offset)
        for entity in entities
        if entity.offset < length
    )


def _redacted_buttons(
    buttons: tuple[tuple[Button, ...], ...], secrets: tuple[str, ...]
) -> tuple[tuple[Button, ...], ...]:
    rows = (
        tuple(
            replace(button, label=redact(button.label, secrets))
            for button in row
            if redact(button.action, secrets) == button.action and redact(button.url, secrets) == button.url
        )
        for row in buttons
    )
    return tuple(row for row in rows if row)


def _fitting(text: str, limit: int) -> int:
    """How many characters of `text` fit into `limit` units, without tearing one that has parts."""
    units = 0
    for index, character in enumerate(text):
        units += 2 if character > "\uffff" else 1
        if units > limit:
            end = index
            while end and (text[end] in _JOINED or text[end - 1] == "\u200d"):
                end -= 1
            return end
    return len(text)
