"""The same slots in this process alone, for the time that Redis is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from workers.limits.rules import Bucket

# another process may be counting by itself as well
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot to wait for, `wait` seconds from now; or, with `refusal` `full` or `closed`, none within the time.

    `lane` is to be shown to Redis after the wait; a slot of this process alone has none.
    """

    wait: float
    lane: int = 0
    refusal: str = ""


class LocalSlots:
    """Evenly spaced slots at half the rate. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        self._closed: dict[str, float] = {}

    def reserve(self, bucket: Bucket, longest: float, held: Slot | None) -> Slot:
        """The next free slot, the one held if no gate was closed meanwhile, or a refusal."""
        now = self._clock()
        gate = max(self._closed.get(bucket.gate, 0.0), self._closed.get(bucket.venue_gate, 0.0))
        if held is not None and not held.lane and gate <= now:
            return Slot(0.0)
        free = self._next.get(bucket.lanes, 0.0)
        at = max(now, free, gate)
        if at - now > longest:
            return Slot(at - now, refusal="closed" if gate > free else "full")
        self._next[bucket.lanes] = at + bucket.window / bucket.requests / SHARE
        return Slot(at - now)

    def closed_for(self, bucket: Bucket) -> dict[str, float]:
        """The gates of the bucket that are closed, and for how many seconds yet."""
        now = self._clock()
        left = {gate: self._closed.get(gate, 0.0) - now for gate in (bucket.gate, bucket.venue_gate)}
        return {gate: seconds for gate, seconds in left.items() if seconds > 0}

    def close(self, gate: str, seconds: float) -> None:
        """Close a gate; one that is closed for longer stays so."""
        self._closed[gate] = max(self._closed.get(gate, 0.0), self._clock() + seconds)
