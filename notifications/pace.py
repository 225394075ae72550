"""How fast Telegram may be used."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages per second to one chat after a burst, and to all chats together.

    Telegram publishes no hard numbers: its FAQ says to stay under one a second per chat, short bursts
    tolerated, and about 30 overall. What counts in the end is the `retry_after` of its answers.

    Where more than `fold_above` different errors wait for a chat, they become one digest, which counts as
    `digest_cost` messages, so that a flood that goes on does not fill the chat with digests.
    """

    per_chat: float = 1.0
    burst: int = 5
    overall: float = 30.0
    fold_above: int = 10
    digest_cost: float = 3.0


@dataclass(slots=True)
class Bucket:
    """A token bucket that may be overdrawn by as much as it holds, for what must not wait."""

    rate: float
    size: float
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = self.size, self.clock()

    def wait(self) -> float:
        """Seconds until one may be taken, 0 if now."""
        self._refill()
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self.rate

    def may_overdraw(self) -> bool:
        """Whether something critical may be sent now all the same."""
        self._refill()
        return self._tokens > -self.size

    def take(self, messages: float = 1.0) -> None:
        """Count so many messages."""
        self._refill()
        self._tokens -= messages

    def _refill(self) -> None:
        now = self.clock()
        self._tokens = min(self.size, self._tokens + (now - self._at) * self.rate)
        self._at = now
