"""What a day and a week came to, told once each when they are over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from redis.exceptions import RedisError

from notifications.told import told_between
from settings import MARKETS
from storage import pnl_reports
from storage.daily import report_of
from tasks import pictures
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.desks import notifier_of
from telemetry.instruments import portfolio_profit_krw
from trading.reports import Period, Report, bounds, last_ended
from workers.runtime import Runtime, current_runtime

Result = dict[str, Any]

log = logging.getLogger(__name__)


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask, bind=True, name="tasks.reports.profit", deadline=settings.sweep_deadline_seconds
)
async def profit(self: Any, period: Period) -> Result:
    """Make, store and tell the report of the last day or week that is over, unless it was made before.

    Fired more often than once a period, so that one missed while nothing ran is made up for.
    """
    runtime = current_runtime()
    starts_at = last_ended(period, datetime.now(UTC))
    made = await pnl_reports.latest(runtime.engine, period)
    if made is not None and made.starts_at >= starts_at:
        # a process that was started since shows it too
        show(period, made.realised())
        return {"period": period, "starts_at": starts_at.isoformat(), "outcome": "made before"}
    report = await made_of(runtime, period, starts_at)
    show(period, report.realised())
    if report.markets:
        # told before it is stored: a crash in between tells it again, and the ledger knows it
        await notifier_of(runtime).report(report, picture=await pictures.of_report(runtime, report))
    await pnl_reports.store_once(runtime.engine, period, starts_at, asdict(report))
    return {"period": period, "starts_at": starts_at.isoformat(), "outcome": "made"}


def show(period: Period, realised: Mapping[str, Decimal]) -> None:
    """The seeds' gauge, which knows KRW only."""
    if "KRW" in realised:
        portfolio_profit_krw.set(float(realised["KRW"]), {"period": period})


async def made_of(runtime: Runtime, period: Period, starts_at: datetime) -> Report:
    """The report of the day or week that begins at `starts_at`, with the alerts that were told in it."""
    minutes = {market: runtime.settings.sweep_minutes(market) for market in MARKETS if runtime.settings.symbols(market)}
    sent = await alerts_sent(runtime, *bounds(period, starts_at))
    return await report_of(runtime.engine, period, starts_at, minutes, alerts_sent=sent)


async def alerts_sent(runtime: Runtime, start: datetime, end: datetime) -> int | None:
    """How many alerts were told, or None while Redis does not say."""
    try:
        return await told_between(runtime.redis, start, end)
    except (RedisError, OSError) as error:
        log.warning("the report does not say how many alerts were sent: %s", error)
        return None
