"""SigNoz' Celery page reads the spans of real tasks: a worker, a broker, and what telemetry makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from celery import Celery, current_app, signals
from celery.app.trace import reset_worker_optimizations, setup_worker_optimizations
from celery.contrib.testing.worker import start_worker
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor, utils
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sandbox.local import LocalRedis
from telemetry import celery_spans, publishing
from telemetry.instruments import CATALOGUE
from telemetry.publishing import TracedCelery

# What the page of v0.138.0 groups and filters by (frontend/src/pages/Celery, components/CeleryTask).
GROUPED_BY = {"celery.task_name", "celery.hostname", "celery.state"}
WORKER = "upbit@here"
STATES = {"SUCCESS", "FAILURE", "RETRY"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    before = utils.CELERY_CONTEXT_ATTRIBUTES
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    celery_spans.instrument()
    tracer = provider.get_tracer("test")
    for owner in (CeleryInstrumentor(), celery_spans, publishing):
        monkeypatch.setattr(owner, "_tracer", tracer)
    yield exporter
    celery_spans.uninstrument()
    utils.CELERY_CONTEXT_ATTRIBUTES = before


@pytest.fixture(autouse=True)
def _no_lifecycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever imported `tasks.app` before has connected what starts one of our own workers; this one is bare."""
    for signal in ("setup_logging", "celeryd_after_setup", "worker_init", "worker_ready", "worker_shutdown"):
        monkeypatch.setattr(getattr(signals, signal), "receivers", [])


@pytest.fixture
def app(redis_server: LocalRedis) -> Iterator[Celery]:
    before = current_app._get_current_object()
    app = TracedCelery("page", broker=redis_server.url, backend="cache+memory://")
    app.conf.task_default_queue = f"page-{uuid4().hex}"
    app.set_current()
    publishing.connect()
    # as the command `celery worker` does: tasks learn their worker's name by it
    setup_worker_optimizations(app, WORKER)
    yield app
    reset_worker_optimizations(app)
    before.set_current()


def run_of(spans: InMemorySpanExporter, state: str) -> ReadableSpan:
    """The one run of a task that ended in this state."""
    runs = [span for span in spans.get_finished_spans() if span.kind is trace.SpanKind.CONSUMER]
    [found] = [span for span in runs if (span.attributes or {}).get("celery.state") == state]
    return found


def test_a_run_of_each_state_carries_what_the_page_groups_by(spans: InMemorySpanExporter, app: Celery) -> None:
    @app.task(name="page.succeed", shared=False)
    def succeed() -> None: ...

    @app.task(name="page.fail", shared=False)
    def fail() -> None:
        raise ValueError("no price")

    @app.task(name="page.retry", shared=False, bind=True, max_retries=1)
    def retry(self: object) -> None:
        request = self.request  # type: ignore[attr-defined]
        if request.retries == 0:
            raise self.retry(countdown=0)  # type: ignore[attr-defined]

    app.finalize()
    with start_worker(app, perform_ping_check=False, pool="threads", hostname=WORKER):
        succeed.delay().get(timeout=20)
        fail.delay().get(timeout=20, propagate=False)
        retry.delay().get(timeout=20)

    runs = [span for span in spans.get_finished_spans() if span.kind is trace.SpanKind.CONSUMER]
    assert {(span.attributes or {})["celery.state"] for span in runs} == STATES
    for span in runs:
        attributes = dict(span.attributes or {})
        assert attributes.keys() >= GROUPED_BY
        # the table lists spans that have one of these, ...
        assert attributes["celery.action"] == "run"
        assert str(attributes["celery.task_name"]).startswith("page.")
        # ... shows another system for another value, ...
        assert attributes["messaging.system"] == "celery"
        # ... and where the task came from
        assert attributes["messaging.destination.name"] == app.conf.task_default_queue
        assert attributes["celery.hostname"] == WORKER
    failed = run_of(spans, "FAILURE")
    # its error rate counts the status
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert (failed.attributes or {})["celery.task_name"] == "page.fail"
    assert run_of(spans, "RETRY").attributes["celery.task_name"] == "page.retry"  # type: ignore[index]


def test_a_publish_is_in_the_table_too_with_the_run_as_its_child(spans: InMemorySpanExporter, app: Celery) -> None:
    @app.task(name="page.succeed", shared=False)
    def succeed() -> None: ...

    app.finalize()
    with start_worker(app, perform_ping_check=False, pool="threads", hostname=WORKER):
        succeed.delay().get(timeout=20)
    [publish] = [span for span in spans.get_finished_spans() if span.kind is trace.SpanKind.PRODUCER]
    run = run_of(spans, "SUCCESS")
    assert (publish.attributes or {})["celery.task_name"] == "page.succeed"
    assert run.parent is not None
    assert run.parent.span_id == publish.get_span_context().span_id


def test_the_pages_metric_of_executing_tasks_is_in_the_catalogue() -> None:
    assert CATALOGUE["flower_worker_number_of_currently_executing_tasks"].attributes == ("worker",)
