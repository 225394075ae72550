"""What a run came to, counted from its rows."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.errors import NotFound
from storage.tables import analyses, orders, run_symbols, runs
from trading.runs import RunSummary
from trading.types import Decision, Side


async def summary(engine: AsyncEngine, run_id: UUID) -> RunSummary:
    """The run as it stands. Raises `NotFound`."""
    seconds = func.extract("epoch", func.coalesce(runs.c.finished_at, func.now()) - runs.c.opened_at)
    symbols = select(run_symbols.c.symbol, run_symbols.c.state).where(run_symbols.c.run_id == run_id)
    decisions = (
        select(analyses.c.decision, func.count()).where(analyses.c.run_id == run_id).group_by(analyses.c.decision)
    )
    # what the venue has given an id has reached its book
    accepted = (
        select(orders.c.side, func.count())
        .where(orders.c.run_id == run_id, orders.c.venue_order_id.is_not(None))
        .group_by(orders.c.side)
    )
    async with engine.connect() as connection:
        run = (
            await connection.execute(select(runs.c.market, runs.c.slot, seconds).where(runs.c.id == run_id))
        ).one_or_none()
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        states = (await connection.execute(symbols.order_by(run_symbols.c.symbol))).all()
        decided = {Decision(decision): int(count) for decision, count in await connection.execute(decisions)}
        placed = {Side(side): int(count) for side, count in await connection.execute(accepted)}
    return RunSummary(
        market=run.market,
        slot=run.slot,
        symbols=len(states),
        decisions=decided,
        orders=placed,
        failed=tuple(symbol for symbol, state in states if state == "failed"),
        seconds=float(run[2]),
    )
