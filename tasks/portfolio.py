"""What the paper accounts are worth when a run has ended: a row per run, and the seeds' gauges."""

from __future__ import annotations

import uuid

from storage import analyses, portfolio
from telemetry.instruments import portfolio_profit_rate, portfolio_value_krw
from trading.portfolio import profit_rate
from workers.runtime import Runtime


async def take_snapshot(runtime: Runtime, market: str, run_id: uuid.UUID) -> None:
    """Store cash and positions of the market's account at the last prices, and show the sum of the KRW accounts."""
    prices = await analyses.last_prices(runtime.engine, market)
    await portfolio.snapshot(runtime.engine, run_id=run_id, market=market, prices=prices)
    totals = await portfolio.totals(runtime.engine, "KRW")
    portfolio_value_krw.set(float(totals.now))
    portfolio_profit_rate.set(float(profit_rate(totals.now, totals.opening)))
