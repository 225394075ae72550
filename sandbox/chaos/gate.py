"""What the gate before a venue does to one request, as a fault says: before the venue has it, or to its answer."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from sandbox.chaos.plan import ORDER_FAULTS, UPBIT, Fault
from sandbox.faults import MAINTENANCE, ORDER_FAULT, drop
from sandbox.faults import Fault as VenueFault

# longer than any client waits for an order
HANG_SECONDS = 12.0

# what the Upbit stand-in does itself, by the name it has there
_INSIDE = {Fault.LATE: "late", Fault.BURNT: "burnt", Fault.TWICE: "doubled", Fault.PARTIAL: "partial",
           Fault.RESTING: "resting"}  # fmt: skip

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Venue(Protocol):
    """How a venue words its refusals."""

    def failed(self, status: int) -> web.Response:
        """An internal failure."""

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        """The refusal for rate."""


@dataclass(slots=True)
class Armed:
    """A fault that waits for the `nth` request it fits, and hits it and those after it, `count` in all. `odno` is the
    number KIS gave the order it hit last."""

    fault: Fault
    seconds: float
    nth: int
    count: int
    passed: int = 0
    hits: int = 0
    odno: str | None = None

    def meets(self, act: str, *, own: bool) -> bool:
        """Whether it waits for such a request; of reads and cancels the symbol is not told, so any will do."""
        if self.hits >= self.count:
            return False
        if self.fault is Fault.CANCEL_LOST:
            return act == "cancel"
        if self.fault is Fault.READS_FAIL:
            return act == "read"
        return act == "place" and own and self.fault in (*ORDER_FAULTS, Fault.KILL_AT_ORDER)


@dataclass(slots=True)
class Blocked:
    """Until when a venue refuses everything, by the monotonic clock."""

    until: float = 0.0

    def left(self) -> int:
        """Whole seconds that are left, 0 if it is open."""
        return max(0, math.ceil(self.until - time.monotonic()))


async def carry_out(
    armed: Armed, request: web.Request, venue: Venue, handler: Handler, blocked: Blocked
) -> web.StreamResponse:
    """Answer the request as the fault says."""
    match armed.fault:
        case Fault.TIMEOUT_BEFORE:
            await asyncio.sleep(HANG_SECONDS)
            return _dropped(request)
        case Fault.RESET_BEFORE:
            return _dropped(request)
        case Fault.ERROR_BEFORE | Fault.READS_FAIL:
            return venue.failed(500)
        case Fault.HTML_BEFORE:
            return web.Response(text=MAINTENANCE, content_type="text/html", status=503)
        case Fault.THROTTLED:
            return venue.throttled(None, 1)
        case Fault.BLOCKED:
            seconds = math.ceil(armed.seconds)
            blocked.until = time.monotonic() + seconds
            return venue.throttled(418, seconds)
        case Fault.KILL_AT_ORDER:
            # its sender is to be killed now: some of these orders are taken before that and some after
            await asyncio.sleep(armed.seconds / 2)
    if armed.fault in _INSIDE and request.path.startswith(f"/{UPBIT}/"):
        variant = _INSIDE[armed.fault]
        request[ORDER_FAULT] = VenueFault(0, UPBIT, "order", variant=variant, seconds=armed.seconds)
    response = await handler(request)
    if not isinstance(response, web.Response) or response.status >= 300:
        return response
    armed.odno = _number(response)
    return await _spoiled(armed, request, response)


async def _spoiled(armed: Armed, request: web.Request, response: web.Response) -> web.StreamResponse:
    """What arrives of a good answer."""
    body = bytes(response.body) if isinstance(response.body, bytes | bytearray) else b""
    match armed.fault:
        case Fault.TIMEOUT_AFTER:
            await asyncio.sleep(HANG_SECONDS)
            return _dropped(request)
        case Fault.CANCEL_LOST:
            await asyncio.sleep(armed.seconds)
            return _dropped(request)
        case Fault.LATE if not request.path.startswith(f"/{UPBIT}/"):
            drop(request)
            return response
        case Fault.RESET_MID_REPLY:
            half = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
            half.content_length = len(body)
            await half.prepare(request)
            await half.write(body[: len(body) // 2])
            drop(request)
            return half
        case Fault.ERROR_AFTER:
            return web.Response(status=504)
        case Fault.HTML_AFTER:
            return web.Response(text=MAINTENANCE, content_type="text/html")
        case Fault.GARBLED:
            return web.Response(body=body[: len(body) // 2], content_type="application/json", status=response.status)
        case Fault.KILL_AT_ORDER:
            await asyncio.sleep(armed.seconds / 2)
    return response


def _number(response: web.Response) -> str | None:
    """The number KIS gave an order, or None."""
    try:
        output = json.loads(response.text or "").get("output")
    except (ValueError, AttributeError):
        return None
    return output.get("ODNO") if isinstance(output, dict) else None


def _dropped(request: web.Request) -> web.Response:
    drop(request)
    # the connection is gone; aiohttp wants a response to discard
    return web.Response()
