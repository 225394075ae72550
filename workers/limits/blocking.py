"""The limiter for code that blocks: threads that run beside its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, TimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

from workers.errors import Throttled, TimedOut
from workers.limits.limiter import REDIS_SECONDS, Limiter
from workers.limits.rules import bucket_of

if TYPE_CHECKING:
    from workers.calls import Call

T = TypeVar("T")

# what a loop that is busy may add
SLACK_SECONDS = 2 * REDIS_SECONDS


class BlockingGate:
    """`Limiter` for any number of threads other than that of its loop, which must be running."""

    def __init__(self, limiter: Limiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop

    def enter(self, call: Call, url: str, max_wait: float) -> float:
        """Seconds waited for a slot. Raises `Throttled` at once if it would be more than `max_wait`."""
        bucket = bucket_of(call, url)
        if bucket is None:
            return 0.0
        return self._run(self._limiter.enter(bucket, call, max_wait=max_wait), call, max_wait).waited

    def refused(self, call: Call, url: str, status: int, refusal: Throttled) -> None:
        """Close the gate for all processes; see `Limiter.refused`."""
        bucket = bucket_of(call, url)
        if bucket is not None:
            self._run(self._limiter.refused(bucket, status, refusal), call, 0.0)

    def _run(self, work: Coroutine[Any, Any, T], call: Call, seconds: float) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds + SLACK_SECONDS)
        except (TimeoutError, CancelledError):
            future.cancel()
            raise TimedOut(f"{call}: not sent, because the process was too busy or is stopping") from None
