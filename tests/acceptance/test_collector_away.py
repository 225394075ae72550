"""A collector that is away, or hangs, is counted and shown, and costs no task and no stop anything."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import leaks
import pytest
from celery import Celery
from nodes import WorkerProcess
from world import World, wait_for

from sandbox.black_hole import BlackHole
from sandbox.local.server import free_port

TASKS = 40
STOP_SECONDS = 10.0
FAILURES = re.compile(r'^autotrader_telemetry_export_failures_total\{signal="(\w+)"\} (\S+)', re.MULTILINE)


@contextmanager
def refused() -> Iterator[str]:
    """Where nobody listens."""
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def hanging() -> Iterator[str]:
    """Where a connection is taken and nothing is ever answered."""
    with BlackHole() as hole:
        yield hole.url
        assert hole.connections > 0


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"PROMETHEUS_PORT": str(free_port()), "TELEGRAM_ENABLED": "false"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("away", [refused, hanging])
def test_no_task_and_no_stop_waits_for_a_collector(
    world: World, protocol: str, away: Callable[[], Iterator[str]]
) -> None:
    with away() as endpoint:  # type: ignore[attr-defined]
        env = {**world.env, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        worker = WorkerProcess("upbit", env, world.directory)
        try:
            assert worker.ready()
            app = Celery(broker=world.redis_url, backend=world.redis_url, set_as_current=False)
            sent = [
                app.send_task("tasks.heartbeat.heartbeat", args=("upbit",), queue="upbit", ignore_result=False)
                for _ in range(TASKS)
            ]
            for result in sent:
                result.get(timeout=30)
            assert {result.state for result in sent} == {"SUCCESS"}
            failures = wait_for("a failure of each signal", lambda: failed_exports(world), 40)
            assert failures.keys() == {"traces", "metrics", "logs"}
            # while an export is under way, as one always is
            started = time.monotonic()
            os.kill(worker.pid, signal.SIGTERM)
            wait_for("the end of the worker", lambda: worker.status == "exited", 30)
            assert time.monotonic() - started <= STOP_SECONDS
        finally:
            worker.teardown()
    told = [line for line in worker.logs().splitlines() if "opentelemetry" in line]
    assert told, "the log says nothing of it"
    # once in a while, not at every export
    assert len(told) <= 12


def failed_exports(world: World) -> dict[str, float] | None:
    """How many exports of each signal failed, by the worker's own Prometheus text; None until all three did."""
    text = leaks.pages([f"http://127.0.0.1:{world.env['PROMETHEUS_PORT']}/metrics"])
    counts = {name: float(value) for name, value in FAILURES.findall(text)}
    return counts if len(counts) == 3 and all(counts.values()) else None
