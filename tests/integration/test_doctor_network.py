"""Each way in which an address can fail is told apart, at real sockets."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from pathlib import Path

import aiohttp
import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from pydantic import SecretStr

from doctor import findings, otlp, setup
from doctor.findings import Finding
from sandbox.local.server import free_port
from sandbox.server import Sandbox
from settings import Settings

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(sock_connect=1, sock_read=1)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    server = Sandbox()
    await server.start()
    yield server
    await server.stop()


def settings(endpoint: str, **more: object) -> Settings:
    return Settings(_env_file=None, otel_exporter_otlp_endpoint=endpoint, **more)  # type: ignore[arg-type]


async def asked(session: aiohttp.ClientSession, endpoint: str, **more: object) -> list[Finding]:
    return await otlp.collector(settings(endpoint, **more), session)


async def only_fault(session: aiohttp.ClientSession, endpoint: str, **more: object) -> str:
    """What both signals are said to suffer from."""
    traces, metrics = await asked(session, endpoint, **more)
    assert {traces.verdict, metrics.verdict} == {"FAULT"}
    assert traces.detail == metrics.detail
    return traces.detail


async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    return server, server.sockets[0].getsockname()[1]


async def whole_request(reader: asyncio.StreamReader) -> bytes:
    """Head and body: a connection that is closed with something unread is reset."""
    head = await reader.readuntil(b"\r\n\r\n")
    [length] = [int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")]
    return head + await reader.readexactly(length)


def replying(reply: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole_request(reader)
        writer.write(reply)
        await writer.drain()
        writer.close()

    return serve


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_a_probe_goes_the_whole_way(sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
    traces, metrics, stored = await asked(session, f"{sandbox.url}/otlp")
    assert (traces.verdict, metrics.verdict) == ("ok", "ok")
    assert stored.verdict == "skipped"
    [span] = [span for span in sandbox.collector.spans() if span["name"] == otlp.SPAN_NAME]
    [metric] = [metric for metric in sandbox.collector.metrics() if metric["name"] == otlp.METRIC_NAME]
    assert span["service"] == "autotrader-doctor"
    assert metric["points"][0]["value"] == span["start_ns"] // 1_000_000


async def test_faults_of_the_way_are_told_apart(session: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    refused = await only_fault(session, f"http://127.0.0.1:{free_port()}")
    assert "connection refused" in refused
    unknown = await only_fault(session, "http://no-such-host.invalid:4318")
    assert "no such host (DNS)" in unknown
    no_tls_there = await only_fault(session, sandbox.url.replace("http:", "https:"))
    assert "TLS fails" in no_tls_there
    assert "http:// instead of https://" in no_tls_there

    server, port = await serving(hang)
    hanging = await only_fault(session, f"http://127.0.0.1:{port}")
    assert "does not answer within" in hanging
    server.close()

    server, port = await serving(replying(b""))
    dropped = await only_fault(session, f"http://127.0.0.1:{port}")
    assert "drops the connection unanswered" in dropped
    server.close()

    server, port = await serving(replying(b"220 mail.example.com ESMTP\r\n"))
    other = await only_fault(session, f"http://127.0.0.1:{port}")
    assert "no HTTP" in other
    server.close()
    assert len({refused, unknown, no_tls_there, hanging, dropped, other}) == 6


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "wants a key: set OTEL_EXPORTER_OTLP_HEADERS"),
        (404, "without /v1/traces"),
        (415, "HTTP port (4318)"),
        (500, "collector's log"),
    ],
)
async def test_what_a_collector_refuses_is_said_with_its_cure(
    session: aiohttp.ClientSession, status: int, said: str
) -> None:
    reply = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    server, port = await serving(replying(reply))
    detail = await only_fault(session, f"http://127.0.0.1:{port}")
    assert detail.startswith(f"the collector answers {status}")
    assert said in detail
    server.close()


async def test_a_web_page_is_no_collector(session: aiohttp.ClientSession) -> None:
    page = b"<html>It works</html>"
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    server, port = await serving(replying(reply))
    assert "what answers is no collector (text/html)" in await only_fault(session, f"http://127.0.0.1:{port}")
    server.close()


async def test_what_the_collector_throws_away_has_not_arrived(session: aiohttp.ClientSession) -> None:
    body = ExportTraceServiceResponse()
    body.partial_success.rejected_spans = 1
    body.partial_success.error_message = "the disk is full"
    raw = body.SerializeToString()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
    server, port = await serving(replying(reply))
    assert await only_fault(session, f"http://127.0.0.1:{port}") == "the collector threw it away: the disk is full"
    server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_certificate_nobody_vouches_for_is_no_certificate(
    session: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
    server, port = await serving(replying(ok), tls)
    detail = await only_fault(session, f"https://localhost:{port}")
    assert detail.startswith("its TLS certificate is not accepted (self-signed certificate)")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate))
    assert [finding.verdict for finding in await asked(session, f"https://localhost:{port}")] == ["ok", "ok", "skipped"]
    server.close()


async def test_a_key_for_the_collector_goes_with_the_probe(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await whole_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server, port = await serving(serve)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "signoz-ingestion-key=a-key")
    await asked(session, f"http://127.0.0.1:{port}")
    assert len(heard) == 2
    assert all(b"signoz-ingestion-key: a-key" in head for head in heard)
    server.close()


class Traces(TraceServiceServicer):
    async def Export(self, request: object, context: object) -> ExportTraceServiceResponse:
        return ExportTraceServiceResponse()


class Metrics(MetricsServiceServicer):
    async def Export(self, request: object, context: object) -> ExportMetricsServiceResponse:
        return ExportMetricsServiceResponse()


async def test_grpc_arrives_or_says_why_not(
    session: aiohttp.ClientSession, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(Traces(), server)
    add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = await asked(session, f"http://127.0.0.1:{port}", otel_exporter_otlp_protocol="grpc")
    assert [finding.verdict for finding in found] == ["ok", "ok", "skipped"]
    await server.stop(0)

    refused = await only_fault(session, f"http://127.0.0.1:{free_port()}", otel_exporter_otlp_protocol="grpc")
    assert "connection refused" in refused
    unknown = await only_fault(session, "http://no-such-host.invalid:4317", otel_exporter_otlp_protocol="grpc")
    assert "no such host (DNS)" in unknown
    http = await only_fault(session, sandbox.url, otel_exporter_otlp_protocol="grpc")
    assert "4317" in http

    bare = grpc.aio.server()
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    other = await only_fault(session, f"http://127.0.0.1:{port}", otel_exporter_otlp_protocol="grpc")
    assert "takes no OTLP over gRPC" in other
    tls = await only_fault(session, f"https://127.0.0.1:{port}", otel_exporter_otlp_protocol="grpc")
    assert tls.startswith("TLS fails")
    await bare.stop(0)

    monkeypatch.setattr(otlp, "GRPC_SECONDS", 1.0)
    silent, port = await serving(hang)
    hanging = await only_fault(session, f"http://127.0.0.1:{port}", otel_exporter_otlp_protocol="grpc")
    assert "it hangs" in hanging
    silent.close()


@pytest.mark.parametrize(
    ("status", "rows", "verdict", "said"),
    [
        (200, '[{"data": {}}]', "ok", "the span was read back: trace "),
        (200, "null", "FAULT", "SigNoz shows no trace"),
        (401, "null", "FAULT", "refuses SIGNOZ_API_KEY (401)"),
        (404, "null", "FAULT", "is SIGNOZ_URL right?"),
    ],
)
async def test_signoz_is_asked_whether_it_has_the_span(
    session: aiohttp.ClientSession,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    rows: str,
    verdict: str,
    said: str,
) -> None:
    monkeypatch.setattr(otlp, "READ_BACK_SECONDS", 0.5)
    questions: list[bytes] = []
    body = f'{{"status": "success", "data": {{"type": "raw", "data": {{"results": [{{"rows": {rows}}}]}}}}}}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        questions.append(await whole_request(reader))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    server, port = await serving(serve)
    found = await asked(
        session,
        f"{sandbox.url}/otlp",
        signoz_url=f"http://127.0.0.1:{port}/",
        signoz_api_key=SecretStr("service-account-key"),
    )
    assert found[-1].verdict == verdict
    assert said in found[-1].detail
    [span] = [span for span in sandbox.collector.spans() if span["name"] == otlp.SPAN_NAME]
    assert b"POST /api/v5/query_range" in questions[0]
    assert b"SIGNOZ-API-KEY: service-account-key" in questions[0]
    assert span["trace_id"].encode() in b"".join(questions)
    server.close()


@pytest.mark.parametrize(
    ("ahead", "verdict", "said"),
    [(0, "ok", "within 2 s"), (60, "FAULT", "s behind the venues'"), (-60, "FAULT", "s ahead of the venues'")],
)
async def test_a_clock_that_is_off_is_found_by_the_dates_of_the_replies(
    session: aiohttp.ClientSession, ahead: int, verdict: str, said: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = formatdate(time.time() + ahead, usegmt=True)
        writer.write(f"HTTP/1.1 404 No\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server, port = await serving(serve)
    only_upbit = Settings(
        _env_file=None, upbit_base_url=f"http://127.0.0.1:{port}", kis_symbols=(), yfinance_symbols=()
    )
    venue, clock = await setup.venues(only_upbit, session)
    assert venue.verdict == "ok"
    assert clock.verdict == verdict
    assert said in clock.detail
    server.close()


def test_a_line_says_its_verdict_first() -> None:
    assert str(findings.fault("redis", "is away")) == "FAULT   redis: is away"
