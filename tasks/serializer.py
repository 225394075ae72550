"""How Celery's events, results and answers are written: as JSON, without secrets.

A task's message keeps its arguments as they are. What tells of a task does not: its exception and traceback in the
result backend, the events that Flower shows, the answers of remote control.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.serialization import registry
from kombu.utils import json

from settings import Settings
from telemetry.redacting import redactor_of

NAME = "redacted-json"


def redact_what_celery_tells(app: Celery, settings: Settings) -> None:
    """Have the app write its events, results and answers so; they are read as any JSON."""
    redactor = redactor_of(settings)

    def encode(told: Any) -> str:
        text: str = json.dumps(told)
        if redactor.are_clean((text,)):
            return text
        # back from JSON, because it may have held more than plain values
        clean: str = json.dumps(redactor.value(json.loads(text)))
        return clean

    registry.register(NAME, encode, json.loads, content_type="application/json", content_encoding="utf-8")
    # the content type goes on to be known by the name that other programs know it by
    registry.type_to_name["application/json"] = "json"
    app.conf.update(event_serializer=NAME, result_serializer=NAME)
    app.control.mailbox.serializer = NAME
