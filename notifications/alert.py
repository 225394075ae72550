"""An alert: what the ledger keeps of it, and what a claim on it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from notifications.message import Chat, Entity, Message, Priority

Kind = Literal["analysis", "order", "insufficient_cash", "error"]
KINDS: tuple[Kind, ...] = ("analysis", "order", "insufficient_cash", "error")

# A task cannot be redelivered later than this: its message has expired long before.
ONCE_WINDOW_SECONDS = 86_400

_TRACE_CONTEXT = TraceContextTextMapPropagator()


class BadPayload(ValueError):
    """A payload in the ledger is not one that this version wrote."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell. `traceparent` is the W3C context of the span it was recorded in, or "".

    Within `window_seconds` after delivery the same `fingerprint` sends no second message. What happens
    again meanwhile is counted and shown, unless the alert is of the kind that happens `once`: then its
    fingerprint names one event, and a second recording of it is the same event seen twice.
    """

    fingerprint: str
    kind: Kind
    message: Message
    at: datetime
    symbol: str = ""
    traceparent: str = ""
    window_seconds: float = 300
    once: bool = False

    def payload(self) -> str:
        """The JSON the ledger keeps."""
        return json.dumps(
            {
                "kind": self.kind,
                "chat": self.message.chat,
                "text": self.message.text,
                "entities": [
                    {"type": entity.type, "offset": entity.offset, "length": entity.length}
                    for entity in self.message.entities
                ],
                "traceparent": self.traceparent,
                "symbol": self.symbol,
                "at": self.at.isoformat(),
                "priority": self.message.priority,
            },
            ensure_ascii=False,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver one alert until the lease ends. `token` proves it: a later claim makes it void.

    `message_id` is set when the alert has been sent and its count is now to be shown by an edit.
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


@dataclass(frozen=True, slots=True)
class Contents:
    """A payload, read back."""

    kind: str
    message: Message
    symbol: str
    traceparent: str
    at: datetime


def read_payload(payload: str) -> Contents:
    """The contents of a payload. Raises `BadPayload`."""
    try:
        fields = json.loads(payload)
        message = Message(
            text=str(fields["text"]),
            entities=tuple(Entity(str(e["type"]), int(e["offset"]), int(e["length"])) for e in fields["entities"]),
            priority=Priority(fields["priority"]),
            chat=Chat(fields["chat"]),
        )
        return Contents(
            kind=str(fields["kind"]),
            message=message,
            symbol=str(fields["symbol"]),
            traceparent=str(fields["traceparent"]),
            at=datetime.fromisoformat(fields["at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadPayload(f"the payload of an alert cannot be read: {error!r}") from None


def current_traceparent() -> str:
    """The W3C `traceparent` of the current span, or "" outside one."""
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier)
    return carrier.get("traceparent", "")


def from_milliseconds(value: int) -> datetime:
    """A Redis server time as an aware UTC time."""
    return datetime.fromtimestamp(value / 1000, UTC)
