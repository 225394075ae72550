"""A service outside looks after the notifier: it is asked every minute, and says so when it is not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import httpx

log = logging.getLogger(__name__)

PING_SECONDS = 60.0
PING_TIMEOUT_SECONDS = 10.0


class DeadManPing:
    """Asks an address every minute, so that a service outside misses it when the notifier is gone or cannot tell.

    `trouble` says why alerts cannot be told just now, or "": the address is not asked then. It holds a secret and is
    never logged.
    """

    def __init__(self, url: str, trouble: Callable[[], str]) -> None:
        self._url = url
        self._trouble = trouble
        self._failing = ""

    async def watch(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(timeout=PING_TIMEOUT_SECONDS, follow_redirects=True) as client:
            while True:
                started = time.monotonic()
                await self._ping(client)
                await asyncio.sleep(max(PING_SECONDS - (time.monotonic() - started), 0))

    async def _ping(self, client: httpx.AsyncClient) -> None:
        failing = self._trouble()
        if not failing:
            try:
                status = (await client.get(self._url)).status_code
                failing = f"it answers {status}" if status >= httpx.codes.BAD_REQUEST else ""
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failing = type(error).__name__
        if failing and not self._failing:
            log.error("the dead-man address is not reached (%s); check DEAD_MAN_PING_URL", failing)
        elif self._failing and not failing:
            log.info("the dead-man address is reached again")
        self._failing = failing
