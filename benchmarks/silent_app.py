"""Our app and its tasks with all telemetry off, for `benchmarks.telemetry_overhead` to compare with.

No spans, no metrics, no events, nothing exported. What our own code still calls is OpenTelemetry's own nothing.
"""

from __future__ import annotations

import os

os.environ["OTEL_SDK_DISABLED"] = "true"

from opentelemetry.instrumentation.redis import RedisInstrumentor

from tasks import worker
from tasks.app import app
from telemetry import celery_metrics, celery_spans, databases

__all__ = ["app"]

celery_spans.instrument = lambda: None
celery_metrics.CeleryMetrics.connect = lambda self: None  # type: ignore[method-assign]
RedisInstrumentor.instrument_client = staticmethod(lambda *_, **__: None)  # type: ignore[method-assign]
databases.instrument = lambda engine, tracers=None: None
worker.start_counters = lambda settings, markets: None
app.conf.update(worker_send_task_events=False, task_send_sent_event=False)
