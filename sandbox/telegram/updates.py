"""What happened in the chats, until the bot has fetched it by long polling."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from sandbox.telegram import fields as parameters
from sandbox.telegram.errors import ApiError, bad
from sandbox.telegram.fields import Fields

LONGEST_POLL = 50.0
MOST_UPDATES = 100
KEPT = 1_000
CONFLICT = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"


class Updates:
    """The queue of one bot. Only one poll runs at a time: a second one ends the first with a 409."""

    def __init__(self) -> None:
        self._last_id = 0
        self._queue: deque[dict[str, Any]] = deque(maxlen=KEPT)
        # None: every kind of update
        self._allowed: frozenset[str] | None = None
        self._polls = 0
        self._waiting: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        """Queue an update, unless the bot has said that it wants none of that kind; returns it in any case."""
        self._last_id += 1
        update = {"update_id": self._last_id, kind: content}
        if self._allowed is None or kind in self._allowed:
            self._queue.append(update)
            self._wake()
        return update

    def drop(self) -> None:
        """Forget what is queued."""
        self._queue.clear()

    async def poll(self, fields: Fields) -> list[dict[str, Any]]:
        """Answer a `getUpdates`. Raises `ApiError`, also when another poll begins meanwhile."""
        self._allow(fields)
        self._forget(parameters.whole(fields, "offset") or 0)
        limit = parameters.whole(fields, "limit") or MOST_UPDATES
        until = time.monotonic() + min(max(parameters.whole(fields, "timeout") or 0, 0), LONGEST_POLL)
        self._polls += 1
        mine = self._polls
        self._wake()
        while not self._queue and (left := until - time.monotonic()) > 0:
            await self._news(left)
            if self._polls != mine:
                raise ApiError(409, CONFLICT)
        return list(self._queue)[: min(max(limit, 1), MOST_UPDATES)]

    def _allow(self, fields: Fields) -> None:
        allowed = parameters.structure(fields, "allowed_updates")
        if allowed is None or allowed == "":
            return
        if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
            raise bad("can't parse allowed_updates: expected an Array of String")
        self._allowed = frozenset(allowed) or None

    def _forget(self, offset: int) -> None:
        """What has an id below the offset is confirmed; a negative one keeps so many of the last."""
        while self._queue and (self._queue[0]["update_id"] < offset or (offset < 0 and len(self._queue) > -offset)):
            self._queue.popleft()

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def _news(self, seconds: float) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)
