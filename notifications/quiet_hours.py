"""The hours in which only what matters makes a sound. Pure: times go in, an answer comes out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time

from trading.periods import KST

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` on and before `end`, in KST; they may lie across midnight."""

    start: time
    end: time

    def contain(self, at: datetime) -> bool:
        """Whether an aware time is within them."""
        now = at.astimezone(KST).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def read_quiet_hours(text: str) -> QuietHours | None:
    """`23:00-07:00` as hours; None for an empty text. Raises `ValueError` with the form that is wanted."""
    if not text.strip():
        return None
    found = _HOURS.fullmatch(text.replace(" ", ""))
    if found is None:
        raise ValueError("must be two times of day in KST, for example 23:00-07:00, or empty for none")
    first, second, third, fourth = (int(number) for number in found.groups())
    start, end = time(first, second), time(third, fourth)
    if start == end:
        raise ValueError("must end at another time than it starts, for example 23:00-07:00, or be empty for none")
    return QuietHours(start, end)
