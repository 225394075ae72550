"""The edge of the bot: a fault of its own, once logged, is counted and told in the error chat, and the bot goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from notifications.reporter import ErrorReporter

log = logging.getLogger(__name__)


class Edge:
    """Takes what nobody else has caught. `reporter` stays the caller's to close."""

    def __init__(self, reporter: ErrorReporter) -> None:
        self._reporter = reporter
        self._tasks: set[asyncio.Task[Any]] = set()

    async def tell(self, error: Exception, *, task: str = "bot") -> None:
        """Count it in `bot_errors_total` and tell the error chat. Never raises."""
        await asyncio.to_thread(self._reporter.report, error, task=task)

    def start(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Do it beside everything else; what it fails with is logged, and told like any fault."""
        task = asyncio.create_task(self._guarded(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, seconds: float) -> None:
        """Give what is being done a moment to end, and cancel the rest, with a moment to say so."""
        for cancel in (False, True):
            if cancel:
                for task in self._tasks:
                    task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)

    async def _guarded(self, work: Coroutine[Any, Any, object], what: str) -> None:
        try:
            await work
        except Exception as error:
            log.exception("%s failed", what)
            await self.tell(error)
