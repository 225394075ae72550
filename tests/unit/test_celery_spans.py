from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, current_app
from kombu.exceptions import OperationalError
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor, utils
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tasks.base import AsyncTask
from telemetry import celery_spans, publishing
from telemetry.publishing import TracedCelery


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    before = utils.CELERY_CONTEXT_ATTRIBUTES
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    celery_spans.instrument()
    monkeypatch.setattr(CeleryInstrumentor(), "_tracer", provider.get_tracer("test"))  # type: ignore[no-untyped-call]
    monkeypatch.setattr(publishing, "_tracer", provider.get_tracer("test"))
    yield exporter
    celery_spans.uninstrument()
    utils.CELERY_CONTEXT_ATTRIBUTES = before


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app whose broker does not answer."""
    before = current_app._get_current_object()
    app = TracedCelery("test", broker=f"redis://127.0.0.1:{closed_port()}/0")
    app.set_current()
    yield app
    before.set_current()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def publish_by_task(app: Celery) -> Any:
    async def body() -> None: ...

    task = app.task(base=AsyncTask, name="test.fail")(body)
    app.finalize()
    return task.apply_async(retry=False)


def publish_by_name(app: Celery) -> Any:
    # a task that this process does not know
    return app.send_task("test.fail", retry=False)


@pytest.mark.parametrize("publish", [publish_by_task, publish_by_name])
def test_a_failed_publish_ends_its_span_and_is_no_parent_of_what_follows(
    spans: InMemorySpanExporter, app: Celery, publish: Any
) -> None:
    with pytest.raises(OperationalError):
        publish(app)
    [span] = spans.get_finished_spans()
    assert span.name == "apply_async/test.fail"
    assert span.kind is trace.SpanKind.PRODUCER
    assert span.status.status_code is trace.StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "OperationalError"
    assert not trace.get_current_span().get_span_context().is_valid


def test_hostname_of_a_run_is_the_worker_not_the_publisher(spans: InMemorySpanExporter) -> None:
    provider = TracerProvider()
    span = provider.get_tracer("test").start_span("run/test")
    utils.set_attributes_from_context(span, {"hostname": "upbit@pi", "origin": "gen4711@laptop"})
    assert dict(span.attributes or {})["celery.hostname"] == "upbit@pi"  # type: ignore[attr-defined]
