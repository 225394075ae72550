"""How a task stands: Celery's word while it keeps results, and the run's row, which stays."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter

from api.errors import ApiError
from api.models import Progress, TaskError, TaskStatus
from api.resources import Resources, Using
from storage import reading
from telemetry.redaction import redact, secret_values

router = APIRouter(tags=["tasks"])

# Celery keeps results for a day
KEPT = timedelta(days=1)
REMEMBERED = 10_000
PATIENCE_SECONDS = 5.0
# a task that Celery has no word on
UNSEEN = "PENDING"
_ENDED = {"done": "SUCCESS", "failed": "FAILURE"}

# run and symbol by task id, which never change
_known: OrderedDict[UUID, tuple[UUID, str]] = OrderedDict()


@router.get("/api/tasks/{task_id}")
async def read_task(task_id: UUID, using: Using) -> TaskStatus:
    """How a task stands, with its run's progress, and its result or error once it has ended."""
    told = await _told_by_celery(task_id)
    status = TaskStatus(task_id=task_id, state=told["state"], result=told.get("result"), error=told.get("error"))
    analysis = await _analysis_of(using, task_id)
    if analysis is None:
        if status.state == UNSEEN:
            raise ApiError(
                404, "not_found", f"no task {task_id} in the last day", "take the id from the answer of /api/analyze"
            )
        return _clean(status, using)
    run_id, symbol = analysis
    row = await reading.symbol_of(using.engine, run_id, symbol)
    run = await reading.run(using.engine, run_id)
    if row is not None and run is not None:
        status.run_id, status.market, status.symbol = run_id, row["market"], symbol
        status.progress, status.analysis_id = Progress.of(run), row["analysis_id"]
        if status.state not in _ENDED.values() and row["state"] in _ENDED:
            # Celery does not know yet, or knows no more
            status.state = _ENDED[row["state"]]
            if row["outcome"]:
                status.result = {"outcome": row["outcome"], "market": row["market"], "symbol": symbol}
            status.error = _error_of(row["error"])
    return _clean(status, using)


async def _told_by_celery(task_id: UUID) -> dict[str, Any]:
    """State, and result or error. Raises what the result backend raises."""
    from tasks.app import app

    async with asyncio.timeout(PATIENCE_SECONDS):
        # Celery asks with blocking calls
        meta = await asyncio.to_thread(app.backend.get_task_meta, str(task_id))
    state, result = str(meta["status"]), meta.get("result")
    if isinstance(result, BaseException):
        return {"state": state, "error": TaskError(type=type(result).__name__, message=str(result))}
    # of a task that runs, Celery keeps where
    return {"state": state, "result": result if state == "SUCCESS" else None}


async def _analysis_of(using: Resources, task_id: UUID) -> tuple[UUID, str] | None:
    """Run and symbol of an analysis; its task id is made from them, so they are found by trying."""
    from tasks.analysis import task_id_of

    if task_id not in _known:
        since = datetime.now(UTC) - KEPT
        for run_id, symbol in await reading.symbols_since(using.engine, since):
            if task_id_of(run_id, symbol) == str(task_id):
                _known[task_id] = (run_id, symbol)
                break
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return _known.get(task_id)


def _error_of(text: str | None) -> TaskError | None:
    if text is None:
        return None
    kind, _, message = text.partition(": ")
    return TaskError(type=kind, message=message) if message else TaskError(type="Error", message=text)


def _clean(status: TaskStatus, using: Resources) -> TaskStatus:
    """Without secrets: an error's text is somebody else's."""
    if status.error is not None:
        status.error.message = redact(status.error.message, secret_values(using.settings))
    return status
