"""Publishing a task, traced and counted, whoever publishes: a task, the beat, the API, a retry.

OpenTelemetry's Celery instrumentation opens the producer span in one signal and ends it in another that never comes
when the broker is away: the span is not exported, and stays the parent of whatever the thread does next. Every publish
goes through the app's `send_task`, so the span lives there, in a `with`.
"""

from __future__ import annotations

import time
from typing import Any

from celery import Celery, signals
from opentelemetry import trace
from opentelemetry.instrumentation.celery import utils
from opentelemetry.propagate import inject

from telemetry.headers import SENT_AT
from telemetry.instruments import task_publish_failed

_tracer = trace.get_tracer("autotrader.celery")


class TracedCelery(Celery):  # type: ignore[misc]
    """A Celery app whose publishes are spans, and are counted where they fail."""

    def send_task(self, name: str, *args: Any, **options: Any) -> Any:
        """Publish by name, as `Task.apply_async` does, too. Raises what Celery raises."""
        with _tracer.start_as_current_span(
            f"apply_async/{name}",
            kind=trace.SpanKind.PRODUCER,
            attributes={
                "celery.action": "apply_async",
                "celery.task_name": name,
                "messaging.system": "celery",
                "messaging.operation.name": "apply_async",
                "messaging.operation.type": "send",
            },
        ) as span:
            try:
                return super().send_task(name, *args, **options)
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                task_publish_failed.add(1, {"task": name})
                raise


def connect() -> None:
    """Write time and trace into the headers of every message; called once, when the app is made."""
    signals.before_task_publish.connect(_complete, weak=False)


def _complete(headers: dict[str, Any] | None = None, routing_key: str | None = None, **context: Any) -> None:
    if headers is None:
        return
    # a retry is a message of its own, with a time of its own
    headers[SENT_AT] = time.time()
    inject(headers)
    span = trace.get_current_span()
    if span.is_recording():
        utils.set_attributes_from_context(span, {**context, "routing_key": routing_key})
        span.set_attribute("messaging.message.id", str(headers.get("id", "")))
        if routing_key:
            span.set_attribute("messaging.destination.name", routing_key)
