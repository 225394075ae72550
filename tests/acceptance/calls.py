"""Asking the API as a client does."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from world import World

READ, OPERATE = "read-token-of-the-tests", "operate-token-of-the-tests"
TOKENS = {"API_PORT": "0", "API_READ_TOKEN": READ, "API_OPERATE_TOKEN": OPERATE, "API_REQUESTS_PER_MINUTE": "100000"}

_URL = re.compile(r"the API is at (http://[^\s\"]+)")


@dataclass(frozen=True)
class Answer:
    """What came back; the names of `headers` in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass(frozen=True)
class Client:
    """`autotrader api` at `url`."""

    url: str

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = READ, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request; a `body` that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + urllib.parse.quote(path, safe="/?&=%:+"), data, method=method)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.add_header(name, value)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return _read(reply.status, reply)
        except urllib.error.HTTPError as reply:
            return _read(reply.code, reply)

    def get(self, path: str, token: str | None = READ) -> Answer:
        return self.ask("GET", path, token=token)

    def post(self, path: str, body: Any = None, token: str | None = OPERATE) -> Answer:
        return self.ask("POST", path, body, token)


def _read(status: int, reply: Any) -> Answer:
    return Answer(status, {name.lower(): value for name, value in reply.headers.items()}, reply.read())


def start_api(world: World, **env: str) -> Client:
    """Start `autotrader api` on a free port."""
    world.start("api", "cli", "api", **{**TOKENS, **env})

    def announced(line: str) -> str | None:
        found = _URL.search(line)
        return found.group(1) if found else None

    return Client(world.processes.wait_for_line("api", announced, 40))
