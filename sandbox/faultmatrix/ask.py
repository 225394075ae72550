"""GET requests to servers of this machine, never through a proxy of the environment."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoAnswer(Exception):
    """A server did not answer, or not with JSON; one line."""


def ask_json(url: str, seconds: float = 10.0) -> Any:
    """The JSON at `url`. Raises `NoAnswer`."""
    try:
        with _DIRECT.open(url, timeout=seconds) as reply:
            return json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"{url.partition('?')[0]}: {error}") from None


def ask_status(url: str, token: str = "", seconds: float = 30.0) -> int:
    """The status of a GET, 0 where there was no answer."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with _DIRECT.open(request, timeout=seconds) as reply:
            reply.read()
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return 0
