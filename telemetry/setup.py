"""OpenTelemetry of one process: providers, exporters, Prometheus text, and a shutdown under a deadline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from telemetry.instruments import SECONDS

log = logging.getLogger(__name__)

# A collector that is away costs at most this much per export; the SDK's own default of 10 s made a
# worker need 20 s to stop.
EXPORT_TIMEOUT_SECONDS = 2
SHUTDOWN_DEADLINE_SECONDS = 6.0


class PortInUse(Exception):
    """The Prometheus port of this process is taken; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What telemetry needs to know about this process.

    `process` is the short name (`worker-upbit`, `beat`), `instance` a name that stays the same over restarts.
    An empty `endpoint` exports nothing by OTLP; port 0 serves no Prometheus text.
    """

    service_prefix: str
    process: str
    instance: str
    environment: str
    endpoint: str
    protocol: str
    insecure: bool
    prometheus_port: int

    @property
    def service_name(self) -> str:
        return f"{self.service_prefix}-{self.process}"


class Telemetry:
    """The providers of this process. Made once, by `start`."""

    def __init__(self, tracer_provider: TracerProvider, meter_provider: MeterProvider, stop_prometheus: Any) -> None:
        self._tracers = tracer_provider
        self._meters = meter_provider
        self._stop_prometheus = stop_prometheus

    def shutdown(self, deadline: float = SHUTDOWN_DEADLINE_SECONDS) -> None:
        """Send what is left and stop, within `deadline` seconds even if the collector is away."""
        # The SDK ignores the time-outs it is given and flushes in the calling thread, so each provider
        # gets a thread of its own that may be left behind.
        threads = [_background(self._tracers.shutdown), _background(self._meters.shutdown)]
        for thread in threads:
            thread.join(deadline)
        if any(thread.is_alive() for thread in threads):
            log.warning("telemetry was not flushed within %.0f s; is the collector reachable?", deadline)
        if self._stop_prometheus is not None:
            self._stop_prometheus()


def _background(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, name="telemetry-shutdown", daemon=True)
    thread.start()
    return thread


def start(config: TelemetryConfig) -> Telemetry:
    """Make the global providers of this process. Raises `PortInUse`."""
    resource = Resource.create(
        {
            "service.name": config.service_name,
            "service.version": _version(),
            "service.instance.id": config.instance,
            "deployment.environment": config.environment,
        }
    )
    tracers = TracerProvider(resource=resource)
    readers: list[MetricReader] = []
    if config.endpoint:
        spans, measurements = _exporters(config)
        tracers.add_span_processor(BatchSpanProcessor(spans))
        readers.append(PeriodicExportingMetricReader(measurements, export_timeout_millis=EXPORT_TIMEOUT_SECONDS * 1000))
    stop_prometheus = None
    if config.prometheus_port:
        reader, stop_prometheus = _prometheus(config.prometheus_port)
        readers.append(reader)
    meters = MeterProvider(
        metric_readers=readers,
        resource=resource,
        exemplar_filter=AlwaysOffExemplarFilter(),
        # the instrumentation's own boundaries start at 5 s, where most tasks have long ended
        views=[
            View(
                instrument_name="flower.task.runtime.seconds",
                aggregation=ExplicitBucketHistogramAggregation(boundaries=SECONDS),
            )
        ],
    )
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    return Telemetry(tracers, meters, stop_prometheus)


def _exporters(config: TelemetryConfig) -> tuple[SpanExporter, MetricExporter]:
    if config.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces

        return (
            grpc_traces.OTLPSpanExporter(config.endpoint, insecure=config.insecure, timeout=EXPORT_TIMEOUT_SECONDS),
            grpc_metrics.OTLPMetricExporter(config.endpoint, insecure=config.insecure, timeout=EXPORT_TIMEOUT_SECONDS),
        )
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    base = config.endpoint.rstrip("/")
    return (
        http_traces.OTLPSpanExporter(f"{base}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS),
        http_metrics.OTLPMetricExporter(f"{base}/v1/metrics", timeout=EXPORT_TIMEOUT_SECONDS),
    )


def _prometheus(port: int) -> tuple[MetricReader, Callable[[], None]]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, "127.0.0.1")
    except OSError as error:
        raise PortInUse(
            f"port {port} for Prometheus cannot be opened ({error.strerror}): set PROMETHEUS_PORT to a free port, or 0"
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1)

    return PrometheusMetricReader(scope_info_enabled=False), stop


def _version() -> str:
    try:
        return version("autotrader")
    except PackageNotFoundError:
        return "0+source"
