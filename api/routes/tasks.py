"""How a task stands: Celery's word while it keeps results, and the run's row, which stays."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from fastapi import APIRouter

from api.errors import ApiError
from api.models import FailedSymbol, Progress, RunningSymbol, TaskError, TaskStatus
from api.resources import Resources, Using
from operate import run_progress
from storage import reading
from telemetry.redaction import redact, secret_values

router = APIRouter(tags=["tasks"])

# Celery keeps results for a day
KEPT = timedelta(days=1)
REMEMBERED = 10_000
# a task that Celery has no word on
UNSEEN = "PENDING"
_ENDED = {"done": "SUCCESS", "failed": "FAILURE"}

# run and symbol by task id, which never change; None where it is no analysis
_known: OrderedDict[UUID, tuple[UUID, str] | None] = OrderedDict()


@router.get("/api/tasks/{task_id}")
async def read_task(task_id: UUID, using: Using) -> TaskStatus:
    """How far a task is, with its run's progress, and its result or error once it has ended.

    Of a sweep, whose task ends as soon as its analyses are queued, it is how far its run is.
    """
    status = await _told_by_celery(task_id)
    since = datetime.now(UTC) - KEPT
    if swept := await reading.run_of_task(using.engine, str(task_id), since):
        await _add_run(status, swept, using)
    elif analysis := await _analysis_of(using, task_id, since, seen=status.state != UNSEEN):
        await _add_analysis(status, *analysis, using)
    elif status.state == UNSEEN:
        raise ApiError(
            404, "not_found", f"no task {task_id} in the last day", "take the id from the answer of /api/analyze"
        )
    return _clean(status, using)


async def _told_by_celery(task_id: UUID) -> TaskStatus:
    """State, progress, and result or error. Raises what the result backend raises."""
    from tasks import standing

    told = (await standing.of([str(task_id)]))[str(task_id)]
    error = told.error and TaskError(type=type(told.error).__name__, message=str(told.error))
    status = TaskStatus(task_id=task_id, state=told.state, result=told.result, error=error)
    status.percent, status.step = 100 if told.ended else told.percent, told.step or None
    return status


async def _add_run(status: TaskStatus, run_id: UUID, using: Resources) -> None:
    """How far the run is that this sweep opened."""
    run, row = await run_progress(using.engine, run_id), await reading.run(using.engine, run_id)
    if run is None or row is None:
        return
    status.run_id, status.market, status.percent = run_id, run.market, run.percent
    status.progress = Progress.of(row)
    status.running = [RunningSymbol.model_validate(symbol) for symbol in run.running]
    status.failures = [FailedSymbol.model_validate(symbol) for symbol in run.failed]


async def _add_analysis(status: TaskStatus, run_id: UUID, symbol: str, using: Resources) -> None:
    row = await reading.symbol_of(using.engine, run_id, symbol)
    run = await reading.run(using.engine, run_id)
    if row is None or run is None:
        return
    status.run_id, status.market, status.symbol = run_id, row["market"], symbol
    status.progress, status.analysis_id = Progress.of(run), row["analysis_id"]
    if status.state not in _ENDED.values() and row["state"] in _ENDED:
        # Celery does not know yet, or knows no more
        status.state, status.percent, status.step = _ENDED[row["state"]], 100, None
        if row["outcome"]:
            status.result = {"outcome": row["outcome"], "market": row["market"], "symbol": symbol}
        status.error = _error_of(row["error"])


async def _analysis_of(using: Resources, task_id: UUID, since: datetime, *, seen: bool) -> tuple[UUID, str] | None:
    """Run and symbol of an analysis; its task id is made from them, so they are found by trying.

    What Celery has `seen` and is not found is another task, and stays one: an analysis has its row before its task.
    """
    if task_id not in _known:
        for run_id, symbol in await reading.symbols_since(using.engine, since):
            if _task_id_of(run_id, symbol) == str(task_id):
                _known[task_id] = (run_id, symbol)
                break
        else:
            if seen:
                _known[task_id] = None
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return _known.get(task_id)


def _task_id_of(run_id: UUID, symbol: str) -> str:
    from tasks.analysis import task_id_of

    return task_id_of(run_id, symbol)


def _error_of(text: str | None) -> TaskError | None:
    if text is None:
        return None
    kind, _, message = text.partition(": ")
    return TaskError(type=kind, message=message) if message else TaskError(type="Error", message=text)


def _clean(status: TaskStatus, using: Resources) -> TaskStatus:
    """Without secrets: an error's text is somebody else's."""
    secrets = secret_values(using.settings)
    if status.error is not None:
        status.error.message = redact(status.error.message, secrets)
    for failure in status.failures:
        failure.error = redact(failure.error, secrets)
    return status
