"""Tasks that fail, last or block on purpose; a worker of the fault matrix loads them with `-I`, no other ever does."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from celery import shared_task
from kombu.utils.imports import symbol_by_name

# By name: the class belongs to the process that loads this module, and the sandbox is no part of it.
_ON_THE_LOOP = symbol_by_name("tasks.base:AsyncTask")
LONGEST_SECONDS = 120.0


class FaultInjected(Exception):
    """Raised on purpose by the fault matrix."""


@shared_task(base=_ON_THE_LOOP, bind=True, name="sandbox.faultmatrix.fail", deadline=LONGEST_SECONDS)  # type: ignore[untyped-decorator]
async def fail(self: Any, words: str, after: float = 0.0) -> None:
    """Raise `FaultInjected` with these words after some seconds."""
    await asyncio.sleep(after)
    raise FaultInjected(words)


@shared_task(base=_ON_THE_LOOP, bind=True, name="sandbox.faultmatrix.block", deadline=LONGEST_SECONDS)  # type: ignore[untyped-decorator]
async def block(self: Any, seconds: float) -> None:
    """Keep the event loop of the worker from running anything else, as a blocking call in a coroutine does.

    Only at its first delivery: it comes back once the watchdog has ended the worker, and would block the next one.
    """
    if (self.request.delivery_info or {}).get("redelivered"):
        return
    time.sleep(seconds)  # noqa: ASYNC251 - the fault itself
