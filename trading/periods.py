"""Days and weeks as the accounts count them: KST days, ISO weeks from Monday 00:00 KST."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

# Korea has had no daylight saving time since 1988, so the offset says it all
KST = timezone(timedelta(hours=9), "KST")

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


def kst_day(at: datetime) -> date:
    """The KST date of an aware time. Raises `ValueError` for a naive one."""
    if at.utcoffset() is None:
        raise ValueError(f"{at} has no time zone; use aware UTC times")
    return at.astimezone(KST).date()


def kst_week(at: datetime) -> date:
    """The Monday of the KST week an aware time lies in. Raises `ValueError` for a naive one."""
    day = kst_day(at)
    return day - timedelta(days=day.weekday())


def starts(day: date) -> datetime:
    """00:00 KST of a date."""
    return datetime(day.year, day.month, day.day, tzinfo=KST)
