from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.black_hole import BlackHole
from sandbox.local.server import free_port
from sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parents[2]

# The providers are global and set once, so each case is a process of its own.
PROCESS = """
import json, logging, os, sys, time, urllib.request
from telemetry import logs, setup
from telemetry.instruments import api_calls, bot_running
from opentelemetry import trace
endpoint, protocol, host, port, wait, end = sys.argv[1:]
telemetry = setup.start(setup.TelemetryConfig(
    service_prefix="autotrader", process="worker-test", instance="test@here", environment="test",
    endpoint=endpoint, protocol=protocol, insecure=True, prometheus_host=host, prometheus_port=int(port)))
# in this order: Celery sets up logging after the worker's telemetry has started
logs.configure("json", "INFO")
api_calls.add(1, {"service": "upbit", "operation": "ticker", "status": "success"})
bot_running.set(1, {"process": "worker-test"})
with trace.get_tracer("test").start_as_current_span("work") as span:
    logging.getLogger("somewhere").warning("said within %s", "work", extra={"data": {"args": "a task's"}})
    trace_id = trace.format_trace_id(span.get_span_context().trace_id)
try:
    raise ValueError("as asked")
except ValueError:
    logging.getLogger("somewhere").exception("it failed")
logging.getLogger("opentelemetry.exporter.test").error("the export failed")
time.sleep(float(wait))
if end == "kill":
    os.kill(os.getpid(), 9)
text = urllib.request.urlopen(f"http://{host}:{port}/metrics").read().decode() if int(port) else ""
began = time.monotonic()
telemetry.shutdown()
print(json.dumps({"prometheus": text, "shutdown": time.monotonic() - began, "trace_id": trace_id}))
"""
QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}


def run(
    endpoint: str,
    protocol: str = "http/protobuf",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    wait: float = 0.0,
    end: str = "return",
) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, endpoint, protocol, host, str(port), str(wait), end],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **QUICK},
        capture_output=True,
        text=True,
        timeout=60,
        check=end == "return",
    )
    result: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return {**result, "stderr": done.stderr}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    server = Sandbox()
    await server.start()
    yield server
    await server.stop()


async def received(sandbox: Sandbox, what: str) -> list[dict[str, Any]]:
    def ask() -> Any:
        with urllib.request.urlopen(f"{sandbox.url}/control/otlp/{what}") as reply:
            return json.load(reply)

    found: list[dict[str, Any]] = await asyncio.to_thread(ask)
    return found


async def test_a_process_exports_its_spans_and_metrics_under_its_own_name(sandbox: Sandbox) -> None:
    await asyncio.to_thread(run, f"{sandbox.url}/otlp")
    spans = await received(sandbox, "spans")
    assert [(span["name"], span["service"], span["instance"]) for span in spans] == [
        ("work", "autotrader-worker-test", "test@here")
    ]
    metrics = {metric["name"]: metric for metric in await received(sandbox, "metrics")}
    assert metrics["api.calls"]["service"] == "autotrader-worker-test"
    assert metrics["bot_running"]["points"][0]["value"] == 1
    assert metrics["process.cpu.time"]["points"][0]["value"] > 0
    assert metrics["process.memory.usage"]["points"][0]["value"] > 10e6
    failures = {point["attributes"]["signal"]: point["value"] for point in failed_exports(metrics)}
    assert failures == {"traces": 0, "metrics": 0, "logs": 0}


def failed_exports(metrics: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = metrics["autotrader.telemetry.export_failures"]["points"]
    return points


async def test_logs_are_exported_in_their_trace_and_those_of_the_export_are_not(sandbox: Sandbox) -> None:
    result = await asyncio.to_thread(run, f"{sandbox.url}/otlp")
    inside, failed = await received(sandbox, "logs")
    assert (inside["body"], inside["severity"]) == ("said within work", "WARN")
    assert (inside["service"], inside["trace_id"]) == ("autotrader-worker-test", result["trace_id"])
    [span] = await received(sandbox, "spans")
    assert inside["span_id"] == span["span_id"]
    assert inside["attributes"] == {}
    assert failed["attributes"]["exception.type"] == "ValueError"
    assert "ValueError: as asked" in failed["attributes"]["exception.stacktrace"]
    # stderr has all of them
    lines = [json.loads(line) for line in result["stderr"].splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["said within work", "it failed", "the export failed"]
    assert lines[0]["trace_id"] == result["trace_id"]


async def test_what_a_process_said_a_second_before_it_was_killed_has_arrived(sandbox: Sandbox) -> None:
    await asyncio.to_thread(run, f"{sandbox.url}/otlp", wait=1.5, end="kill")
    assert [span["name"] for span in await received(sandbox, "spans")] == ["work"]
    assert [record["body"] for record in await received(sandbox, "logs")] == ["said within work", "it failed"]


def test_prometheus_text_shows_the_same_instruments() -> None:
    text = run("", port=free_port())["prometheus"]
    assert 'api_calls_total{operation="ticker",service="upbit",status="success"} 1.0' in text
    assert 'bot_running{process="worker-test"} 1.0' in text


def test_prometheus_is_served_where_it_is_asked_for() -> None:
    assert "bot_running" in run("", host="127.0.0.2", port=free_port())["prometheus"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("collector", ["refuses", "hangs"])
def test_a_dead_collector_is_counted_and_does_not_hold_up_the_end_of_a_process(protocol: str, collector: str) -> None:
    began = time.monotonic()
    with BlackHole() as hole:
        endpoint = hole.url if collector == "hangs" else f"http://127.0.0.1:{free_port()}"
        result = run(endpoint, protocol, port=free_port(), wait=6)
    assert result["shutdown"] < 8
    assert time.monotonic() - began < 30
    counted = re.findall(r'export_failures_total\{signal="(\w+)"\} (\S+)', result["prometheus"])
    assert {signal: float(value) >= 1 for signal, value in counted} == {"traces": True, "metrics": True, "logs": True}
