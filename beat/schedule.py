"""When things run. All times are UTC; whether a market is open is asked in the task, not here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import crontab, schedule

from settings import MARKETS, Settings, orders_queue

HEARTBEAT_SECONDS = 30
LOST_SECONDS = 30
# a look at the orders that was not taken for so many periods is worth no more than the next one
MISSED_PERIODS = 3
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
    """What the beat fires: a sweep per market, unless its period is 0, a heartbeat through each queue, and
    what watches orders and positions."""
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
            entries |= orders_entries(settings, market)
    served = next((market for market in MARKETS if settings.symbols(market)), None)
    return entries if served is None else entries | report_entries(served) | session_entries(settings)


def orders_entries(settings: Settings, market: str) -> dict[str, Entry]:
    """What watches the orders and positions of one market, in a queue of its own: no waiting analysis goes before."""
    periods = {"resolve": ("tasks.orders.resolve", settings.resolve_seconds)}
    periods["guard"] = ("tasks.guard.guard", settings.guard_seconds)
    periods["lost"] = ("tasks.lost.find", LOST_SECONDS)
    return {
        f"{name}-{market}": {
            "task": task,
            "schedule": schedule(timedelta(seconds=seconds)),
            "args": (market,),
            "options": {"queue": orders_queue(market), "expires": seconds * MISSED_PERIODS},
        }
        for name, (task, seconds) in periods.items()
    }


def report_entries(market: str) -> dict[str, Entry]:
    """What the last day and week came to, which end at 09:00 in Korea; asked for every hour, made once, so that none is
    missed for a pause."""
    return {
        f"profit-{period}": {
            "task": "tasks.reports.profit",
            # a minute after the hour: what was filled in its last second is known by then
            "schedule": crontab(minute=str(minute)),
            "args": (period,),
            "options": {"queue": orders_queue(market), "expires": 3_600},
        }
        for period, minute in (("day", 1), ("week", 2))
    }


def session_entries(settings: Settings) -> dict[str, Entry]:
    """A look at KIS's own calendar each morning in Korea, where an account can ask for it; mock trading has none."""
    if not (settings.kis_symbols and settings.kis_account.get_secret_value() and settings.kis_environment == "real"):
        return {}
    return {
        "sessions-kis": {
            "task": "tasks.sessions.compare",
            "schedule": crontab(minute="30", hour="22"),
            "options": {"queue": orders_queue("kis"), "expires": 3_600},
        }
    }


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
