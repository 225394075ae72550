"""Spans of running tasks: OpenTelemetry's Celery instrumentation, corrected and completed.

Measured on 0.66b1: `celery.hostname` is overwritten by the publisher's name, because the attribute list holds
`origin` after `hostname`; publishing is traced in two signals of which the second may never come (`publishing` does
that instead); and a task whose worker is killed has no span at all.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import signals
from celery.exceptions import BackendError
from kombu.exceptions import OperationalError
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor, celery_getter, utils
from opentelemetry.propagate import extract
from opentelemetry.trace import Status, StatusCode
from redis import RedisError

from telemetry.deliveries import comes_back, lost_worker, queue_of, queue_wait
from telemetry.instruments import task_redelivered

log = logging.getLogger(__name__)
_tracer = trace.get_tracer("autotrader.celery")

BACKEND_ERRORS = (BackendError, OperationalError, RedisError, OSError)


def instrument() -> None:
    """Trace every run of this process."""
    kept = tuple(key for key in utils.CELERY_CONTEXT_ATTRIBUTES if key != "origin")
    utils.CELERY_CONTEXT_ATTRIBUTES = kept  # type: ignore[assignment]
    instrumentor = CeleryInstrumentor()  # type: ignore[no-untyped-call]
    instrumentor.instrument()
    signals.before_task_publish.disconnect(instrumentor._trace_before_publish)
    signals.after_task_publish.disconnect(instrumentor._trace_after_publish)
    # after the instrumentation's, whose span is the current one by then
    signals.task_prerun.connect(_complete_run, weak=False)
    signals.task_failure.connect(_name_error, weak=False)


def uninstrument() -> None:
    """Undo `instrument`."""
    signals.task_prerun.disconnect(_complete_run)
    signals.task_failure.disconnect(_name_error)
    CeleryInstrumentor().uninstrument()  # type: ignore[no-untyped-call]


def stand_in_for_lost(task: Any, task_id: str, queue: str, context: Any = None) -> bool:
    """Emit the span that a killed worker could not: of no length, since nobody knows how far it came.

    False where no worker had begun, or the result backend does not say. Without a `context` it belongs to the current
    span.
    """
    try:
        worker = lost_worker(task, task_id)
        if worker is not None and not task.ignore_result:
            # the next attempt writes its own beginning, and if none begins this one is not told again
            task.backend.forget(task_id)
    except BACKEND_ERRORS as error:
        # what is only to be seen must not keep the task from its work
        log.warning("whether %s was lost with a worker is not known: %s", task_id, type(error).__name__)
        return False
    if worker is None:
        return False
    attributes = {
        **_run_attributes(task, queue),
        "celery.state": "LOST",
        "celery.hostname": worker,
        "messaging.message.id": task_id,
        "error.type": "WorkerLost",
    }
    span = _tracer.start_span(f"run/{task.name}", context, trace.SpanKind.CONSUMER, attributes)
    span.set_status(Status(StatusCode.ERROR, "its worker was lost before the task had ended"))
    span.end()
    return True


def _complete_run(task_id: str = "", task: Any = None, **_: Any) -> None:
    request, span = task.request, trace.get_current_span()
    queue = queue_of(request)
    again = bool((request.delivery_info or {}).get("redelivered"))
    span.set_attributes({**_run_attributes(task, queue), "celery.redelivered": again})
    wait = queue_wait(request, time.time())
    if wait is not None:
        span.set_attribute("celery.queue_wait_s", round(wait, 3))
    if comes_back(task) and stand_in_for_lost(task, task_id, queue, extract(request, getter=celery_getter)):
        task_redelivered.add(1, {"task": task.name})


def _run_attributes(task: Any, queue: str) -> dict[str, str]:
    return {
        "celery.action": "run",
        "celery.task_name": task.name,
        "messaging.system": "celery",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue,
    }


def _name_error(exception: BaseException | None = None, **_: Any) -> None:
    trace.get_current_span().set_attribute("error.type", type(exception).__name__)
