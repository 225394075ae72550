"""The clock of a replay."""

from __future__ import annotations

from datetime import datetime, timedelta

TICK = timedelta(microseconds=1)


class Clock:
    """A clock that stands until it is set, but for a microsecond at each look: no two rows are of the same moment, so
    their order is the same in every replay."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """The simulated time, aware; later at every look."""
        self._at += TICK
        return self._at

    def set(self, at: datetime) -> None:
        """Go on to a time; one that is not later than now changes nothing."""
        self._at = max(self._at, at)
