"""What run rows say of the time the system was up.

A sweep that was due and has no row was not carried out, whatever the cause. It is the only trace that a machine without
power leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil

from trading.reports import Gap, Sweeps


@dataclass(frozen=True, slots=True)
class Swept:
    """A run of a market: its slot, when it began, whether it has ended, and whether the market was closed."""

    market: str
    slot: datetime
    opened_at: datetime
    ended: bool
    closed: bool


def sweeps(
    runs: Iterable[Swept], minutes: Mapping[str, int], first: Mapping[str, datetime], start: datetime, end: datetime
) -> dict[str, Sweeps]:
    """By market the sweeps whose slots lie from `start` until before `end`.

    `minutes` is a market's period, 0 for none; `first` its first slot ever, before which none was due. A run that
    somebody asked for between two slots is not one of them.
    """
    found: dict[str, Sweeps] = {}
    inside = [run for run in runs if start <= run.slot < end]
    for market in sorted({*minutes, *(run.market for run in inside)}):
        seconds = minutes.get(market, 0) * 60
        due = [
            run
            for run in inside
            if run.market == market and run.ended and (not seconds or run.slot.timestamp() % seconds == 0)
        ]
        expected = None if not seconds else _slots(max(start, first.get(market, end)), end, seconds)
        found[market] = Sweeps(expected, len(due), sum(run.closed for run in due))
    return found


def longest_gap(opened: Collection[datetime], before: datetime | None, start: datetime, end: datetime) -> Gap | None:
    """The longest time from `start` to `end` in which no run began.

    `before` is when the last one before `start` did; without one, time counts from the first run. None where nothing
    ran.
    """
    times = sorted(at for at in opened if start <= at < end)
    if before is None and not times:
        return None
    edges = [*([] if before is None else [start]), *times, end]
    since, until = max(pairwise(edges), key=lambda pair: pair[1] - pair[0])
    return Gap(since, until)


def _slots(start: datetime, end: datetime, seconds: int) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = ceil((start - epoch) / timedelta(seconds=seconds))
    return max(ceil((end - epoch) / timedelta(seconds=seconds)) - first, 0)
