"""What the accounts are worth when a run has ended: a row per run, and the seeds' gauges."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal

from storage import portfolio
from storage.portfolio import Opening, Snapshot
from tasks.turns import raise_all
from tasks.valuation import last_known, value_now
from telemetry.instruments import portfolio_profit_rate, portfolio_value_krw
from trading.portfolio import profit_rate, value
from trading.types import Account, Holdings
from workers.runtime import Runtime


async def equity(runtime: Runtime, market: str, account: Account) -> Decimal:
    """Cash and positions of the market's account, in its currency; a position that cannot be quoted now counts at its
    last price, for no order, and no exit above all, is stopped by the quote of another symbol."""
    broker = await runtime.broker(market)
    holdings = await broker.holdings()
    if holdings is None:
        # nothing was traded in it yet
        return account.cash
    return holdings.cash + positions_value(holdings, await last_known(runtime, market, holdings.positions))


def positions_value(holdings: Holdings, prices: Mapping[str, Decimal]) -> Decimal:
    """What all positions are worth; one that was never analysed counts at its average price, 0 where none is known."""
    held = [(position, prices.get(symbol, position.average_price)) for symbol, position in holdings.positions.items()]
    return value(Decimal(0), held)


async def take_snapshot(runtime: Runtime, market: str, run_id: uuid.UUID) -> None:
    """Store what cash and positions of the market's account are worth, and show the sum of the KRW accounts.

    Where a position could not be quoted, its last price is stored, for the losses of all others count; then what the
    quote raised is raised: the circuit breaker does not see that position move.
    """
    broker = await runtime.broker(market)
    holdings = await broker.holdings()
    if holdings is None:
        return
    valued = await value_now(runtime, market, holdings.positions)
    await portfolio.snapshot(
        runtime.engine,
        run_id=run_id,
        market=market,
        currency=holdings.currency,
        cash=holdings.cash,
        positions_value=positions_value(holdings, valued.prices),
        at=runtime.now(),
    )
    now = in_krw((await portfolio.latest(runtime.engine)).values())
    start = in_krw((await portfolio.opening(runtime.engine)).values())
    portfolio_value_krw.set(float(now))
    portfolio_profit_rate.set(float(profit_rate(now, start)))
    raise_all(list(valued.errors.values()), f"the valuation of {market}")


def in_krw(accounts: Iterable[Snapshot | Opening]) -> Decimal:
    """The sum of the accounts that are in KRW; the others are not converted."""
    return sum((account.total for account in accounts if account.currency == "KRW"), Decimal(0))
