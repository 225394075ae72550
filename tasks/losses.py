"""The circuit breaker: what an account lost in the day and the week, and the row that lets it only reduce."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from storage import portfolio, trading_states
from tasks.desks import notifier_of
from tasks.strategies import limits
from telemetry import instruments
from trading.breaker import breaker
from trading.periods import kst_week, starts
from trading.state import TradingState, tightens
from workers.runtime import Runtime

log = logging.getLogger(__name__)

BY = "circuit breaker"
LAST_MOMENT = timedelta(seconds=30)


async def check_losses(runtime: Runtime, market: str, now: datetime) -> TradingState | None:
    """Put a market whose account has lost too much into `reducing`, and count and tell it once; the row, if new.

    Computed from the stored snapshots, so a restart changes nothing. An operator's stricter row stays as it is.
    """
    engine = runtime.engine
    points = await portfolio.equity(engine, market, starts(kst_week(now)))
    resumed_at = await trading_states.resumed_at(engine, market)
    row = breaker(points, (), limits(runtime.settings), now, market=market, resumed_at=resumed_at)
    if row is None or not tightens(row, await trading_states.in_force(engine, now), now):
        return None
    if row.until is not None and row.until - now < LAST_MOMENT:
        # it would be over before it is written
        return None
    log.warning("%s: %s", market, row.reason)
    # told first: a crash in between tells it again, and the ledger knows it
    await notifier_of(runtime).circuit_breaker(row, at=now)
    if await trading_states.tighten(engine, row, by=BY, now=now, at=runtime.written_at()) is not None:
        # an operator was quicker, and is stricter
        return None
    instruments.risk_circuit_breaker.add(1, {"scope": market})
    return row
