"""When things run. All times are UTC; whether a market is open is asked in the task, not here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import crontab, schedule

from settings import MARKETS, Settings

HEARTBEAT_SECONDS = 30
# A sweep that only ever runs at start has no period to expire after.
START_ONLY_EXPIRES_SECONDS = 3_600

Entry = dict[str, Any]


def sweep_entry(settings: Settings, market: str) -> Entry:
    """The schedule entry of one market's sweep; it expires when the next one is due."""
    minutes = settings.sweep_minutes(market)
    return {
        "task": "tasks.analysis.sweep",
        "schedule": every(minutes or 1440),
        "args": (market,),
        "options": {"queue": market, "expires": minutes * 60 or START_ONLY_EXPIRES_SECONDS},
    }


def sweep_entries(settings: Settings) -> dict[str, Entry]:
    """The sweeps of all markets that have symbols, by entry name."""
    return {f"sweep-{market}": sweep_entry(settings, market) for market in MARKETS if settings.symbols(market)}


def static_schedule(settings: Settings) -> dict[str, Entry]:
    """What the beat fires: a sweep per market, unless its period is 0, and a heartbeat through each queue."""
    entries = {
        name: entry for name, entry in sweep_entries(settings).items() if settings.sweep_minutes(entry["args"][0])
    }
    for market in MARKETS:
        if settings.symbols(market):
            entries[f"heartbeat-{market}"] = {
                "task": "tasks.heartbeat.heartbeat",
                "schedule": schedule(timedelta(seconds=HEARTBEAT_SECONDS)),
                "args": (market,),
                "options": {"queue": market, "expires": HEARTBEAT_SECONDS},
            }
    return entries


def every(minutes: int) -> schedule:
    """A schedule on the clock (:00, :30) where the period divides the hour or the day, else an interval."""
    if 60 % minutes == 0:
        return crontab(minute=f"*/{minutes}")
    hours, rest = divmod(minutes, 60)
    if rest == 0 and 24 % hours == 0:
        return crontab(minute="0", hour=f"*/{hours}")
    return schedule(timedelta(minutes=minutes))


def slot(at: datetime, minutes: int) -> datetime:
    """The start of the period of `minutes` that `at` falls in: one sweep of a market per slot.

    A market that is swept only at start (0 minutes) has a slot per second: every start may sweep.
    """
    period = minutes * 60 or 1
    return datetime.fromtimestamp(int(at.timestamp()) // period * period, UTC)
