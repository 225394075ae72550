"""Logs as JSON lines (or coloured text) on stderr, each with the ids of the span it was written in, and by OTLP."""

from __future__ import annotations

import copy
import logging
import sys
import time
from typing import Any

import structlog
from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider

from telemetry.redacting import RedactEvent, Redactor
from telemetry.simulation import not_simulated

# These write whole URLs, with the bot token or a key in them, at INFO.
LOUD_LOGGERS = ("httpx", "httpcore", "telegram", "yfinance", "urllib3", "peewee")
# Says of every task that it has come. How it ended is said too, and what has come is counted (celery.task.received).
REPEATING_LOGGERS = ("celery.worker.strategy",)
# What the export itself has to say is never exported: it would be the next thing to export.
EXPORT_LOGGERS = ("opentelemetry", "urllib3", "grpc")
# A collector that is away is the same news at every export.
REPEAT_SECONDS = 300.0

# What every record has; the rest of a record's fields are somebody's extras.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_exporting: logging.Handler | None = None


def add_trace_ids(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add `trace_id` and `span_id` of the current span, if there is one."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event


def configure(log_format: str, level: str, redactor: Redactor | None = None) -> None:
    """Send every logger of the process through one formatter: `log_format` is "json" or "console".

    May be called again, as Celery does after the telemetry has started: what exports the logs stays.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    if log_format == "json":
        # without local variables, which hold tokens that no setting knows, and are cut where half a secret is left
        tracebacks: structlog.typing.Processor = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        render: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        tracebacks = structlog.processors.format_exc_info
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(NotAgain(EXPORT_LOGGERS, REPEAT_SECONDS))
    handler.addFilter(not_simulated)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                tracebacks,
                # last, so that it sees what is written
                RedactEvent(redactor or Redactor()),
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler] if _exporting is None else [handler, _exporting]
    root.setLevel(level)
    for name in LOUD_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in REPEATING_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "DEBUG" else logging.WARNING)


def export_to(provider: LoggerProvider | None) -> None:
    """Give every record of the process to `provider`, too; None ends that."""
    global _exporting
    root = logging.getLogger()
    if _exporting is not None and _exporting in root.handlers:
        root.removeHandler(_exporting)
    _exporting = None if provider is None else ExportingHandler(provider)
    if _exporting is not None:
        root.addHandler(_exporting)


class ExportingHandler(LoggingHandler):
    """Makes records of OpenTelemetry, each in the trace it was written in."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(logger_provider=provider)
        self.addFilter(_not_of_an_export)
        self.addFilter(not_simulated)

    def emit(self, record: logging.LogRecord) -> None:
        """Export the text and the exception; the extras of others (Celery adds a task's arguments) stay here."""
        if extras := vars(record).keys() - _RECORD_FIELDS:
            record = copy.copy(record)
            for name in extras:
                delattr(record, name)
        super().emit(record)


class NotAgain(logging.Filter):
    """Lets a message of `loggers` pass once in `seconds`."""

    def __init__(self, loggers: tuple[str, ...], seconds: float) -> None:
        super().__init__()
        self._loggers = loggers
        self._seconds = seconds
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_of(record, self._loggers):
            return True
        now, message = time.monotonic(), (record.name, str(record.msg))
        if now - self._said.get(message, -self._seconds) < self._seconds:
            return False
        self._said[message] = now
        return True


def _not_of_an_export(record: logging.LogRecord) -> bool:
    return not (_is_of(record, EXPORT_LOGGERS) or context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))


def _is_of(record: logging.LogRecord, loggers: tuple[str, ...]) -> bool:
    return record.name.split(".", 1)[0] in loggers
