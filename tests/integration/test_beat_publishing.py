"""An entry of the beat that cannot be sent: counted by entry and by task, traced, and not sent later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery.beat import SchedulingError
from celery.schedules import schedule
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis

from beat import scheduler
from beat.scheduler import Scheduler
from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from telemetry import publishing
from telemetry.publishing import TracedCelery

TASK = "tasks.heartbeat.heartbeat"


class Counter:
    """What was added, by attributes."""

    def __init__(self) -> None:
        self.added: list[dict[str, str]] = []

    def add(self, amount: int, attributes: dict[str, str]) -> None:
        self.added += [attributes] * amount


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in (scheduler, publishing):
        monkeypatch.setattr(module, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


@pytest.mark.parametrize("broker", ["there", "away"])
def test_an_entry_is_sent_once_or_counted_once(
    redis_server: LocalRedis, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    by_entry, by_task = Counter(), Counter()
    monkeypatch.setattr(scheduler, "beat_entry_failed", by_entry)
    monkeypatch.setattr(publishing, "task_publish_failed", by_task)
    url = redis_server.url if broker == "there" else f"redis://127.0.0.1:{free_port()}/0"
    app = TracedCelery("test", broker=url, set_as_current=False)
    app.conf.update(
        redbeat_redis_url=redis_server.url,
        redbeat_key_prefix="test:",
        task_publish_retry=False,
        task_ignore_result=True,
        task_default_queue="test-beat",
    )
    beat = Scheduler(app=app, lazy=True)
    entry = Scheduler.Entry(name="heartbeat-upbit", task=TASK, schedule=schedule(timedelta(seconds=30)), app=app)

    if broker == "there":
        beat.apply_async(entry, advance=False)
    else:
        with pytest.raises(SchedulingError):
            beat.apply_async(entry, advance=False)

    publish, tick = spans.get_finished_spans()
    assert (publish.name, tick.name) == (f"apply_async/{TASK}", "beat heartbeat-upbit")
    assert publish.parent is not None
    assert publish.parent.span_id == tick.context.span_id
    assert publish.status.is_ok == (broker == "there")
    assert not trace.get_current_span().get_span_context().is_valid
    failures = ([], []) if broker == "there" else ([{"entry": "heartbeat-upbit"}], [{"task": TASK}])
    assert (by_entry.added, by_task.added) == failures
    with Redis.from_url(redis_server.url) as client:
        assert client.llen("test-beat") == (1 if broker == "there" else 0)
        client.flushdb()
