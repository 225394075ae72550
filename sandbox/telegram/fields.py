"""The parameters of a call, which come in the query, in a form or in a JSON body."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from sandbox.telegram.errors import bad

Fields = dict[str, Any]


async def read(request: web.Request) -> Fields:
    """All parameters of a call; a file is aiohttp's `FileField`. Raises `ApiError`."""
    fields: Fields = dict(request.query)
    if request.content_type == "application/json" and request.body_exists:
        try:
            body = await request.json()
        except ValueError:
            raise bad("can't parse request body as JSON") from None
        if not isinstance(body, dict):
            raise bad("object expected as the request body")
        return fields | body
    return fields | dict(await request.post())


def chat_id(fields: Fields) -> int | str:
    """The chat a call is for: a number, or the name of a public one. Raises `ApiError`."""
    text = str(fields.get("chat_id") or "").strip()
    if not text:
        raise bad("chat_id is empty")
    if text.startswith("@") and len(text) > 1:
        return text
    try:
        return int(text)
    except ValueError:
        raise bad("chat not found") from None


def whole(fields: Fields, name: str) -> int | None:
    """A whole number, or None where there is none. Raises `ApiError`."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise bad(f"invalid {name} specified") from None


def true(fields: Fields, name: str) -> bool:
    """A flag: forms carry it as text."""
    return str(fields.get(name, "")).lower() in ("true", "1")


def structure(fields: Fields, name: str) -> Any:
    """A parameter that forms carry as JSON text and JSON bodies as itself. Raises `ApiError`."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise bad(f"can't parse {name} JSON object") from None
