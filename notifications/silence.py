"""When something that gives a sign regularly counts as silent. Pure: times go in, a verdict comes out."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["silent", "back"]

# A machine that slept for longer has seen nothing meanwhile.
LONGEST_PAUSE_SECONDS = 30.0


class Silence:
    """Watches the signs of one process. All times are Unix seconds.

    Only time in which a sign could have been seen counts: a watcher that has just started, or that could not look,
    begins anew.
    """

    def __init__(self, patience: float, since: float) -> None:
        self._patience = patience
        self._since = since
        self._ahead = self._ahead_seen = 0.0

    def begin_anew(self, now: float) -> None:
        """Nothing could be seen until now."""
        self._since = now

    def verdict(self, last: float, told: float | None, now: float) -> Verdict | None:
        """What is to be told: the last sign was at `last` (0 = never); `told` is what that was when it was told to be
        silent, None if it was not."""
        if told is None:
            return "silent" if self.due_in(last, now) <= 0 else None
        # a clock that was set back leaves the later sign with the earlier time
        return "back" if last != told and now - self._given(last, now) < self._patience else None

    def due_in(self, last: float, now: float) -> float:
        """Seconds until it is silent for too long, if it gives no sign."""
        return max(self._given(last, now), min(self._since, now)) + self._patience - now

    def _given(self, last: float, now: float) -> float:
        """When the sign was given: one from the future, by a clock that was ahead, no earlier than it is first seen."""
        if last <= now:
            return last
        if last != self._ahead:
            self._ahead, self._ahead_seen = last, now
        return min(self._ahead_seen, now)
