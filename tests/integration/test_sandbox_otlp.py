"""The collector stand-in, fed by the SDK's own OTLP/HTTP exporters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from sandbox.server import Sandbox

RESOURCE = Resource({"service.name": "autotrader-worker-upbit", "service.instance.id": "one"})


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


async def _read(sandbox: Sandbox, path: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/control/{path}") as reply:
        assert reply.status == 200
        return await reply.json()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_spans_arrive_whole(sandbox: Sandbox, compression: Compression) -> None:
    def export() -> None:
        provider = TracerProvider(resource=RESOURCE)
        exporter = OTLPSpanExporter(endpoint=f"{sandbox.url}/otlp/v1/traces", compression=compression)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("autotrader.tasks")
        with tracer.start_as_current_span("sweep", kind=SpanKind.PRODUCER) as parent:
            parent.set_attribute("symbols", ["KRW-BTC", "KRW-ETH"])
            link = trace.Link(parent.get_span_context())
            with tracer.start_as_current_span("analyze_coin: KRW-BTC", kind=SpanKind.CONSUMER, links=[link]) as span:
                span.set_attributes({"confidence": 70, "live": False, "price": 1.5})
                span.add_event("decided", {"decision": "buy"})
                span.set_status(Status(StatusCode.ERROR, "no data"))
        provider.shutdown()

    await asyncio.to_thread(export)

    child, parent = await _read(sandbox, "otlp/spans")
    assert (parent["name"], parent["kind"], parent["parent_id"], parent["status"]) == ("sweep", "producer", "", "unset")
    assert parent["attributes"] == {"symbols": ["KRW-BTC", "KRW-ETH"]}
    assert child["trace_id"] == parent["trace_id"]
    assert len(child["trace_id"]) == 32
    assert child["parent_id"] == parent["span_id"]
    assert (child["kind"], child["status"], child["status_message"]) == ("consumer", "error", "no data")
    assert child["attributes"] == {"confidence": 70, "live": False, "price": 1.5}
    assert child["events"] == [{"name": "decided", "attributes": {"decision": "buy"}}]
    assert child["links"] == [{"trace_id": parent["trace_id"], "span_id": parent["span_id"]}]
    assert (child["service"], child["instance"]) == ("autotrader-worker-upbit", "one")
    assert child["scope"] == "autotrader.tasks"
    assert 0 < child["start_ns"] <= child["end_ns"]


async def test_metrics_show_their_latest_points(sandbox: Sandbox) -> None:
    def export() -> None:
        exporter = OTLPMetricExporter(endpoint=f"{sandbox.url}/otlp/v1/metrics", compression=Compression.Gzip)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], resource=RESOURCE)
        meter = provider.get_meter("autotrader")
        counter, histogram = meter.create_counter("trades_total"), meter.create_histogram("api.call.duration", "ms")
        for side in ("buy", "buy", "sell"):
            counter.add(1, {"side": side})
            histogram.record(12.5)
            provider.force_flush()
        provider.shutdown()

    await asyncio.to_thread(export)

    metrics = {metric["name"]: metric for metric in await _read(sandbox, "otlp/metrics")}
    trades, duration = metrics["trades_total"], metrics["api.call.duration"]
    assert trades["type"] == "sum"
    assert {point["attributes"]["side"]: point["value"] for point in trades["points"]} == {"buy": 2, "sell": 1}
    assert (duration["type"], duration["unit"], duration["service"]) == ("histogram", "ms", "autotrader-worker-upbit")
    assert [(point["count"], point["sum"]) for point in duration["points"]] == [(3, 37.5)]


async def test_logs_arrive_with_their_trace(sandbox: Sandbox) -> None:
    def export() -> str:
        provider = LoggerProvider(resource=RESOURCE)
        provider.add_log_record_processor(
            SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{sandbox.url}/otlp/v1/logs"))
        )
        with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
            provider.get_logger("autotrader").emit(
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                body="venue timed out",
                attributes={"market": "upbit"},
            )
        provider.shutdown()
        return format(span.get_span_context().trace_id, "032x")

    trace_id = await asyncio.to_thread(export)

    (log,) = await _read(sandbox, "otlp/logs")
    assert (log["severity"], log["body"], log["attributes"]) == ("ERROR", "venue timed out", {"market": "upbit"})
    assert (log["service"], log["trace_id"]) == ("autotrader-worker-upbit", trace_id)


async def test_what_is_no_otlp_is_refused(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{sandbox.url}/otlp/v1/traces", json={}) as reply:
            assert reply.status == 415
        headers = {"Content-Type": "application/x-protobuf"}
        async with http.post(f"{sandbox.url}/otlp/v1/traces", data=b"\xff\xff", headers=headers) as reply:
            assert reply.status == 400
        async with http.post(f"{sandbox.url}/otlp/v1/metrics", data=b"", headers=headers) as reply:
            assert (reply.status, reply.content_type) == (200, "application/x-protobuf")


async def test_an_exporter_gives_up_on_a_failing_collector(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.faults.order({"service": "otlp", "kind": "error", "status": 400})

    def export() -> None:
        provider = TracerProvider(resource=RESOURCE)
        exporter = OTLPSpanExporter(endpoint=f"{sandbox.url}/otlp/v1/traces", timeout=1)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("t").start_as_current_span("lost"):
            pass
        provider.shutdown()

    with caplog.at_level(logging.ERROR):
        await asyncio.to_thread(export)
    assert await _read(sandbox, "otlp/spans") == []
    assert "Failed to export" in caplog.text


async def test_the_summary_counts_and_the_state_can_be_cleared(sandbox: Sandbox) -> None:
    def export() -> None:
        provider = TracerProvider(resource=RESOURCE)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{sandbox.url}/otlp/v1/traces")))
        for _ in range(3):
            provider.get_tracer("t").start_span("s").end()
        provider.shutdown()

    await asyncio.to_thread(export)
    async with aiohttp.ClientSession(sandbox.url) as http:
        async with http.get("/upbit/v1/ticker?markets=KRW-BTC"):
            pass
        async with http.post("/telegram/bot1:T/sendMessage", json={"chat_id": 7, "text": "x"}):
            pass
        assert await _read(sandbox, "summary") == {
            "telegram_messages": 1,
            "spans": 3,
            "metrics": 0,
            "logs": 0,
            "requests": {"otlp": 3, "telegram": 1, "upbit": 1},
        }
        listed = await _read(sandbox, "requests")
        assert [request["service"] for request in listed] == ["otlp", "otlp", "otlp", "upbit", "telegram"]
        assert set(listed[3]) == {"service", "method", "path", "symbol", "status", "at"}
        assert (listed[3]["path"], listed[3]["symbol"], listed[3]["status"]) == ("/v1/ticker", "KRW-BTC", 200)
        async with http.delete("/control/state") as reply:
            assert reply.status == 200
    assert (await _read(sandbox, "summary"))["spans"] == 0
    assert await _read(sandbox, "otlp/spans") == []
    assert await _read(sandbox, "telegram/messages") == []
