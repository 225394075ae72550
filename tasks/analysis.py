"""The two tasks of the main job: a sweep of a market, and the analysis of one symbol with what follows from it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Any

from beat.schedule import slot
from beat.sessions import is_open
from settings import check_market
from storage import runs
from tasks import pipeline
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.lease import symbol_lease
from tasks.progress import tell
from tasks.runs import complete, fail
from telemetry.deliveries import sent_at
from telemetry.instruments import outcomes, sweeps
from telemetry.trace_ids import current_trace_id
from workers.runtime import Runtime, current_runtime

log = logging.getLogger(__name__)

# An analysis that waited this long in the queue is about a market that has moved on; the next sweep has it.
ANALYSIS_EXPIRES_SECONDS = 3_600

Result = dict[str, Any]


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask, bind=True, name="tasks.analysis.sweep", deadline=settings.sweep_deadline_seconds
)
async def sweep(self: Any, market: str) -> Result:
    """Open a run of `market` for the slot this message was published in and publish one analysis per symbol.

    Ends as `published`, as `duplicate` where the slot has its run already, or as `closed` outside the session.
    Raises `UnknownMarket`.
    """
    check_market(market)
    runtime = current_runtime()
    minutes = settings.sweep_minutes(market)
    sent = sent_at(self.request)
    # the publish time, not the clock: a message that is delivered again must find its own slot
    this_slot = slot(datetime.fromtimestamp(sent, UTC) if sent else datetime.now(UTC), minutes)
    session = is_open(market, datetime.now(UTC))
    if not (session.open or settings.ignore_market_hours):
        await runs.skip_run(
            runtime.engine,
            market=market,
            slot=this_slot,
            task_id=self.request.id,
            reason=session.reason,
            trace_id=current_trace_id(),
        )
        return ended(market, "closed", reason=session.reason)
    run = await runs.open_run(
        runtime.engine,
        market=market,
        slot=this_slot,
        task_id=self.request.id,
        symbols=settings.symbols(market),
        trace_id=current_trace_id(),
    )
    if run.duplicate:
        return ended(market, "duplicate", slot=this_slot.isoformat())
    pending = await runs.pending_symbols(runtime.engine, run.id)
    for number, symbol in enumerate(pending):
        await tell(number, len(pending), "publishing")
        await publish(market, symbol, run.id)
    await runs.mark_published(runtime.engine, run.id)
    return ended(market, "published", run_id=str(run.id))


async def publish(market: str, symbol: str, run_id: uuid.UUID) -> None:
    """Queue the analysis of one symbol; its task id is the same however often this is repeated."""
    send = partial(
        analyze_and_trade.apply_async,
        args=(market, symbol, str(run_id)),
        queue=market,
        task_id=task_id_of(run_id, symbol),
        expires=ANALYSIS_EXPIRES_SECONDS,
    )
    # Celery publishes with blocking calls
    await asyncio.to_thread(send)


def task_id_of(run_id: uuid.UUID, symbol: str) -> str:
    """The task id of one symbol's analysis in a run."""
    return str(uuid.uuid5(run_id, symbol))


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask,
    bind=True,
    name="tasks.analysis.analyze_and_trade",
    deadline=settings.analyze_deadline_seconds,
)
async def analyze_and_trade(self: Any, market: str, symbol: str, run_id: str) -> Result:
    """Analyse one symbol and trade on it, at most once per run, however often the message is delivered.

    Returns the named outcome. Every failure leaves as an exception, after the run's row says so.
    """
    check_market(market)
    outcome = await see_through(current_runtime(), market, symbol, uuid.UUID(run_id))
    return {"outcome": outcome, "market": market, "symbol": symbol}


async def see_through(runtime: Runtime, market: str, symbol: str, run: uuid.UUID) -> str:
    """What `analyze_and_trade` does; returns the outcome's name."""
    try:
        async with symbol_lease(runtime.redis, market, symbol, within=runtime.leases) as held:
            if not await runs.is_pending(runtime.engine, run, symbol):
                # whoever ended it may have been killed before it ended the run
                await complete(runtime, market, run)
                return "duplicate"
            outcome = await pipeline.analyse_and_trade(runtime, market, symbol, run) if held else "busy"
            await runs.finish_symbol(runtime.engine, run, symbol, outcome)
    except BaseException as error:
        await fail(runtime, market, run, symbol, error)
        raise
    outcomes.add(1, {"market": market, "outcome": outcome})
    await complete(runtime, market, run)
    return outcome


def ended(market: str, outcome: str, **details: str) -> Result:
    """Count how a sweep ended and make its result."""
    sweeps.add(1, {"market": market, "outcome": outcome})
    log.info("sweep of %s: %s %s", market, outcome, details)
    return {"outcome": outcome, "market": market, **details}
