"""The collector, end to end: a span and a metric of our own go where the processes send theirs, and are looked for.

Sent by hand and not by the SDK's exporters, which only say whether it worked; in the same protocol, to the same
address, with the same OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.util.re import parse_env_headers

from doctor.findings import PATIENCE, Finding, fault, ok, skipped, why
from settings import Settings

SETTING = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOBUF = "application/x-protobuf"
SPAN_NAME, METRIC_NAME = "autotrader doctor", "autotrader.doctor.run"
# SigNoz writes in batches, and shows what it has written
READ_BACK_SECONDS = 20.0
GRPC_SECONDS = PATIENCE

Reply: TypeAlias = type[ExportTraceServiceResponse] | type[ExportMetricsServiceResponse]

_REFUSALS = {
    401: "wants a key: set OTEL_EXPORTER_OTLP_HEADERS, such as signoz-ingestion-key=…",
    403: "refuses the key in OTEL_EXPORTER_OTLP_HEADERS",
    404: "has no such path; {setting} is only scheme, host and port (4318 for HTTP), without /v1/traces",
    405: "takes no OTLP; {setting} must name the collector's HTTP port (4318)",
    415: "does not take protobuf; {setting} must name the collector's HTTP port (4318)",
    429: "refuses for rate; give the collector more room",
    503: "is overloaded or starting; look at its log",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """What is sent, known by its trace id and by the metric's value, which is this run's time in milliseconds."""

    trace_id: bytes
    at_ns: int

    @property
    def value(self) -> int:
        return self.at_ns // 1_000_000

    def spans(self, resource: Resource) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add(resource=resource)
        group.scope_spans.add().spans.add(
            trace_id=self.trace_id,
            span_id=self.trace_id[:8],
            name=SPAN_NAME,
            kind="SPAN_KIND_INTERNAL",
            start_time_unix_nano=self.at_ns,
            end_time_unix_nano=self.at_ns + 1_000_000,
        )
        return request

    def metrics(self, resource: Resource) -> ExportMetricsServiceRequest:
        request = ExportMetricsServiceRequest()
        metric = (
            request.resource_metrics.add(resource=resource)
            .scope_metrics.add()
            .metrics.add(name=METRIC_NAME, unit="ms", description="When the doctor last looked, in Unix milliseconds")
        )
        metric.gauge.data_points.add(time_unix_nano=self.at_ns, as_int=self.value)
        return request


async def collector(settings: Settings, session: aiohttp.ClientSession) -> list[Finding]:
    """Send the probe, and read it back where SigNoz can be asked."""
    if not settings.otlp_endpoint:
        return [skipped("otlp", "OTEL_EXPORTER_OTLP_ENDPOINT is empty: traces and metrics go nowhere")]
    probe = Probe(secrets.token_bytes(16), time.time_ns())
    resource = _resource(settings)
    send = _send_grpc if settings.otel_exporter_otlp_protocol == "grpc" else _send_http
    try:
        found = await send(settings, session, probe, resource)
    except ValueError as error:
        return [fault("otlp", f"{SETTING} is no address ({error})")]
    if all(finding.verdict == "ok" for finding in found):
        found.append(await _read_back(settings, session, probe))
    return found


def _resource(settings: Settings) -> Resource:
    attributes = {
        "service.name": f"{settings.otel_service_name}-doctor",
        "deployment.environment": settings.otel_environment,
    }
    return Resource(
        attributes=[KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in attributes.items()]
    )


def _headers() -> Mapping[str, str]:
    return parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)


def _tls() -> ssl.SSLContext | bool:
    """The trust of the machine, or in the issuer that OTEL_EXPORTER_OTLP_CERTIFICATE names."""
    file = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE")
    return ssl.create_default_context(cafile=file) if file else True


async def _send_http(
    settings: Settings, session: aiohttp.ClientSession, probe: Probe, resource: Resource
) -> list[Finding]:
    base = settings.otlp_endpoint.rstrip("/")
    parts: list[tuple[str, str, Any, Reply]] = [
        ("otlp traces", "/v1/traces", probe.spans(resource), ExportTraceServiceResponse),
        ("otlp metrics", "/v1/metrics", probe.metrics(resource), ExportMetricsServiceResponse),
    ]
    found = []
    for name, path, request, reply in parts:
        try:
            async with session.post(
                base + path,
                data=request.SerializeToString(),
                headers={**_headers(), "Content-Type": PROTOBUF},
                ssl=_tls(),
                allow_redirects=False,
            ) as response:
                found.append(_judge(name, response, await response.read(), reply))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            found.append(fault(name, why(error, SETTING)))
    return found


def _judge(name: str, response: aiohttp.ClientResponse, body: bytes, reply: Reply) -> Finding:
    status = response.status
    if status != 200:
        text = _REFUSALS.get(status, "does not take it; look at the collector's log").format(setting=SETTING)
        return fault(name, f"the collector answers {status}: it {text}")
    if response.content_type not in (PROTOBUF, "application/json"):
        return fault(name, f"what answers is no collector ({response.content_type}); correct the port in {SETTING}")
    return _partly(name, body, reply) or ok(name, "arrived at the collector, which acknowledged it")


def _partly(name: str, body: bytes, reply: Reply) -> Finding | None:
    """A collector may say 200 and that it has thrown away what it got."""
    try:
        partial = reply.FromString(body).partial_success
    except DecodeError:
        return None
    rejected = getattr(partial, "rejected_spans", 0) or getattr(partial, "rejected_data_points", 0)
    return fault(name, f"the collector threw it away: {partial.error_message[:200]}") if rejected else None


async def _send_grpc(
    settings: Settings, session: aiohttp.ClientSession, probe: Probe, resource: Resource
) -> list[Finding]:
    import grpc  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

    target = settings.otlp_endpoint.partition("://")[2] or settings.otlp_endpoint
    if settings.signoz_insecure and not settings.otlp_endpoint.startswith("https://"):
        channel = grpc.aio.insecure_channel(target)
    else:
        channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials())
    metadata = tuple(_headers().items())
    traces: Any = TraceServiceStub(channel)  # type: ignore[no-untyped-call]
    metrics: Any = MetricsServiceStub(channel)  # type: ignore[no-untyped-call]
    found = []
    async with channel:
        for name, stub, request in (
            ("otlp traces", traces, probe.spans(resource)),
            ("otlp metrics", metrics, probe.metrics(resource)),
        ):
            try:
                await stub.Export(request, timeout=GRPC_SECONDS, metadata=metadata)
                found.append(ok(name, "arrived at the collector, which acknowledged it"))
            except grpc.aio.AioRpcError as error:
                found.append(fault(name, _grpc_fault(error.code().name, error.details() or "")))
    return found


def _grpc_fault(code: str, details: str) -> str:
    """gRPC says UNAVAILABLE for everything below it; its details tell the causes apart."""
    known = details.lower()
    if any(text in known for text in ("hostname lookup", "domain name not found", "dns resolution", "name or service")):
        return f"no such host (DNS); correct the host in {SETTING}"
    if "connection refused" in known:
        return f"nothing listens on that port (connection refused); start it, or correct the port in {SETTING} (4317)"
    if "ssl" in known or "tls" in known or "certificate" in known or "handshake" in known:
        return "TLS fails; set SIGNOZ_INSECURE=true for a collector without TLS, or give it a certificate"
    if code == "DEADLINE_EXCEEDED":
        return f"it does not answer within {GRPC_SECONDS:g} s (it hangs); restart it"
    if code == "UNIMPLEMENTED":
        return f"what answers takes no OTLP over gRPC; correct the port in {SETTING} (4317)"
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return "the collector refuses the key; set OTEL_EXPORTER_OTLP_HEADERS"
    return f"{code}; does {SETTING} name a port that speaks gRPC (4317)?"


async def _read_back(settings: Settings, session: aiohttp.ClientSession, probe: Probe) -> Finding:
    """Whether SigNoz shows the span; its query API is asked until it does."""
    key = settings.signoz_api_key.get_secret_value()
    if not (settings.signoz_url and key):
        return skipped("signoz stores it", "not looked for; that needs SIGNOZ_URL and SIGNOZ_API_KEY")
    query = {
        "schemaVersion": "v1",
        "start": probe.value - 600_000,
        "end": probe.value + 600_000,
        "requestType": "raw",
        "compositeQuery": {
            "queries": [
                {
                    "type": "builder_query",
                    "spec": {
                        "name": "A",
                        "signal": "traces",
                        "filter": {"expression": f"trace_id = '{probe.trace_id.hex()}'"},
                        "limit": 1,
                    },
                }
            ]
        },
    }
    give_up = time.monotonic() + READ_BACK_SECONDS
    while True:
        try:
            async with session.post(
                f"{settings.signoz_url.rstrip('/')}/api/v5/query_range", json=query, headers={"SIGNOZ-API-KEY": key}
            ) as response:
                if response.status in (401, 403):
                    return fault("signoz stores it", f"refuses SIGNOZ_API_KEY ({response.status}); make a new one")
                if response.status != 200:
                    return fault("signoz stores it", f"its query API answers {response.status}; is SIGNOZ_URL right?")
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return fault("signoz stores it", why(error, "SIGNOZ_URL"))
        if _rows(answer):
            return ok("signoz stores it", f"the span was read back: trace {probe.trace_id.hex()}")
        if time.monotonic() > give_up:
            return fault(
                "signoz stores it",
                f"the collector took the span, and SigNoz shows no trace {probe.trace_id.hex()} after "
                f"{READ_BACK_SECONDS:g} s; look at the collector's exporter and at ClickHouse",
            )
        await asyncio.sleep(1)


def _rows(answer: Any) -> list[Any]:
    try:
        return [row for result in answer["data"]["data"]["results"] for row in result["rows"] or ()]
    except (KeyError, TypeError):
        return []
