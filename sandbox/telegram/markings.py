"""A message's text as HTML, formatted by its entities; whatever the text holds, it stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from sandbox.telegram.formatting import Entities, units

TAGS = {
    "bold": "b",
    "italic": "i",
    "underline": "u",
    "strikethrough": "s",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "expandable_blockquote": "blockquote",
}
BLOCKS = ("pre", "blockquote", "expandable_blockquote")
LINKS = ("mention", "hashtag", "cashtag", "bot_command", "email", "phone_number")
_ADDRESS = re.compile(r"https?://[^\s<>\"']+")
_SAFE = ("http://", "https://", "tg://")


def marked(text: str, entities: Entities) -> str:
    """The text as HTML. Entities that overlap without nesting are split, as Telegram does."""
    data = text.encode("utf-16-le", "surrogatepass")
    spans = sorted(
        ((int(one["offset"]), int(one["offset"]) + int(one["length"]), one) for one in entities),
        key=lambda span: (span[0], -span[1]),
    )
    return _part(data, 0, units(text), spans)


def _part(data: bytes, start: int, end: int, spans: Sequence[tuple[int, int, dict[str, Any]]]) -> str:
    parts, position, rest = [], start, list(spans)
    while rest:
        first, last, entity = rest.pop(0)
        first = max(first, position)
        if first >= end or first >= last:
            continue
        if last > end:
            last = end
        inner = [(low, min(high, last), one) for low, high, one in rest if low < last]
        # what goes on behind this entity comes again there
        rest = [(max(low, last), high, one) for low, high, one in rest if high > last]
        parts.append(_plain(data, position, first))
        opening, closing = _tag(entity, _text(data, first, last))
        parts.append(opening + _part(data, first, last, inner) + closing)
        # the line break behind a block is the block's own
        position = last + 1 if entity["type"] in BLOCKS and last < end and _text(data, last, last + 1) == "\n" else last
    parts.append(_plain(data, position, end))
    return "".join(parts)


def _tag(entity: dict[str, Any], text: str) -> tuple[str, str]:
    kind = entity["type"]
    if kind in TAGS:
        return f"<{TAGS[kind]}>", f"</{TAGS[kind]}>"
    if kind == "spoiler":
        return "<span class='spoiler'>", "</span>"
    address = str(entity.get("url", "")) if kind == "text_link" else text
    if kind in ("text_link", "url") and address.lower().startswith(_SAFE):
        return f"<a rel='noreferrer' href='{escape(address, quote=True)}'>", "</a>"
    return ("<span class='link'>", "</span>") if kind in LINKS else ("", "")


def _plain(data: bytes, start: int, end: int) -> str:
    text, parts, position = _text(data, start, end), [], 0
    for found in _ADDRESS.finditer(text):
        parts.append(escape(text[position : found.start()]))
        parts.append(f"<span class='link'>{escape(found[0])}</span>")
        position = found.end()
    return "".join([*parts, escape(text[position:])])


def _text(data: bytes, start: int, end: int) -> str:
    return data[2 * start : 2 * end].decode("utf-16-le", "replace")
