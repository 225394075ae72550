"""An OTLP/HTTP collector (protobuf): keeps what processes export, in a form a test or a page can read."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KEPT = 50_000
PROTOBUF = "application/x-protobuf"

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")


class Collector:
    """Receives spans, metrics and logs; keeps the last `KEPT` of each and the latest points of every metric."""

    def __init__(self) -> None:
        self._spans: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._logs: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._metrics: OrderedDict[tuple[str, str, str], dict[str, Any]] = OrderedDict()
        self._received = {"spans": 0, "logs": 0}

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.post(f"{prefix}/v1/traces", self._receiving(self._traces)),
            web.post(f"{prefix}/v1/metrics", self._receiving(self._points)),
            web.post(f"{prefix}/v1/logs", self._receiving(self._records)),
        ]

    @staticmethod
    def subjects(_: web.Request) -> list[str]:
        return []

    def failed(self, status: int) -> web.Response:
        return web.json_response({"code": 13, "message": "internal error"}, status=status)

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        headers = {"Retry-After": str(retry_after)}
        return web.json_response({"code": 8, "message": "too many requests"}, status=status or 429, headers=headers)

    def spans(self) -> list[dict[str, Any]]:
        return list(self._spans)

    def metrics(self) -> list[dict[str, Any]]:
        return list(self._metrics.values())

    def logs(self) -> list[dict[str, Any]]:
        return list(self._logs)

    def counts(self) -> dict[str, int]:
        """Spans and logs received since the last clear, and how many metric names there are."""
        names = {name for _, _, name in self._metrics}
        return {"spans": self._received["spans"], "metrics": len(names), "logs": self._received["logs"]}

    def clear(self) -> None:
        self._spans.clear()
        self._logs.clear()
        self._metrics.clear()
        self._received = dict.fromkeys(self._received, 0)

    @staticmethod
    def _receiving(take: Callable[[bytes], Any]) -> Any:
        async def handler(request: web.Request) -> web.Response:
            if request.content_type != PROTOBUF:
                return web.json_response({"code": 3, "message": f"use content type {PROTOBUF}"}, status=415)
            # aiohttp has already undone the gzip of Content-Encoding
            body = await request.read()
            try:
                answer = take(body)
            except DecodeError:
                return web.json_response({"code": 3, "message": "the body is not the OTLP protobuf"}, status=400)
            return web.Response(body=answer.SerializeToString(), content_type=PROTOBUF)

        return handler

    def _traces(self, body: bytes) -> ExportTraceServiceResponse:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service, instance = _origin(group.resource)
            for scope_spans in group.scope_spans:
                for span in scope_spans.spans:
                    self._received["spans"] += 1
                    self._spans.append(
                        {
                            "trace_id": span.trace_id.hex(),
                            "span_id": span.span_id.hex(),
                            "parent_id": span.parent_span_id.hex(),
                            "name": span.name,
                            "kind": _KINDS[span.kind],
                            "service": service,
                            "instance": instance,
                            "scope": scope_spans.scope.name,
                            "attributes": _attributes(span.attributes),
                            "status": _STATUSES[span.status.code],
                            "status_message": span.status.message,
                            "events": [
                                {"name": event.name, "attributes": _attributes(event.attributes)}
                                for event in span.events
                            ],
                            "links": [
                                {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()} for link in span.links
                            ],
                            "start_ns": span.start_time_unix_nano,
                            "end_ns": span.end_time_unix_nano,
                        }
                    )
        return ExportTraceServiceResponse()

    def _points(self, body: bytes) -> ExportMetricsServiceResponse:
        for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            service, instance = _origin(group.resource)
            for scope_metrics in group.scope_metrics:
                for metric in scope_metrics.metrics:
                    kind = metric.WhichOneof("data") or "gauge"
                    key = (service, instance, metric.name)
                    self._metrics[key] = {
                        "name": metric.name,
                        "type": kind,
                        "unit": metric.unit,
                        "service": service,
                        "instance": instance,
                        "scope": scope_metrics.scope.name,
                        "points": [_point(point) for point in getattr(metric, kind).data_points],
                    }
                    self._metrics.move_to_end(key)
        while len(self._metrics) > KEPT:
            self._metrics.popitem(last=False)
        return ExportMetricsServiceResponse()

    def _records(self, body: bytes) -> ExportLogsServiceResponse:
        for group in ExportLogsServiceRequest.FromString(body).resource_logs:
            service, instance = _origin(group.resource)
            for scope_logs in group.scope_logs:
                for record in scope_logs.log_records:
                    self._received["logs"] += 1
                    self._logs.append(
                        {
                            "service": service,
                            "instance": instance,
                            "severity": record.severity_text,
                            "body": _value(record.body),
                            "trace_id": record.trace_id.hex(),
                            "span_id": record.span_id.hex(),
                            "attributes": _attributes(record.attributes),
                            "time_ns": record.time_unix_nano or record.observed_time_unix_nano,
                        }
                    )
        return ExportLogsServiceResponse()


def _origin(resource: Any) -> tuple[str, str]:
    attributes = _attributes(resource.attributes)
    return str(attributes.get("service.name", "")), str(attributes.get("service.instance.id", ""))


def _point(point: Any) -> dict[str, Any]:
    """A number point has a value, a histogram or summary its count and sum."""
    shown: dict[str, Any] = {"attributes": _attributes(point.attributes)}
    if hasattr(point, "as_int"):
        shown["value"] = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
    else:
        shown |= {"count": point.count, "sum": point.sum}
    return shown


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    """The plain value of an OTLP AnyValue; bytes as hex."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case name:
            return getattr(value, name)
