"""Market sessions from dated data: is a market open at a given moment, and why not.

The data are files of `beat/data`, written by `python -m beat.generate_sessions`: a calendar library costs
75 MB and 1.5 s in each process, and knows neither every election nor the day of the college entrance test.
Regular sessions only; opening and closing auctions are part of the KRX session (09:00-15:30).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

DATA = Path(__file__).with_name("data")

# None trades around the clock
FILES: Mapping[str, str | None] = {"upbit": None, "kis": "krx.json", "yfinance": "us.json"}

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Session:
    """Whether a market is open; `reason` is a short text that says until when, or why not."""

    open: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening and closing time in the market's zone, and what the day is called if it is special."""

    opens: time
    closes: time
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """The sessions of one exchange between two dates, both included."""

    zone: ZoneInfo
    regular: Hours
    valid_from: date
    valid_until: date
    holidays: Mapping[date, str]
    special: Mapping[date, Hours]

    def hours(self, day: date) -> Hours | None:
        """The session of a day inside the validity, None if there is none."""
        if day.weekday() >= SATURDAY or day in self.holidays:
            return None
        return self.special.get(day, self.regular)


def is_open(market: str, at: datetime) -> Session:
    """Whether `market` is in its regular session at `at` (aware).

    Outside the dates the data cover the answer is closed, with the cure in the reason. The closing time
    itself is closed. Raises `ValueError` for an unknown market or a time without a zone.
    """
    if market not in FILES:
        raise ValueError(f"no sessions for market {market!r}: use one of {', '.join(FILES)}")
    if at.utcoffset() is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    file = FILES[market]
    if file is None:
        return Session(True, "open around the clock")
    calendar = load(file)
    local = at.astimezone(calendar.zone)
    day = local.date()
    if day > calendar.valid_until:
        return Session(False, f"no session data after {calendar.valid_until}: run python -m beat.generate_sessions")
    if day < calendar.valid_from:
        return Session(False, f"no session data before {calendar.valid_from}: run python -m beat.generate_sessions")
    hours = calendar.hours(day)
    if hours is None:
        if day.weekday() >= SATURDAY:
            return Session(False, f"closed: {day} is a {day:%A}")
        return Session(False, f"closed: {day} is {calendar.holidays[day]}")
    opens = datetime.combine(day, hours.opens, calendar.zone)
    closes = datetime.combine(day, hours.closes, calendar.zone)
    special = f" ({hours.name})" if hours.name else ""
    if local < opens:
        return Session(False, f"closed: opens at {_minute(opens)}{special}")
    if local >= closes:
        return Session(False, f"closed: closed at {_minute(closes)}{special}")
    return Session(True, f"open until {_minute(closes)}{special}")


@lru_cache(maxsize=len(FILES))
def load(file: str) -> Calendar:
    """The calendar in a data file."""
    data = json.loads((DATA / file).read_text(encoding="utf-8"))
    return Calendar(
        zone=ZoneInfo(data["timezone"]),
        regular=Hours(time.fromisoformat(data["open"]), time.fromisoformat(data["close"])),
        valid_from=date.fromisoformat(data["valid_from"]),
        valid_until=date.fromisoformat(data["valid_until"]),
        holidays={date.fromisoformat(day): name for day, name in data["holidays"].items()},
        special={
            date.fromisoformat(day): Hours(
                time.fromisoformat(entry["open"]), time.fromisoformat(entry["close"]), entry["name"]
            )
            for day, entry in data["special"].items()
        },
    )


def _minute(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
