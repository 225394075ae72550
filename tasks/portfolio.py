"""What the accounts are worth when a run has ended: a row per run, and the seeds' gauges."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from storage import analyses, portfolio
from storage.portfolio import Opening, Snapshot
from telemetry.instruments import portfolio_profit_rate, portfolio_value_krw
from trading.portfolio import profit_rate, value
from workers.runtime import Runtime


async def take_snapshot(runtime: Runtime, market: str, run_id: uuid.UUID) -> None:
    """Store cash and positions of the market's account at the last prices, and show the sum of the KRW accounts."""
    holdings = await runtime.broker(market).holdings()
    if holdings is None:
        return
    prices = await analyses.last_prices(runtime.engine, market)
    held = [(position, prices[symbol]) for symbol, position in holdings.positions.items()]
    await portfolio.snapshot(
        runtime.engine,
        run_id=run_id,
        market=market,
        currency=holdings.currency,
        cash=holdings.cash,
        positions_value=value(Decimal(0), held),
        at=datetime.now(UTC),
    )
    now = in_krw((await portfolio.latest(runtime.engine)).values())
    start = in_krw((await portfolio.opening(runtime.engine)).values())
    portfolio_value_krw.set(float(now))
    portfolio_profit_rate.set(float(profit_rate(now, start)))


def in_krw(accounts: Iterable[Snapshot | Opening]) -> Decimal:
    """The sum of the accounts that are in KRW; the others are not converted."""
    return sum((account.total for account in accounts if account.currency == "KRW"), Decimal(0))
