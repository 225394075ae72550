"""Nothing that leaves a process through its edges holds a secret; what holds none leaves as it is."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery
from kombu.serialization import dumps
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, Status, StatusCode

from settings import Settings
from tasks import serializer
from telemetry import logs
from telemetry.redacting import RedactingLogExporter, RedactingSpanExporter, Redactor, log_uncaught
from telemetry.redaction import MARK, environment_secrets, redact, secret_values

SECRET = 'S3cr/t+"한글"'


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def provider(kept: Kept) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(RedactingSpanExporter(kept, Redactor([SECRET]))))
    return provider


def test_no_part_of_a_span_keeps_a_secret(provider: TracerProvider, kept: Kept) -> None:
    tracer = provider.get_tracer("test")
    error = RuntimeError(f"GET /x?key={quote(SECRET)} failed")

    def ask(span: Span) -> None:
        span.set_attribute("url.full", f"https://x/{quote(SECRET, safe='')}")
        span.set_attribute("list", ["fine", SECRET])
        span.set_attribute("celery.retries", 3)
        span.set_attribute("http.request.header.authorization", "whatever-this-is")
        span.add_event(f"sent {SECRET}", {"basic": base64.b64encode(f"user:{SECRET}".encode()).decode()})
        raise error

    with pytest.raises(RuntimeError), tracer.start_as_current_span(f"GET {SECRET}") as span:
        ask(span)
    [exported] = kept.spans
    text = exported.to_json()
    # to_json shows non-ASCII characters escaped
    for form in (SECRET, "S3cr", quote(SECRET, safe=""), base64.b64encode(b"cr/t+").decode()[:6], "whatever-this-is"):
        assert form not in text
    assert exported.name == f"GET {MARK}"
    assert exported.attributes is not None
    assert exported.attributes["celery.retries"] == 3
    assert exported.attributes["list"] == ("fine", MARK)
    assert exported.status.status_code is StatusCode.ERROR
    assert [event.name for event in exported.events] == [f"sent {MARK}", "exception"]
    assert exported.context == span.get_span_context()
    assert (exported.start_time, exported.end_time) == (span.start_time, span.end_time)  # type: ignore[attr-defined]


def test_a_secret_in_one_span_of_a_batch_leaves_the_others_alone(kept: Kept) -> None:
    made: list[ReadableSpan] = []

    class Collecting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            made.extend(spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Collecting()))
    tracer = provider.get_tracer("test")
    for name in ("run/tasks.a", f"run/{SECRET}", "run/tasks.b"):
        span = tracer.start_span(name, attributes={"celery.delivery_info": "{'routing_key': 'upbit'}"})
        span.set_status(Status(StatusCode.ERROR, "no answer"))
        span.end()
    RedactingSpanExporter(kept, Redactor([SECRET])).export(made)
    assert kept.spans[0] is made[0]
    assert kept.spans[2] is made[2]
    assert kept.spans[1].name == f"run/{MARK}"


def test_the_body_and_the_attributes_of_a_log_record_keep_no_secret() -> None:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    clean = ReadableLogRecord(LogRecord(body="ready", attributes={"code.lineno": 3}), Resource.get_empty())
    leaky = ReadableLogRecord(
        LogRecord(body=f"token is {SECRET}", attributes={"exception.stacktrace": f"raise E('{SECRET}')"}),
        Resource.get_empty(),
    )
    RedactingLogExporter(exporter, Redactor([SECRET])).export([clean, leaky])
    first, second = exporter.get_finished_logs()
    assert first is clean
    assert SECRET not in str(second.log_record.body)
    assert SECRET not in str(dict(second.log_record.attributes or {}))
    assert leaky.log_record.body == f"token is {SECRET}"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_line_of_the_log_keeps_no_secret(
    log_format: str,
    root_logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs.configure(log_format, "INFO", Redactor([SECRET]))
    for hooks in (sys, threading):
        monkeypatch.setattr(hooks, "excepthook", hooks.excepthook)
    issued = "token-that-no-setting-knows"
    try:
        raise RuntimeError(f"no {SECRET}")
    except RuntimeError:
        logging.getLogger("test").exception("venue said %s", SECRET)
    logging.getLogger("test").warning("%r", {"password": "hunter2-of-somebody"})
    log_uncaught()
    thread = threading.Thread(name=SECRET)
    threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError(SECRET), None, thread)))
    written = capsys.readouterr().err
    assert written.count(MARK) >= 3
    for form in (SECRET, json.dumps(SECRET)[1:-1], "S3cr", "hunter2", issued):
        assert form not in written


def test_what_celery_tells_keeps_no_secret_and_a_message_keeps_all_it_has() -> None:
    app = Celery("test", broker="memory://", backend="cache+memory://", set_as_current=False)
    settings = Settings(_env_file=None, kis_app_secret=SECRET)
    serializer.redact_what_celery_tells(app, settings)
    assert (app.conf.event_serializer, app.control.mailbox.serializer) == (serializer.NAME, serializer.NAME)

    def written(told: Any, name: str) -> str:
        content_type, _, text = dumps(told, serializer=name)
        assert content_type == "application/json"
        return str(text)

    event = {"args": f"('{SECRET}',)", "routing_key": "upbit", "timestamp": 1.5}
    assert json.loads(written(event, serializer.NAME)) == {**event, "args": f"('{MARK}',)"}
    assert json.loads(written(event, "json")) == event
    result = app.backend.encode(app.backend.prepare_exception(ValueError(f"no {SECRET}", 2)))
    assert json.loads(result)["exc_message"] == [f"no {MARK}", 2]


def test_the_parts_of_secret_settings_are_secrets_too() -> None:
    settings = Settings(
        _env_file=None,
        dead_man_ping_url="https://hc.example/ping/0b1c-22aa-93ff",
        kis_account="73519846-01",
        google_api_keys="first-key-of-two, second-key-of-two",
        database_url="postgresql+asyncpg://u:p%40ssw0rd@db/x",
    )
    found = set(secret_values(settings))
    assert {"73519846", "0b1c-22aa-93ff", "first-key-of-two", "second-key-of-two", "p@ssw0rd", "p%40ssw0rd"} <= found
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "signoz-ingestion-key=in%2Fgest-1,other=in-2-gest",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "a=in-3-gest",
        "FLOWER_BASIC_AUTH": "me:flower-login",
        "PATH": "/bin:/usr/bin",
    }
    assert set(environment_secrets(environ)) == {"in/gest-1", "in-2-gest", "in-3-gest", "flower-login"}


@pytest.mark.parametrize("user", ["", "u", "us", "use", "autotrader"])
def test_base64_hides_no_secret(user: str) -> None:
    secret = "correct-horse-battery"
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    text = redact(f"sent {encoded} away", [secret])
    assert MARK in text
    left = text.removeprefix("sent ").split(MARK)
    # a character or two at the seams belong to its neighbours
    assert len("".join(left)) <= len(encoded) - len(secret) + len(" away")


def test_celerys_routing_keys_are_no_credentials() -> None:
    for text in ("{'routing_key': 'upbit'}", '"primary_key": "id"'):
        assert redact(text) == text
