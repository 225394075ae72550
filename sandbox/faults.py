"""Faults to order: what a venue, Telegram or the collector does when it does not answer as it should."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from aiohttp import web

SERVICES = ("upbit", "kis", "yahoo", "gemini", "telegram", "otlp")
KINDS = (
    "hang", "slow", "error", "throttle", "html", "close", "candles", "token", "order", "cancel", "refuse", "migrate",
)  # fmt: skip
VARIANTS = ("nan", "zero", "negative", "few")
FEW = 3
# What happens to an order at Upbit: its reply is lost in some way after it was created ("late": and reads find it
# only after `seconds`, "doubled": it came twice), it waits for `seconds` before it is matched ("resting"), half of it
# trades ("partial", the rest of one that may rest at the next price that reaches it), or its identifier is burnt and
# nothing is created ("burnt").
ORDER_VARIANTS = (
    "lost_reply", "reset", "error", "html", "garbled", "blocked", "late", "doubled", "resting", "partial", "burnt",
)  # fmt: skip
# What happens to a cancellation at Upbit: its reply is lost in some way after it was done, it is taken and done only
# after `seconds` ("slow"), or the rest of the order trades right before it ("filled").
CANCEL_VARIANTS = ("lost_reply", "reset", "error", "html", "garbled", "blocked", "slow", "filled")

# How Telegram refuses: the chat cannot be used ("deleted" is a group that was), the bot's formatting or picture
# cannot be read, the message to edit is gone, the token was revoked, another poll has begun. The kind "migrate" is a
# group that has become a supergroup: what goes to its old id is refused with the new one.
REFUSALS = (
    "not_found", "blocked", "kicked", "not_member", "no_rights", "deleted", "parse", "picture", "gone", "unauthorized",
    "conflict",
)  # fmt: skip

# the kinds that spoil one sort of answer only: (service, part of the path)
_APPLIES_TO = {
    "candles": (("upbit", "/candles/"), ("kis", "itemchartprice"), ("yahoo", "/finance/chart/")),
    "token": (("kis", "/oauth2/tokenP"),),
    "order": (("upbit", "/v1/orders"),),
    "cancel": (("upbit", "/v1/order"),),
    "refuse": (("telegram", "/bot"),),
    "migrate": (("telegram", "/bot"),),
}
_DEFAULT_SECONDS = {"hang": 60.0, "slow": 1.0, "order": 1.0, "cancel": 1.0}
_VARIANTS_OF = {"candles": VARIANTS, "order": ORDER_VARIANTS, "cancel": CANCEL_VARIANTS, "refuse": REFUSALS}
# the paths that are not those of the parts above, which they contain
_EXACTLY = {("upbit", "order"): "/v1/orders", ("upbit", "cancel"): "/v1/order"}

# where a handler that serves candles finds how to spoil them
SPOIL = web.RequestKey("spoil", str)

MAINTENANCE = (
    "<!DOCTYPE html><html><head><title>Service maintenance</title></head>"
    "<body><h1>Service maintenance</h1><p>We will be right back.</p></body></html>"
)


class FaultSpecError(ValueError):
    """A fault that cannot be ordered; the message says what is allowed."""


class Replies(Protocol):
    """How one service words its failures."""

    def failed(self, status: int) -> web.Response:
        """An internal failure with that HTTP status."""

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        """The refusal for rate; `status` None means the service's own, `retry_after` is in seconds."""


@dataclass(slots=True)
class Fault:
    """One ordered fault. None narrows nothing; `left` is how many requests it still hits (None: until cleared)."""

    id: int
    service: str
    kind: str
    symbol: str | None = None
    chat_id: str | None = None
    path: str | None = None
    left: int | None = None
    seconds: float = 0.0
    status: int | None = None
    variant: str | None = None
    retry_after: int = 5
    hits: int = 0

    def matches(self, service: str, path: str, subjects: Sequence[str]) -> bool:
        if service != self.service or self.left == 0 or (self.path is not None and self.path not in path):
            return False
        # what is asked of many symbols at once is no request of one of them
        if any(wanted is not None and [wanted] != list(subjects) for wanted in (self.symbol, self.chat_id)):
            return False
        if path != _EXACTLY.get((service, self.kind), path):
            return False
        applies = _APPLIES_TO.get(self.kind)
        return applies is None or any(service == owner and part in path for owner, part in applies)

    def pass_over(self) -> None:
        """Take back that it hit a request it is not for."""
        self.hits -= 1
        if self.left is not None:
            self.left += 1


# where the handler that takes an order, or its cancellation, finds what is to happen to it
ORDER_FAULT = web.RequestKey("order_fault", Fault)
# where Telegram finds how it is to refuse
REFUSAL = web.RequestKey("refusal", Fault)


