"""A client of the sandbox's control API, for the demo and the tests."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

# never through the proxy of the environment
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SandboxError(Exception):
    """The sandbox does not answer, or refuses what it was asked; one line."""


class SandboxControl:
    """The sandbox's control API: what it received, and the faults to order."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """The JSON at `/control/{path}`. Raises `SandboxError`."""
        return self._send(urllib.request.Request(f"{self.url}/control/{path}"))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post JSON to `/control/{path}`. Raises `SandboxError`."""
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._send(urllib.request.Request(f"{self.url}/control/{path}", data, headers, method="POST"))

    def delete(self, path: str) -> None:
        """Delete what is at `/control/{path}`. Raises `SandboxError`."""
        self._send(urllib.request.Request(f"{self.url}/control/{path}", method="DELETE"))

    def _send(self, request: urllib.request.Request) -> Any:
        try:
            with _DIRECT.open(request, timeout=10) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            raise SandboxError(f"the sandbox refused {request.selector}: {error.read().decode()}") from None
        except (OSError, http.client.HTTPException) as error:
            raise SandboxError(f"the sandbox does not answer at {request.selector}: {error}") from None


def announced_url(line: str) -> str | None:
    """The address in the line the sandbox prints when it is ready."""
    if not line.startswith("{"):
        return None
    try:
        url = json.loads(line).get("url")
    except ValueError:
        return None
    return url if isinstance(url, str) else None


def answers(url: str) -> bool:
    """Whether a GET of `url` on this machine succeeds."""
    try:
        with _DIRECT.open(url, timeout=2) as reply:
            return bool(reply.status == HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False
