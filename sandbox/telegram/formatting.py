"""Text and the entities that format it, counted in UTF-16 units as Telegram counts."""

from __future__ import annotations

from typing import Any

from sandbox.telegram import fields as parameters
from sandbox.telegram.errors import bad
from sandbox.telegram.fields import Fields

MOST_TEXT_UNITS = 4096
MOST_CAPTION_UNITS = 1024

Entities = list[dict[str, Any]]


def text_of(fields: Fields) -> tuple[str, Entities]:
    """The text of a message with its entities. Raises `ApiError`."""
    text = str(fields.get("text") or "")
    if not text.strip():
        raise bad("message text is empty")
    if units(text) > MOST_TEXT_UNITS:
        raise bad("message is too long")
    return text, _entities(fields, "entities", text)


def caption_of(fields: Fields) -> tuple[str, Entities]:
    """The caption of a photo with its entities; there need not be one. Raises `ApiError`."""
    caption = str(fields.get("caption") or "")
    if units(caption) > MOST_CAPTION_UNITS:
        raise bad("message caption is too long")
    return caption, _entities(fields, "caption_entities", caption)


def units(text: str) -> int:
    """The length of `text` in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _entities(fields: Fields, name: str, text: str) -> Entities:
    entities = parameters.structure(fields, name) or []
    if not isinstance(entities, list):
        raise bad("can't parse entities: expected an Array")
    length, inside = units(text), _inside_symbols(text)
    for entity in entities:
        if not isinstance(entity, dict) or not entity.get("type"):
            raise bad("can't parse entities: MessageEntity must have a type")
        start = parameters.whole(entity, "offset") or 0
        end = start + (parameters.whole(entity, "length") or 0)
        if start < 0 or end > length:
            raise bad(
                f"entity beginning at UTF-16 offset {start} ends after the end of the text at UTF-16 offset {length}"
            )
        if start in inside or end in inside:
            raise bad(f"entity beginning at UTF-16 offset {start} ends in a middle of a UTF-16 symbol")
    return entities


def _inside_symbols(text: str) -> set[int]:
    """The UTF-16 offsets between the two halves of a surrogate pair."""
    inside, offset = set(), 0
    for character in text:
        if ord(character) > 0xFFFF:
            inside.add(offset + 1)
            offset += 1
        offset += 1
    return inside
