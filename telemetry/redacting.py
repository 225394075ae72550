"""Redaction at the edges of a process: what leaves as a span, a log record, a log line or an event passes here.

It runs where something is written or exported, not where it is made, so that a forgotten place cannot leak. What
has no secret in it is passed on as it is, without a copy.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from telemetry.redaction import MARK, all_forms, redact, replace, secret_values, suspicious

log = logging.getLogger(__name__)

# The same names, statements and queues come again and again; what is longer than this is looked at anew each time.
KNOWN_TEXTS = 4_096
LONGEST_KNOWN = 512


class Redactor:
    """Redacts with the secrets of one process; may be used from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms = all_forms(secrets)
        self._clean: set[str] = set()
        self._names: dict[object, bool] = {}

    def text(self, text: str) -> str:
        """The text without secrets; the very same object if it has none."""
        if self.are_clean((text,)):
            return text
        redacted = replace(text, self._forms)
        if redacted != text:
            return redacted
        self._remember((text,))
        return text

    def are_clean(self, texts: Iterable[str]) -> bool:
        """Whether none of the texts has a secret in it. False may be wrong: `text` knows."""
        unknown = [text for text in texts if text not in self._clean]
        if not unknown:
            return True
        # one look at all of them costs hardly more than a look at each
        if suspicious("\n".join(unknown), self._forms):
            return False
        self._remember(unknown)
        return True

    def _remember(self, clean: Iterable[str]) -> None:
        if len(self._clean) >= KNOWN_TEXTS:
            self._clean.clear()
        self._clean.update(text for text in clean if len(text) <= LONGEST_KNOWN)

    def is_credential(self, name: object) -> bool:
        """Whether a field of that name holds a credential, whatever it looks like."""
        known = self._names.get(name)
        if known is None:
            known = MARK in redact(f"{name}=value")
            if len(self._names) < KNOWN_TEXTS:
                self._names[name] = known
        return known

    def value(self, value: Any) -> Any:
        """A value of JSON or of OpenTelemetry, whatever is nested in it; the same object if there is no secret."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self.fields(value)
        if isinstance(value, list | tuple):
            items = [self.value(item) for item in value]
            return value if all(map(_same, items, value)) else type(value)(items)
        if isinstance(value, bytes):
            text = value.decode("latin-1")
            return value if self.text(text) == text else self.text(text).encode("latin-1", "replace")
        return value

    def fields(self, fields: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """The same for named values; what is named as a credential is one."""
        changed = {}
        for name, value in fields.items():
            redacted = MARK if isinstance(value, str) and value and self.is_credential(name) else self.value(value)
            if redacted is not value and redacted != value:
                changed[name] = redacted
        return {**fields, **changed} if changed else fields


def _same(one: object, other: object) -> bool:
    return one is other


def redactor_of(settings: object) -> Redactor:
    """The redactor of a process with these settings and this environment."""
    return Redactor(secret_values(settings))


class _Seen:
    """Names and texts to look at together: that costs little more than to look at one."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.texts: set[str] = set()

    def add(self, fields: Mapping[str, Any] | None) -> None:
        """Named values; those that are no text are looked at as Python shows them."""
        for name, value in (fields or {}).items():
            self.names.add(name)
            if isinstance(value, str):
                self.texts.add(value)
            elif value is not None and not isinstance(value, int | float):
                self.texts.add(repr(value))

    def is_clean(self, redactor: Redactor) -> bool:
        """Whether none of it is a secret. False may be wrong."""
        return not any(map(redactor.is_credential, self.names)) and redactor.are_clean(self.texts)


class RedactingSpanExporter(SpanExporter):
    """Passes spans on to `exporter` without secrets in their names, attributes, events and status."""

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self._exporter = exporter
        self._redactor = redactor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self._are_clean(spans):
            spans = [span if self._are_clean((span,)) else self._redacted(span) for span in spans]
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _are_clean(self, spans: Iterable[ReadableSpan]) -> bool:
        seen = _Seen()
        for span in spans:
            seen.texts.add(span.name)
            if span.status.description:
                seen.texts.add(span.status.description)
            seen.add(span.attributes)
            for event in span.events:
                seen.texts.add(event.name)
                seen.add(event.attributes)
        return seen.is_clean(self._redactor)

    def _redacted(self, span: ReadableSpan) -> ReadableSpan:
        clean = self._redactor
        # each of these properties makes a new object when it is asked
        own_attributes, own_events, status = span.attributes or {}, span.events, span.status
        name, attributes = clean.text(span.name), clean.fields(own_attributes)
        description = clean.text(status.description) if status.description else status.description
        events = [self._event(event) for event in own_events]
        if (
            name is span.name
            and attributes is own_attributes
            and description is status.description
            and all(map(_same, events, own_events))
        ):
            return span
        return ReadableSpan(
            name=name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=attributes,
            events=events,
            links=span.links,
            kind=span.kind,
            status=Status(status.status_code, description),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _event(self, event: Event) -> Event:
        own = event.attributes or {}
        name, attributes = self._redactor.text(event.name), self._redactor.fields(own)
        if name is event.name and attributes is own:
            return event
        return Event(name, attributes, event.timestamp)


class RedactingLogExporter(LogRecordExporter):
    """Passes log records on to `exporter` without secrets in their bodies and attributes."""

    def __init__(self, exporter: LogRecordExporter, redactor: Redactor) -> None:
        self._exporter = exporter
        self._redactor = redactor

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        if not self._are_clean(batch):
            batch = [self._redacted(record) for record in batch]
        return self._exporter.export(batch)

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _are_clean(self, batch: Iterable[ReadableLogRecord]) -> bool:
        seen = _Seen()
        for readable in batch:
            seen.add({"body": readable.log_record.body})
            seen.add(readable.log_record.attributes)
        return seen.is_clean(self._redactor)

    def _redacted(self, readable: ReadableLogRecord) -> ReadableLogRecord:
        record = readable.log_record
        own = record.attributes or {}
        body, attributes = self._redactor.value(record.body), self._redactor.fields(own)
        if body is record.body and attributes is own:
            return readable
        clean = copy.copy(record)
        clean.body, clean.attributes = body, dict(attributes)
        return dataclasses.replace(readable, log_record=clean)


class RedactEvent:
    """The last processor of structlog before the renderer; objects are shown as the renderer would show them."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        seen = _Seen()
        seen.add(event)
        if seen.is_clean(self._redactor):
            return event
        return dict(self._redactor.fields({name: _shown(value) for name, value in event.items()}))


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(inner) for inner in value]
    return repr(value)


def log_uncaught() -> None:
    """Send what no code catches through the log, which redacts it: Python would write it to stderr as it is."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("uncaught %s", kind.__name__, exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            uncaught(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
