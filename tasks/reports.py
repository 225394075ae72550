"""What a day and a week earned, told once each when they are over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from storage import pnl_reports, portfolio, trades
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.desks import notifier_of
from tasks.pipeline import ASSET_TYPES
from telemetry.instruments import portfolio_profit_krw
from trading.reports import AccountHistory, Period, ProfitReport, last_ended, profit_report
from workers.runtime import Runtime, current_runtime

Result = dict[str, Any]


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
        show(period, {row["currency"]: Decimal(row["realised"]) for row in made.body["currencies"]})
        return {"period": period, "starts_at": starts_at.isoformat(), "outcome": "made before"}
    report = await report_of(runtime, period, starts_at)
    show(period, {of.currency: of.realised for of in report.currencies})
    if report.currencies:
        # told before it is stored: a crash in between tells it again, and the ledger knows it
        await notifier_of(runtime).profit_report(report)
    await pnl_reports.store_once(runtime.engine, period, starts_at, asdict(report))
    return {"period": period, "starts_at": starts_at.isoformat(), "outcome": "made"}


def show(period: Period, realised: Mapping[str, Decimal]) -> None:
    """The seeds' gauge, which knows KRW only."""
    if "KRW" in realised:
        portfolio_profit_krw.set(float(realised["KRW"]), {"period": period})


async def report_of(runtime: Runtime, period: Period, starts_at: datetime) -> ProfitReport:
    """The report of the day or week that begins at `starts_at`, from the fills and the snapshots."""
    engine = runtime.engine
    histories = [
        AccountHistory(market, newest.currency, await portfolio.equity(engine, market, starts_at))
        for market, newest in (await portfolio.latest(engine)).items()
    ]
    return profit_report(period, starts_at, await trades.trades(engine, ASSET_TYPES), histories)