class FaultBoard:
    """The faults in force; of several that fit, the one ordered first is used."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last_id = 0

    def order(self, spec: Mapping[str, Any]) -> Fault:
        """Put a fault in force. Raises `FaultSpecError`."""
        fault = _parse(spec, self._last_id + 1)
        self._last_id = fault.id
        self._faults.append(fault)
        return fault

    def take(self, service: str, path: str, subjects: Sequence[str]) -> Fault | None:
        """The fault that hits this request, counted, or None."""
        for fault in self._faults:
            if fault.matches(service, path, subjects):
                fault.hits += 1
                if fault.left is not None:
                    fault.left -= 1
                return fault
        return None

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    def clear(self, fault_id: int | None = None) -> int:
        """Lift one fault, or all; returns how many there were."""
        kept = [] if fault_id is None else [fault for fault in self._faults if fault.id != fault_id]
        lifted = len(self._faults) - len(kept)
        self._faults = kept
        return lifted


async def carry_out(
    fault: Fault, request: web.Request, replies: Replies, answer: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse | None:
    """Answer the request as the fault says; None means the connection was dropped without an answer."""
    match fault.kind:
        case "hang":
            await asyncio.sleep(fault.seconds)
            drop(request)
            return None
        case "close":
            drop(request)
            return None
        case "slow":
            await asyncio.sleep(fault.seconds)
            return await answer()
        case "error":
            return replies.failed(fault.status or 500)
        case "throttle":
            return replies.throttled(fault.status, fault.retry_after)
        case "html":
            return web.Response(text=MAINTENANCE, content_type="text/html", status=fault.status or 200)
        case "token":
            return web.json_response(
                {"error_description": "접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)", "error_code": "EGW00133"},
                status=403,
            )
        case "cancel" if request.method != "DELETE":
            # an order is read at the same path
            fault.pass_over()
            return await answer()
        case "order" | "cancel":
            request[ORDER_FAULT] = fault
            return await answer()
        case "refuse" | "migrate":
            request[REFUSAL] = fault
            return await answer()
        case _:
            request[SPOIL] = fault.variant or "nan"
            return await answer()


def drop(request: web.Request) -> None:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()


def spoiled(
    rows: list[dict[str, Any]], variant: str | None, prices: Iterable[str], not_a_number: object
) -> list[dict[str, Any]]:
    """Candle rows (newest first) as a broken venue sends them: every tenth one, from the newest on, without a price,
    with zeros or with negative prices, or hardly any rows at all."""
    if variant == "few":
        return rows[:FEW]
    if variant is not None:
        for row in rows[::10]:
            for name in prices:
                row[name] = not_a_number if variant == "nan" else _wrong(row[name], variant)
    return rows


def _wrong(value: Any, variant: str) -> object:
    if isinstance(value, str):
        return "0" if variant == "zero" else f"-{value}"
    return 0 if variant == "zero" else -value


def _parse(spec: Mapping[str, Any], fault_id: int) -> Fault:
    if not isinstance(spec, Mapping):
        raise FaultSpecError("a fault is a JSON object with service and kind")
    known = {"service", "kind", "symbol", "chat_id", "path", "count", "seconds", "status", "variant", "retry_after"}
    if unknown := sorted(set(spec) - known):
        raise FaultSpecError(f"unknown field {unknown[0]!r}: use {', '.join(sorted(known))}")
    service, kind = spec.get("service"), spec.get("kind")
    if service not in SERVICES:
        raise FaultSpecError(f"service {service!r}: use one of {', '.join(SERVICES)}")
    if kind not in KINDS:
        raise FaultSpecError(f"kind {kind!r}: use one of {', '.join(KINDS)}")
    if kind in _APPLIES_TO and service not in {owner for owner, _ in _APPLIES_TO[kind]}:
        raise FaultSpecError(f"kind {kind!r} does not apply to {service}")
    variant = spec.get("variant")
    variants = _VARIANTS_OF.get(kind)
    if (variants is None) != (variant is None) or (variants is not None and variant not in variants):
        each = "; ".join(f"kind {name} takes one of {', '.join(names)}" for name, names in _VARIANTS_OF.items())
        raise FaultSpecError(f"variant {variant!r}: {each}; no other kind takes one")
    if kind == "migrate" and not (_text(spec, "chat_id") or "").startswith("-"):
        raise FaultSpecError("kind 'migrate' needs the chat_id of a group, which is a negative number")
    count = _whole(spec, "count", 1, 1_000_000)
    seconds = spec.get("seconds", _DEFAULT_SECONDS.get(kind, 0.0))
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
        raise FaultSpecError(f"seconds {seconds!r}: use a number from 0 to 3600")
    return Fault(
        id=fault_id,
        service=service,
        kind=kind,
        symbol=_text(spec, "symbol"),
        chat_id=_text(spec, "chat_id"),
        path=_text(spec, "path"),
        left=count,
        seconds=float(seconds),
        status=_whole(spec, "status", 200, 599),
        variant=variant,
        retry_after=_whole(spec, "retry_after", 1, 86_400) or 5,
    )


def _text(spec: Mapping[str, Any], name: str) -> str | None:
    value = spec.get(name)
    return None if value is None else str(value)


def _whole(spec: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = spec.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise FaultSpecError(f"{name} {value!r}: use a whole number from {low} to {high}")
    return value
