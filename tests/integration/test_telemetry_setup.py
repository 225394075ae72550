from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.local.server import free_port
from sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parents[2]

# The providers are global and set once, so each case is a process of its own.
PROCESS = """
import json, sys, time, urllib.request
from telemetry import setup
from telemetry.instruments import api_calls, bot_running
from opentelemetry import trace
endpoint, protocol, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
telemetry = setup.start(setup.TelemetryConfig(
    service_prefix="autotrader", process="worker-test", instance="test@here", environment="test",
    endpoint=endpoint, protocol=protocol, insecure=True, prometheus_port=port))
api_calls.add(1, {"service": "upbit", "operation": "ticker", "status": "success"})
bot_running.set(1, {"process": "worker-test"})
with trace.get_tracer("test").start_as_current_span("work"):
    pass
text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode() if port else ""
began = time.monotonic()
telemetry.shutdown()
print(json.dumps({"prometheus": text, "shutdown": time.monotonic() - began}))
"""


def run(endpoint: str, protocol: str = "http/protobuf", port: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, endpoint, protocol, str(port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    server = Sandbox()
    await server.start()
    yield server
    await server.stop()


async def test_a_process_exports_its_spans_and_metrics_under_its_own_name(sandbox: Sandbox) -> None:
    import asyncio

    await asyncio.to_thread(run, f"{sandbox.url}/otlp")

    def ask(what: str) -> Any:
        with urllib.request.urlopen(f"{sandbox.url}/control/otlp/{what}") as reply:
            return json.load(reply)

    spans = await asyncio.to_thread(ask, "spans")
    assert [(span["name"], span["service"], span["instance"]) for span in spans] == [
        ("work", "autotrader-worker-test", "test@here")
    ]
    metrics = {metric["name"]: metric for metric in await asyncio.to_thread(ask, "metrics")}
    assert metrics["api.calls"]["service"] == "autotrader-worker-test"
    assert metrics["bot_running"]["points"][0]["value"] == 1


def test_prometheus_text_shows_the_same_instruments() -> None:
    text = run("", port=free_port())["prometheus"]
    assert 'api_calls_total{operation="ticker",service="upbit",status="success"} 1.0' in text
    assert 'bot_running{process="worker-test"} 1.0' in text


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_dead_collector_does_not_hold_up_the_end_of_a_process(protocol: str) -> None:
    began = time.monotonic()
    result = run(f"http://127.0.0.1:{free_port()}", protocol)
    assert result["shutdown"] < 8
    assert time.monotonic() - began < 20
