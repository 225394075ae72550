"""Every way a task can end, on a real worker with the threads pool: each is counted, and each has a span."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from nodes import WorkerProcess
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import TracerProvider
from world import World, wait_for

from sandbox.local import LocalRedis
from sandbox.local.server import free_port

HERE = Path(__file__).parent
VISIBILITY_SECONDS = 15
SAMPLE = re.compile(r"^(celery_\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {
        "VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY_SECONDS),
        "ANALYZE_DEADLINE_SECONDS": "12",
        "SWEEP_DEADLINE_SECONDS": "12",
        # one at a time, so that what is sent behind a task waits for it
        "WORKER_CONCURRENCY": "1",
        "PROMETHEUS_PORT": str(free_port()),
    }


@pytest.fixture
def options() -> tuple[str, ...]:
    return ()


@pytest.fixture
def worker(world: World, options: tuple[str, ...]) -> Iterator[WorkerProcess]:
    env = {**world.env, "PYTHONPATH": f"{world.env['PYTHONPATH']}:{HERE}"}
    process = WorkerProcess("upbit", env, world.directory, "-I", "endings", *options)
    process.ready()
    yield process
    process.teardown()


@pytest.fixture
def app(world: World) -> Celery:
    """Whoever sends: an app that knows none of the tasks."""
    app = Celery(broker=world.redis_url, backend=world.redis_url)
    app.conf.update(task_default_queue="upbit", task_create_missing_queues=True)
    return app


class Counts:
    """What the worker counts, as Prometheus reads it."""

    def __init__(self, world: World) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.env['PROMETHEUS_PORT']}/metrics") as reply:
            text = reply.read().decode()
        self._values = {
            (name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))): float(value)
            for name, labels, value in SAMPLE.findall(text)
        }

    def of(self, name: str, **labels: str) -> float | None:
        return self._values.get((name, frozenset(labels.items())))


def spans(world: World, name: str) -> list[dict[str, Any]]:
    return [span for span in world.sandbox.get("otlp/spans") if span["name"] == name]


def test_every_ending_is_counted(world: World, worker: WorkerProcess, app: Celery) -> None:
    before = Counts(world)
    assert before.of("celery_task_revoked_total", task="tasks.analysis.sweep", reason="expired") == 0
    assert before.of("celery_task_redelivered_total", task="tasks.analysis.sweep") == 0
    assert before.of("celery_worker_prefetched", worker=worker_name(worker)) == 0

    for name in ("succeed", "fail", "retry", "reject", "late"):
        app.send_task(f"endings.{name}")
    app.send_task("endings.hold", (str(world.directory / "held"), 4))
    wait_for("the holding task", (world.directory / "held").exists)
    revoked = app.send_task("endings.succeed")
    app.send_task("endings.succeed", expires=1)
    app.control.revoke(revoked.id)
    app.send_task("endings.nobody")
    with app.connection_for_write() as broker:
        producer = broker.Producer()
        producer.publish({"no": "task"}, routing_key="upbit")
        broken = {"content_type": "application/json", "content_encoding": "utf-8", "routing_key": "upbit"}
        producer.publish(b"{", headers={"task": "endings.succeed", "id": "broken"}, **broken)

    table = [
        (1, "celery_task_succeeded_total", {"task": "endings.succeed"}),
        (1, "celery_task_failed_total", {"task": "endings.fail", "error_type": "ValueError"}),
        (1, "celery_task_retried_total", {"task": "endings.retry"}),
        (1, "celery_task_succeeded_total", {"task": "endings.retry"}),
        (1, "celery_task_deadline_exceeded_total", {"task": "endings.late"}),
        (1, "celery_task_failed_total", {"task": "endings.late", "error_type": "DeadlineExceeded"}),
        (1, "celery_task_revoked_total", {"task": "endings.succeed", "reason": "revoked"}),
        (1, "celery_task_revoked_total", {"task": "endings.succeed", "reason": "expired"}),
        # the task that rejected its message, and the message that was no task
        (2, "celery_task_rejected_total", {"reason": "rejected"}),
        (1, "celery_task_rejected_total", {"reason": "unknown_task"}),
        (1, "celery_task_rejected_total", {"reason": "unreadable"}),
    ]
    # the last of the queue has ended
    wait_for("the end of all", lambda: Counts(world).of("celery_task_rejected_total", reason="unreadable") == 1)
    wait_for("the expired one", lambda: Counts(world).of(*table[7][1:2], **table[7][2]) == 1)
    counts = Counts(world)
    assert [(counts.of(name, **labels), name, labels) for _, name, labels in table] == table
    assert counts.of("celery_task_failed_total", task="endings.reject", error_type="Reject") is None
    assert counts.of("celery_worker_active", worker=worker_name(worker)) == 0

    wait_for("the spans", lambda: spans(world, "run/endings.late") and spans(world, "run/endings.hold"))
    states = {name: sorted(span["attributes"]["celery.state"] for span in spans(world, f"run/endings.{name}"))
              for name in ("succeed", "fail", "retry", "reject", "late")}  # fmt: skip
    assert states == {
        "succeed": ["SUCCESS"],
        "fail": ["FAILURE"],
        "retry": ["RETRY", "SUCCESS"],
        "reject": ["REJECTED"],
        "late": ["FAILURE"],
    }
    [failed] = spans(world, "run/endings.fail")
    assert failed["status"] == "error"
    assert (
        failed["attributes"].items()
        >= {
            "messaging.system": "celery",
            "messaging.operation.name": "run",
            "messaging.operation.type": "process",
            "messaging.destination.name": "upbit",
            "celery.hostname": worker_name(worker),
            "celery.task_name": "endings.fail",
            "celery.redelivered": False,
            "error.type": "ValueError",
        }.items()
    )
    # its retry was published by the worker, and waited for its ETA, not in the queue
    again = max(spans(world, "run/endings.retry"), key=lambda span: int(span["start_ns"]))
    [published] = spans(world, "apply_async/endings.retry")
    since_published = (again["start_ns"] - published["start_ns"]) / 1e9
    assert 0.9 < since_published - again["attributes"]["celery.queue_wait_s"] < 1.5
    assert published["kind"] == "producer"
    assert published["attributes"]["messaging.destination.name"] == "upbit"
    assert again["parent_id"] == published["span_id"]


def test_the_attempt_of_a_killed_worker_has_a_span_and_the_next_one_is_counted(
    world: World, worker: WorkerProcess, app: Celery
) -> None:
    mark = world.directory / "held"
    with TracerProvider().get_tracer("test").start_as_current_span("sender") as sender:
        headers: dict[str, Any] = {"x_sent_at": time.time()}
        inject(headers)
    sent = app.send_task("endings.hold", (str(mark), 10), headers=headers)
    wait_for("the task", mark.exists)
    # what it tells of itself stands where Celery had noted who began it
    wait_for("how far it is", lambda: sent.state == "PROGRESS")
    worker.kill()
    worker.restart()
    sent.get(timeout=VISIBILITY_SECONDS + 40)

    labels = {"task": "endings.hold"}
    assert Counts(world).of("celery_task_redelivered_total", **labels) == 1
    assert Counts(world).of("celery_task_succeeded_total", **labels) == 1
    found = wait_for("both attempts", lambda: len(runs := spans(world, "run/endings.hold")) >= 2 and runs)
    attempts = {span["attributes"]["celery.state"]: span for span in found}
    assert len(found) == len(attempts) == 2
    lost = attempts["LOST"]
    assert lost["status"] == "error"
    assert (
        lost["attributes"].items()
        >= {
            "celery.hostname": worker_name(worker),
            "celery.task_name": "endings.hold",
            "messaging.message.id": sent.id,
            "messaging.destination.name": "upbit",
            "error.type": "WorkerLost",
        }.items()
    )
    context = sender.get_span_context()
    for span in attempts.values():
        assert span["trace_id"] == trace.format_trace_id(context.trace_id)
        assert span["parent_id"] == trace.format_span_id(context.span_id)
    assert attempts["SUCCESS"]["attributes"]["celery.redelivered"] is True


@pytest.mark.parametrize("options", [("--prefetch-multiplier", "4")])
def test_a_task_handed_back_by_a_worker_that_stopped_is_no_loss(
    world: World, worker: WorkerProcess, app: Celery
) -> None:
    mark = world.directory / "held"
    app.send_task("endings.hold", (str(mark), 3))
    wait_for("the task", mark.exists)
    waited = app.send_task("endings.succeed", headers={"x_sent_at": time.time()})
    wait_for("the prefetched task", lambda: Counts(world).of("celery_worker_prefetched", worker=worker_name(worker)))
    worker.restart()
    waited.get(timeout=30)
    assert Counts(world).of("celery_task_redelivered_total", task="endings.succeed") in (None, 0)
    [span] = wait_for("its span", lambda: spans(world, "run/endings.succeed"))
    assert span["attributes"]["celery.state"] == "SUCCESS"


@pytest.fixture
def other_redis() -> Iterator[LocalRedis]:
    """A Redis that the test may stop."""
    with LocalRedis() as server:
        yield server


def test_a_failure_while_redis_is_away_is_counted_by_its_own_name(world: World, other_redis: LocalRedis) -> None:
    env = {**world.env, "REDIS_URL": other_redis.url, "PYTHONPATH": f"{world.env['PYTHONPATH']}:{HERE}"}
    worker = WorkerProcess("upbit", env, world.directory, "-I", "endings")
    try:
        worker.ready()
        mark, word = world.directory / "waits", world.directory / "fail-now"
        sender = Celery(broker=other_redis.url, set_as_current=False)
        sender.conf.update(task_default_queue="upbit", task_create_missing_queues=True)
        sender.send_task("endings.fail_when_told", (str(mark), str(word)))
        wait_for("the task", mark.exists)
        other_redis.stop(abruptly=True)
        word.touch()
        failed = {"task": "endings.fail_when_told", "error_type": "ValueError"}
        wait_for("the count", lambda: Counts(world).of("celery_task_failed_total", **failed) == 1, 60)
    finally:
        worker.teardown()


def worker_name(worker: WorkerProcess) -> str:
    [name] = set(re.findall(r"upbit@[\w.-]+(?= ready\.)", worker.logs()))
    return str(name)
