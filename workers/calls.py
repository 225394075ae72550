"""One HTTP request to a venue: what it is for, how it is counted, and the faults every venue shares."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from telemetry import instruments
from workers.errors import BadReply
from workers.limits.rules import groups_of

ERROR_STATUS = 400
SERVER_ERROR_STATUS = 500
THROTTLED_REASONS = ("429", "418", "code")
REFUSED_REASONS = ("full", "closed", "no_redis")


@dataclass(frozen=True, slots=True)
class Call:
    """What a request is for, as metrics and messages name it: `upbit candles_days KRW-BTC`."""

    service: str
    operation: str
    symbol: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.service, self.operation, self.symbol) if part)

    @property
    def setting(self) -> str:
        """The setting that says where this venue is."""
        return f"{self.service.upper()}_BASE_URL"


@contextmanager
def counted(call: Call) -> Iterator[None]:
    """Count one HTTP request and its time; whatever leaves the block as an exception counts as an error."""
    started = time.perf_counter()
    status = "error"
    try:
        yield
        status = "success"
    finally:
        attributes = {"service": call.service, "operation": call.operation, "status": status}
        instruments.api_calls.add(1, attributes)
        instruments.api_call_duration.record((time.perf_counter() - started) * 1000, attributes)


def start_counting(service: str, operations: Iterable[str]) -> None:
    """Export 0 for each operation and group of a venue, so that `increase()` sees the first call and error."""
    instruments.start_at_zero(
        instruments.api_calls, service=(service,), operation=operations, status=("success", "error")
    )
    for counter, reasons in (
        (instruments.venue_throttled, THROTTLED_REASONS),
        (instruments.limiter_refused, REFUSED_REASONS),
    ):
        instruments.start_at_zero(counter, service=(service,), group=groups_of(service), reason=reasons)


def count_throttled(service: str, group: str, status: int) -> None:
    """Count one request that the venue refused for rate; KIS does so by a code in a reply of HTTP 200 or 500."""
    reason = str(status) if str(status) in THROTTLED_REASONS else "code"
    instruments.venue_throttled.add(1, {"service": service, "group": group, "reason": reason})


def not_json(call: Call, status: int, text: str) -> BadReply:
    """The error for an answer that is no JSON, such as the page of a proxy or of a maintenance window."""
    start = text.lstrip()[:1]
    kind = "HTML" if start == "<" else "text" if start else "an empty body"
    return BadReply(
        f"{call}: answered {kind}, not JSON (HTTP {status}); the venue may be in maintenance, "
        f"it is tried again at the next tick, if it stays check {call.setting}"
    )


def bad_status(call: Call, status: int) -> BadReply:
    """The error for a JSON answer whose HTTP status says that it is not the reply."""
    if status >= SERVER_ERROR_STATUS:
        cure = "the venue has a fault or is in maintenance, it is tried again at the next tick"
    else:
        cure = f"check {call.setting}"
    return BadReply(f"{call}: answered HTTP {status}; {cure}")
