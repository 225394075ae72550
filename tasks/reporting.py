"""From Celery's failure signal to the error reporter."""

from __future__ import annotations

from typing import Any

from notifications.reporter import ErrorReporter
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
    """Tell the error chat what failed, where, and in which trace; runs in the thread of the task."""
    if exception is None:
        return
    reporter.report(
        exception,
        task=sender.name,
        task_id=task_id,
        market=str(args[0]) if args else "",
        symbol=str(args[1]) if len(args) > 1 else "",
        queue=(sender.request.delivery_info or {}).get("routing_key", ""),
        worker=worker,
        trace_id=current_trace_id(),
    )
