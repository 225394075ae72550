"""How far this machine's clock is off the venues', proven by the `Date` of their replies.

A reply dated `date` (whole seconds, cut off) was written between its sending and its arrival here. So the offset, the
venue's clock less ours, lies from `date - received` to `date + 1 s - sent`: however slow the network is, it only widens
what is possible. What several replies leave possible together is soon narrower than a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from telemetry.instruments import clock_offset

ZERO = timedelta(0)
# the header has no fractions (RFC 9110, 5.6.7)
RESOLUTION = timedelta(seconds=1)
# clocks drift, some by 100 ms in that time, and an offset is soon corrected
WINDOW = timedelta(minutes=10)
REPLIES = 100
# one reply alone may come from anywhere: a proxy, a host behind the venue's balancer with a clock of its own
PROOF = 3


@dataclass(frozen=True, slots=True)
class Possible:
    """The offsets that one reply, received at `at`, leaves possible; `lowest` to `highest`, both included."""

    lowest: timedelta
    highest: timedelta
    at: datetime


class ClockWatch:
    """What the replies of the venues say of this machine's clock. For one event loop."""

    def __init__(self) -> None:
        self._heard: dict[str, list[Possible]] = {}

    def hear(self, venue: str, headers: Mapping[str, str], sent: datetime, received: datetime) -> None:
        """Take note of a reply to a request that was begun at `sent`, by this machine's clock, aware.

        One without a readable date says nothing, nor does one out of a cache, which has the date it was stored with.
        """
        date = None if "Age" in headers else parse_date(headers.get("Date", ""))
        if date is None:
            return
        possible = Possible(date - received, date + RESOLUTION - sent, received)
        heard = [*near(self._heard.get(venue, ()), received), possible]
        lowest, highest = together(heard)
        if lowest > highest:
            # one of the two clocks was set since then, or while we waited: start anew
            heard = [possible] if possible.lowest <= possible.highest else []
        elif len(heard) >= PROOF:
            # ours less theirs: the other way round
            clock_offset.set(0.0 - nearest_to_zero(lowest, highest).total_seconds(), {"service": venue})
        self._heard[venue] = heard[-REPLIES:]

    def offset(self, now: datetime) -> timedelta | None:
        """How far the venues' clocks are at least ahead of ours (below 0: behind), or None where that is not proven.

        Of several venues two have to prove it, so that one venue's wrong clock says nothing; of one alone it is
        believed. `now` is aware; replies more than ten minutes away from it do not count.
        """
        proven = []
        for heard in self._heard.values():
            recent = near(heard, now)
            if len(recent) >= PROOF:
                proven.append(nearest_to_zero(*together(recent)))
        needed = min(2, len(proven))
        ahead = sorted((offset for offset in proven if offset > ZERO), reverse=True)
        behind = sorted(offset for offset in proven if offset < ZERO)
        agreed = [side[needed - 1] for side in (ahead, behind) if len(side) >= needed > 0]
        return max(agreed, key=abs, default=None)


def near(replies: Iterable[Possible], now: datetime) -> list[Possible]:
    """Those of the last ten minutes, or as much ahead of `now`: a caller's may be older than its requests."""
    return [reply for reply in replies if abs(now - reply.at) <= WINDOW]


def together(replies: Iterable[Possible]) -> tuple[timedelta, timedelta]:
    """The lowest and the highest offset that all replies leave possible; none is where the lowest is higher."""
    known = list(replies)
    return max(reply.lowest for reply in known), min(reply.highest for reply in known)


def nearest_to_zero(lowest: timedelta, highest: timedelta) -> timedelta:
    """The smallest offset from `lowest` to `highest`, 0 where that is one of them."""
    return max(lowest, min(highest, ZERO))


def parse_date(header: str) -> datetime | None:
    """The time of a `Date` header in UTC, or None if it is none."""
    try:
        date = parsedate_to_datetime(header)
        return None if date.utcoffset() is None else date.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        # the parser of the standard library has more than one way to refuse
        return None
