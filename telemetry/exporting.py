"""What counts the exports that did not arrive, around the exporters of OTLP.

A collector that is away, refuses or hangs is nothing a task may notice; so it has to be seen in another way, and
Prometheus, which asks this process itself, still sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry.instruments import export_failures

SIGNALS = ("traces", "metrics", "logs")

Result = TypeVar("Result")


class CountingSpanExporter(SpanExporter):
    """Passes spans on to `exporter` and counts what it does not deliver."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return _counted("traces", SpanExportResult.SUCCESS, lambda: self._exporter.export(spans))

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class CountingMetricExporter(MetricExporter):
    """The same for metrics."""

    def __init__(self, exporter: MetricExporter) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any) -> MetricExportResult:
        return _counted(
            "metrics",
            MetricExportResult.SUCCESS,
            lambda: self._exporter.export(metrics_data, timeout_millis, **options),
        )

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        self._exporter.shutdown(timeout_millis, **options)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class CountingLogExporter(LogRecordExporter):
    """The same for log records."""

    def __init__(self, exporter: LogRecordExporter) -> None:
        self._exporter = exporter

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return _counted("logs", LogRecordExportResult.SUCCESS, lambda: self._exporter.export(batch))

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _counted(signal: str, success: Result, export: Callable[[], Result]) -> Result:
    arrived = False
    try:
        result = export()
        arrived = result is success
        return result
    finally:
        if not arrived:
            export_failures.add(1, {"signal": signal})
