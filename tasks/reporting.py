"""From Celery's failure signal to the error reporter."""

from __future__ import annotations

from typing import Any

from notifications.reporter import ErrorReporter
from tasks.base import AsyncTask
from tasks.redeliveries import LostTooOften
from telemetry.trace_ids import current_trace_id


def report_failure(
    reporter: ErrorReporter,
    worker: str,
    sender: Any = None,
    task_id: str = "",
    exception: BaseException | None = None,
    args: tuple[Any, ...] = (),
    **_: Any,
) -> None:
    """Tell the error chat what failed, where, and in which trace; runs in the thread of the task.

    Of several at once each is told: they are of different symbols.
    """
    if exception is None:
        return
    for error in single(exception):
        reporter.report(
            error,
            task=sender.name,
            task_id=task_id,
            market=str(args[0]) if args else "",
            symbol=str(args[1]) if len(args) > 1 else "",
            queue=(sender.request.delivery_info or {}).get("routing_key", ""),
            worker=worker,
            trace_id=current_trace_id(),
            # what killed workers will not be tried again by itself
            level="CRITICAL" if isinstance(error, LostTooOften) else "ERROR",
        )


def single(error: BaseException) -> list[BaseException]:
    """The errors of a group, and of the groups in it; of any other error, itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [one for inner in error.exceptions for one in single(inner)]


def report_unstored_failure(
    reporter: ErrorReporter,
    worker: str,
    sender: Any = None,
    task_id: str = "",
    exception: BaseException | None = None,
    args: tuple[Any, ...] = (),
    **_: Any,
) -> None:
    """The same for a failure whose result could not be stored: then Celery sends its internal error's signal only.

    That is how every failure ends while Redis is away. A success that could not be stored is no failure of the task.
    """
    failure = raised_by_the_task(exception)
    if failure is not None:
        report_failure(reporter, worker, sender=sender, task_id=task_id, exception=failure, args=args)


def raised_by_the_task(error: BaseException | None) -> BaseException | None:
    """Of an error and those it was raised in the handling of, the one that left the task; None if none did."""
    while error is not None:
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_code is AsyncTask.__call__.__code__:
                return error
            step = step.tb_next
        error = error.__context__
    return None
