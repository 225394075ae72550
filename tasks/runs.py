"""How a run comes to its end, whatever became of its symbols."""

from __future__ import annotations

import logging
import uuid

from sqlalchemy.exc import SQLAlchemyError

from storage import run_summaries, runs
from storage.errors import StorageError
from tasks.desks import notifier_of
from tasks.losses import check_losses
from tasks.portfolio import take_snapshot
from tasks.turns import raise_all, turn
from workers.errors import VenueError
from workers.runtime import Runtime

log = logging.getLogger(__name__)


class Expired(Exception):
    """A task waited in its queue until it was of no use any more, and was not run."""


async def complete(runtime: Runtime, market: str, run_id: uuid.UUID) -> None:
    """Whoever ends the last symbol of a run closes it, values the portfolio, looks at its losses and sums it up."""
    if not await runs.finish_run_if_complete(runtime.engine, run_id):
        return
    # each also where another fails, which is told by itself
    errors: list[Exception] = []
    with turn(errors, f"the snapshot of {market}"):
        await take_snapshot(runtime, market, run_id)
    with turn(errors, f"the look at the losses of {market}"):
        await check_losses(runtime, market, runtime.now())
    with turn(errors, f"the summary of run {run_id}"):
        await sum_up(runtime, run_id)
    raise_all(errors, market)


async def sum_up(runtime: Runtime, run_id: uuid.UUID) -> None:
    """Tell what the run came to; of one symbol, which somebody asked for, its analysis says it all."""
    summary = await run_summaries.summary(runtime.engine, run_id)
    if summary.symbols > 1:
        await notifier_of(runtime).run_summary(summary, run_id=run_id)


async def fail(runtime: Runtime, market: str, run_id: uuid.UUID, symbol: str, error: BaseException) -> None:
    """Write down that a symbol failed. Never raises for database or venue: the failure itself must stay visible.

    A symbol whose end could not be written is published again by `tasks.lost`.
    """
    try:
        await runs.fail_symbol(runtime.engine, run_id, symbol, f"{type(error).__name__}: {error}")
        await complete(runtime, market, run_id)
    except* (SQLAlchemyError, OSError, StorageError, VenueError):
        log.exception("the failure of %s %s could not be written into its run", market, symbol)
