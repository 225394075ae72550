from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from celery import Celery, current_app
from kombu.exceptions import OperationalError
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor, utils
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tasks.base import AsyncTask
from telemetry import celery_spans


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    before = utils.CELERY_CONTEXT_ATTRIBUTES
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    celery_spans.instrument()
    CeleryInstrumentor()._tracer = provider.get_tracer("test")
    yield exporter
    CeleryInstrumentor().uninstrument()
    utils.CELERY_CONTEXT_ATTRIBUTES = before


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_failed_publish_ends_its_span_and_is_no_parent_of_what_follows(spans: InMemorySpanExporter) -> None:
    before = current_app._get_current_object()
    app = Celery("test", broker=f"redis://127.0.0.1:{closed_port()}/0")
    app.set_current()

    async def body() -> None: ...

    task = app.task(base=AsyncTask, name="test.fail")(body)
    app.finalize()
    try:
        with pytest.raises(OperationalError):
            task.apply_async(retry=False)
    finally:
        before.set_current()
    [span] = spans.get_finished_spans()
    assert span.name == "apply_async/test.fail"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert not trace.get_current_span().get_span_context().is_valid
    assert not getattr(task, utils.CTX_KEY, None)


def test_hostname_of_a_run_is_the_worker_not_the_publisher() -> None:
    celery_spans.instrument()
    provider = TracerProvider()
    span = provider.get_tracer("test").start_span("run/test")
    utils.set_attributes_from_context(span, {"hostname": "upbit@pi", "origin": "gen4711@laptop"})
    CeleryInstrumentor().uninstrument()
    assert dict(span.attributes or {})["celery.hostname"] == "upbit@pi"  # type: ignore[attr-defined]
