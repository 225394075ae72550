"""Analyses whose message is gone: published again while they are of use, else ended with an error.

A broker can lose a message when a worker is killed right after taking it, and a failure that could not be written
while the database was away leaves its symbol pending. The database knows both; nothing here can do work twice, since
an analysis that has ended ends a second delivery as a duplicate.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from settings import check_market
from storage import runs
from storage.runs import Pending
from tasks.analysis import ANALYSIS_EXPIRES_SECONDS, analyze_and_trade, publish, task_id_of
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.runs import fail
from telemetry.celery_spans import stand_in_for_lost
from telemetry.instruments import outcomes
from workers.runtime import current_runtime

log = logging.getLogger(__name__)

# by then a broker has given back what a dead worker had taken, and that is in the queue or done
GRACE_SECONDS = 15
PUBLISHED_KEY = "autotrader:published-again:{run}:{symbol}"


class Lost(Exception):
    """Analyses came to no end in time, and nobody said why; their messages are gone."""


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask, bind=True, name="tasks.lost.find", deadline=settings.sweep_deadline_seconds, ignore_result=True
)
async def find(self: Any, market: str) -> dict[str, Any]:
    """Look for symbols of the market's runs that are pending though no message of theirs can be under way.

    Raises `Lost` for those that are too old to be worth an analysis, after they are ended.
    """
    check_market(market)
    runtime = current_runtime()
    patience = settings.visibility_timeout_seconds + GRACE_SECONDS
    left = await runs.left_pending(runtime.engine, market, patience)
    # what waits in the queue is not lost, it is late
    in_queue = await asyncio.to_thread(waiting, market) if left else 0
    if not left or in_queue:
        return {"market": market, "published_again": 0}
    too_old = [row for row in left if row.age_seconds > ANALYSIS_EXPIRES_SECONDS + patience]
    published = 0
    for row in left:
        if row in too_old:
            await trace_loss(market, row)
            await fail(runtime, market, row.run_id, row.symbol, Lost("its message is gone"))
        elif await runtime.redis.set(key_of(row), "1", nx=True, ex=patience):
            log.warning("%s of run %s: no message of it is left, published again", row.symbol, row.run_id)
            outcomes.add(1, {"market": market, "outcome": "published_again"})
            await trace_loss(market, row)
            await publish(market, row.symbol, row.run_id)
            published += 1
    if too_old:
        raise Lost(f"{market}: {', '.join(row.symbol for row in too_old)} came to no end; is a worker of {market} up?")
    return {"market": market, "published_again": published}


async def trace_loss(market: str, row: Pending) -> None:
    """Leave a span for the attempt that ended with its worker, if one had begun."""
    await asyncio.to_thread(stand_in_for_lost, analyze_and_trade, task_id_of(row.run_id, row.symbol), market)


def key_of(row: Pending) -> str:
    return PUBLISHED_KEY.format(run=row.run_id, symbol=row.symbol)


def waiting(market: str) -> int:
    """Messages in the market's queue. Blocks; raises what the broker does where it is away."""
    with app.connection_for_read() as connection:
        try:
            return int(connection.default_channel.queue_declare(queue=market, passive=True).message_count)
        except connection.channel_errors:
            # an empty queue of Redis does not exist
            return 0
