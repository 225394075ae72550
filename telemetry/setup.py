"""OpenTelemetry of one process: providers, exporters, Prometheus text, and a shutdown under a deadline."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from os import environ

from opentelemetry import metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from telemetry import logs, pulse
from telemetry.exporting import SIGNALS, CountingLogExporter, CountingMetricExporter, CountingSpanExporter
from telemetry.instruments import SECONDS, export_failures, start_at_zero
from telemetry.process import watch_process
from telemetry.redacting import RedactingLogExporter, RedactingSpanExporter, Redactor

log = logging.getLogger(__name__)

# A collector that is away costs at most this much per export; the SDK's own default of 10 s made a
# worker need 20 s to stop.
EXPORT_TIMEOUT_SECONDS = 2
SHUTDOWN_DEADLINE_SECONDS = 6.0

# What a killed process has not exported yet is lost with it, so it is exported soon; and what cannot be exported
# is kept up to these numbers, the oldest of it thrown away first. The SDK's own variables have the last word.
BATCHES: Mapping[str, str] = {
    f"OTEL_{processor}_{name}": value
    for processor in ("BSP", "BLRP")
    for name, value in (("SCHEDULE_DELAY", "500"), ("MAX_QUEUE_SIZE", "2048"), ("MAX_EXPORT_BATCH_SIZE", "512"))
}
# a text longer than that, such as the statement of a large insert, is cut
LONGEST_ATTRIBUTE = 16_384

# what the instrumentations of others measure, as we want it
VIEWS = (
    # its own boundaries start at 5 s, where most tasks have long ended
    View(
        instrument_name="flower.task.runtime.seconds",
        aggregation=ExplicitBucketHistogramAggregation(boundaries=SECONDS),
    ),
    # api.call.duration says more, and it without addresses
    View(instrument_name="http.client.duration", aggregation=DropAggregation()),
)


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
    prometheus_host: str = "127.0.0.1"

    @property
    def service_name(self) -> str:
        return f"{self.service_prefix}-{self.process}"


@dataclass(frozen=True, slots=True)
class Exporters:
    """Where the three signals go."""

    spans: SpanExporter
    metrics: MetricExporter
    logs: LogRecordExporter


class Telemetry:
    """The providers of this process. Made once, by `start`; ended by `shutdown`, at the latest when Python ends."""

    def __init__(
        self,
        tracers: TracerProvider,
        meters: MeterProvider,
        loggers: LoggerProvider | None,
        stop_prometheus: Callable[[], None] | None,
    ) -> None:
        self._tracers = tracers
        self._meters = meters
        self._loggers = loggers
        self._stop_prometheus = stop_prometheus
        self._ended = False
        atexit.register(self.shutdown)

    def shutdown(self, deadline: float = SHUTDOWN_DEADLINE_SECONDS) -> None:
        """Send what is left and stop, within `deadline` seconds even if the collector is away."""
        if self._ended:
            return
        self._ended = True
        # The SDK ignores the time-outs it is given and flushes in the calling thread, so each provider
        # gets a thread of its own that may be left behind.
        threads = [_background(self._tracers.shutdown), _background(self._meters.shutdown)]
        if self._loggers is not None:
            threads.append(_background(self._loggers.shutdown))
        latest = time.monotonic() + deadline
        for thread in threads:
            thread.join(max(0.0, latest - time.monotonic()))
        logs.export_to(None)
        if any(thread.is_alive() for thread in threads):
            log.warning("telemetry was not flushed within %.0f s; is the collector reachable?", deadline)
        if self._stop_prometheus is not None:
            self._stop_prometheus()


def _background(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, name="telemetry-shutdown", daemon=True)
    thread.start()
    return thread


def start(config: TelemetryConfig, redactor: Redactor | None = None) -> Telemetry:
    """Make the global providers of this process; `redactor` sees what is exported last. Raises `PortInUse`."""
    resource = Resource.create(
        {
            "service.name": config.service_name,
            "service.version": _version(),
            "service.instance.id": config.instance,
            "deployment.environment": config.environment,
        }
    )
    for name, value in BATCHES.items():
        environ.setdefault(name, value)
    # first, because a taken port is a reason not to start, and what has started would have to be stopped
    serve = _open_prometheus(config) if config.prometheus_port else None
    tracers = TracerProvider(
        resource=resource, shutdown_on_exit=False, span_limits=SpanLimits(max_attribute_length=LONGEST_ATTRIBUTE)
    )
    readers: list[MetricReader] = []
    loggers = None
    if config.endpoint:
        exporters = _exporters(config)
        redactor = redactor or Redactor()
        spans = RedactingSpanExporter(CountingSpanExporter(exporters.spans), redactor)
        tracers.add_span_processor(BatchSpanProcessor(spans))
        readers.append(
            PeriodicExportingMetricReader(
                CountingMetricExporter(exporters.metrics), export_timeout_millis=EXPORT_TIMEOUT_SECONDS * 1000
            )
        )
        loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        records = RedactingLogExporter(CountingLogExporter(exporters.logs), redactor)
        loggers.add_log_record_processor(BatchLogRecordProcessor(records))
    stop_prometheus = None
    if serve is not None:
        reader, stop_prometheus = serve
        readers.append(reader)
    meters = MeterProvider(
        metric_readers=readers,
        resource=resource,
        shutdown_on_exit=False,
        exemplar_filter=AlwaysOffExemplarFilter(),
        views=VIEWS,
    )
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    logs.export_to(loggers)
    if config.endpoint:
        start_at_zero(export_failures, signal=SIGNALS)
    watch_process()
    return Telemetry(tracers, meters, loggers, stop_prometheus)


def _exporters(config: TelemetryConfig) -> Exporters:
    if config.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces

        where, insecure, timeout = config.endpoint, config.insecure, EXPORT_TIMEOUT_SECONDS
        return Exporters(
            grpc_traces.OTLPSpanExporter(where, insecure=insecure, timeout=timeout),
            grpc_metrics.OTLPMetricExporter(where, insecure=insecure, timeout=timeout),
            grpc_logs.OTLPLogExporter(where, insecure=insecure, timeout=timeout),
        )
    from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    base = config.endpoint.rstrip("/")
    return Exporters(
        http_traces.OTLPSpanExporter(f"{base}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS),
        http_metrics.OTLPMetricExporter(f"{base}/v1/metrics", timeout=EXPORT_TIMEOUT_SECONDS),
        http_logs.OTLPLogExporter(f"{base}/v1/logs", timeout=EXPORT_TIMEOUT_SECONDS),
    )


def _open_prometheus(config: TelemetryConfig) -> tuple[MetricReader, Callable[[], None]]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(config.prometheus_port, config.prometheus_host)
    except OSError as error:
        raise PortInUse(
            f"port {config.prometheus_port} for Prometheus cannot be opened at {config.prometheus_host} "
            f"({error.strerror}): set PROMETHEUS_PORT to a free port, or 0, and PROMETHEUS_HOST to one of ours"
        ) from None
    if metrics_app := server.get_app():
        # the same port says whether this process works
        server.set_app(pulse.answering(metrics_app))

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
