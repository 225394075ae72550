"""Calls of Telegram's Bot API as it answers them, without a library in between: for finding out what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from settings import Settings


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `description` says why not, if `ok` is false. What is no Bot API answers with neither."""

    status: int
    ok: bool
    result: Any = None
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


class BotApi:
    """The bot of TELEGRAM_TOKEN. A call raises what aiohttp raises for the network, `OSError` or `TimeoutError`."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._url = f"{settings.telegram_base_url}/bot{settings.telegram_token.get_secret_value().strip()}"

    async def call(
        self, method: str, fields: Mapping[str, Any] | None = None, *, patience: float | None = None
    ) -> Reply:
        """Call a method; `patience` is in seconds, without it the session's holds."""
        timeout = self._session.timeout if patience is None else aiohttp.ClientTimeout(total=patience)
        async with self._session.post(f"{self._url}/{method}", json=fields or {}, timeout=timeout) as response:
            try:
                body = await response.json(content_type=None)
            except ValueError:
                body = None
            if not isinstance(body, dict):
                return Reply(response.status, ok=False)
            parameters = body.get("parameters")
            return Reply(
                response.status,
                ok=body.get("ok") is True,
                result=body.get("result"),
                description=str(body.get("description", "")),
                parameters=parameters if isinstance(parameters, dict) else {},
            )
