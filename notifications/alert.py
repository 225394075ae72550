"""An alert: what the ledger keeps of it, and what a claim on it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from notifications.kinds import KINDS, Kind
from notifications.message import Button, Chat, Entity, Message, Priority, sendable, sendable_rows

__all__ = [
    "KINDS",
    "ONCE_WINDOW_SECONDS",
    "Alert",
    "BadPayload",
    "Claim",
    "Contents",
    "Digest",
    "Kind",
    "current_traceparent",
    "first_line",
    "from_milliseconds",
    "read_payload",
    "system_event",
]

# A task cannot be redelivered later than this: its message has expired long before.
ONCE_WINDOW_SECONDS = 86_400
# How much is shown of a payload that cannot be read.
SHOWN = 120

_TRACE_CONTEXT = TraceContextTextMapPropagator()


class BadPayload(ValueError):
    """A payload in the ledger is not one that this version wrote."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell. `traceparent` is the W3C context of the span it was recorded in, or "".

    Within `window_seconds` after delivery the same `fingerprint` sends no second message. What happens
    again meanwhile is counted and shown, unless the alert is of the kind that happens `once`: then its
    fingerprint names one event, and a second recording of it is the same event seen twice. `summary` is its line
    in a digest; without one that is the first line of the message.
    """

    fingerprint: str
    kind: Kind
    message: Message
    at: datetime
    symbol: str = ""
    traceparent: str = ""
    window_seconds: float = 300
    once: bool = False
    summary: str = ""

    def payload(self) -> str:
        """The JSON the ledger keeps."""
        fields: dict[str, Any] = {
            "kind": self.kind,
            "chat": self.message.chat,
            "text": self.message.text,
            "entities": [
                {"type": entity.type, "offset": entity.offset, "length": entity.length}
                for entity in self.message.entities
            ],
            "traceparent": self.traceparent,
            "symbol": sendable(self.symbol),
            "at": self.at.isoformat(),
            "priority": self.message.priority,
            "summary": sendable(self.summary),
        }
        if rows := sendable_rows(self.message.buttons):
            fields["buttons"] = [
                [{"label": one.label, "action": one.action, "url": one.url} for one in row] for row in rows
            ]
        if self.message.picture:
            fields["picture"] = sendable(self.message.picture)
        return json.dumps(fields, ensure_ascii=False)


def system_event(fingerprint: str, message: Message, at: datetime) -> Alert:
    """The alert of something that happens once to a process."""
    return Alert(fingerprint, "system", message, at, window_seconds=ONCE_WINDOW_SECONDS, once=True)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver one alert until the lease ends. `token` proves it: a later claim makes it void.

    `message_id` is set when the alert has been sent and its count is now to be shown by an edit; `via` is the chat
    it went to, if that was not its own. `shown` is how many occurrences were told before.
    """

    id: str
    token: str
    fingerprint: str
    occurrences: int
    first: datetime
    last: datetime
    attempts: int
    message_id: int | None
    payload: str
    shown: int = 0
    via: str = ""


@dataclass(frozen=True, slots=True)
class Digest:
    """Claims of a flood, to be told in one message."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """A payload, read back. Another version may have written its `kind`."""

    kind: str
    message: Message
    symbol: str
    traceparent: str
    at: datetime
    summary: str = ""


def read_payload(payload: str) -> Contents:
    """The contents of a payload. Raises `BadPayload`."""
    try:
        fields = json.loads(payload)
        message = Message(
            text=str(fields["text"]),
            entities=tuple(Entity(str(e["type"]), int(e["offset"]), int(e["length"])) for e in fields["entities"]),
            priority=Priority(fields["priority"]),
            chat=Chat(fields["chat"]),
            # an older version wrote neither
            buttons=tuple(
                tuple(Button(str(one["label"]), str(one["action"]), str(one["url"])) for one in row)
                for row in fields.get("buttons", ())
            ),
            picture=str(fields.get("picture", "")),
        )
        return Contents(
            kind=str(fields["kind"]),
            message=message,
            symbol=str(fields["symbol"]),
            traceparent=str(fields["traceparent"]),
            at=datetime.fromisoformat(fields["at"]),
            summary=str(fields.get("summary", "")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadPayload(f"the payload of an alert cannot be read: {error!r}") from None


def first_line(payload: str) -> str:
    """What a payload is about, in one line; of one that cannot be read, how it begins."""
    try:
        contents = read_payload(payload)
    except BadPayload:
        return payload[:SHOWN]
    return contents.summary or contents.message.text.partition("\n")[0]


def current_traceparent() -> str:
    """The W3C `traceparent` of the current span, or "" outside one."""
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier)
    return carrier.get("traceparent", "")


def from_milliseconds(value: int) -> datetime:
    """A Redis server time as an aware UTC time."""
    return datetime.fromtimestamp(value / 1000, UTC)
