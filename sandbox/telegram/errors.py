"""Refusals of the Bot API, in the words of the real server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web


class ApiError(Exception):
    """A refusal of the Bot API: its code, description and parameters."""

    def __init__(self, code: int, description: str, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.parameters = parameters


def bad(description: str) -> ApiError:
    """A 400."""
    return ApiError(400, f"Bad Request: {description}")


def refusal(code: int, description: str, parameters: Mapping[str, Any] | None = None) -> web.Response:
    """The answer that tells a refusal."""
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters is not None:
        body["parameters"] = dict(parameters)
    return web.json_response(body, status=code)
