"""HTTP to the venues over aiohttp: one session per process, one traced and counted request per call, no retry.

A request waits for its slot under the venue's rate limit before it is sent; see `workers.limits`.
Nothing of ours leaks: spans keep scheme, host and path of an address but never its query, no trace header goes
to a third party, redirects are not followed (they would carry the key headers to another host), and what leaves
here are our own errors, whose messages hold no address.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import aiohttp
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from opentelemetry.trace import TracerProvider
from yarl import URL

from workers.calls import Call, bad_status, count_throttled, counted, not_json
from workers.clock import ClockWatch
from workers.errors import BadReply, Throttled, TimedOut, Unreachable, VenueError
from workers.limits import Admission, Bucket, Limiter, bucket_of

CONNECT_SECONDS = 5.0
# Shorter than a venue keeps an idle connection, so that we do not send into one that it is closing.
KEEPALIVE_SECONDS = 10.0
USER_AGENT = "autotrader"
FIRST_NOT_OK_STATUS = 300

Judge: TypeAlias = Callable[[Call, int, Any], VenueError | None]
"""Reads the HTTP status and the JSON (None where there is none) and returns the venue's error, if it is one."""

_NO_JSON: Final = object()
# when the next order request has to be out, in time.monotonic(); empty once it is
_latest: ContextVar[list[float] | None] = ContextVar("latest", default=None)
# NUL and half a surrogate pair: JSON can name them, but no database and no terminal takes them
_UNWRITABLE = re.compile(
    r"\\u(?:0000"
    r"|[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB]..\\u)[dD][c-fC-F][0-9a-fA-F]{2})"
)


class NotSent(Unreachable):
    """The request was not sent, since the time it was to go out in was over: nothing was done."""


@dataclass(frozen=True, slots=True)
class VenueHttp:
    """What the venues' clients send with: the session, and the limiter in front of it, if there is one.

    `clock` hears every reply, errors too, and knows how far this machine's clock is off the venues'.
    """

    session: aiohttp.ClientSession
    limiter: Limiter | None
    timeout_seconds: float
    clock: ClockWatch = field(default_factory=ClockWatch)

    async def close(self) -> None:
        """Close the connections. The limiter's Redis is the caller's."""
        await self.session.close()


@dataclass(frozen=True, slots=True)
class _Sending:
    """What the trace hooks are told of a request."""

    call: Call
    waited_ms: float


def open_session(
    timeout_seconds: float, *, limiter: Limiter | None = None, tracer_provider: TracerProvider | None = None
) -> VenueHttp:
    """The HTTP of all venues of this process, to be opened and closed on its event loop.

    `timeout_seconds` bounds each request from connect to the last byte, and before that its wait for a slot.
    Without a `limiter` nothing is held back.
    """
    session = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(CONNECT_SECONDS, timeout_seconds)),
        trace_configs=[_trace_config(tracer_provider)],
        headers={"User-Agent": USER_AGENT},
        # the session is shared by the venues, and none of them needs a cookie
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE_SECONDS),
    )
    # aiohttp sends a GET again by itself when its connection breaks, uncounted; there is no public switch for it
    session._retry_connection = False
    # were aiohttp instrumented for the whole process, its own trace config would inject headers after ours
    AioHttpClientInstrumentor.uninstrument_session(session)
    return VenueHttp(session, limiter, timeout_seconds)


async def get_json(
    http: VenueHttp,
    call: Call,
    url: str,
    *,
    judge: Judge,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """GET `url` once; see `request_json`."""
    return await request_json(http, call, "GET", url, judge=judge, params=params, headers=headers)


async def request_json(
    http: VenueHttp,
    call: Call,
    method: str,
    url: str,
    *,
    judge: Judge,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, str] | None = None,
    fail_closed: bool = False,
) -> Any:
    """Send one request and return its JSON, with `Decimal` for every number that is not an integer.

    `judge` sees status and JSON first, because venues put their own error into either. Raises `TimedOut`,
    `Unreachable`, `BadReply` or what `judge` returned. Never repeats a request.

    Raises `Throttled` before anything is sent if no slot under the venue's limit is free within the time-out, and
    with `fail_closed`, which is for orders, also if the limit cannot be looked up because Redis is away.
    """
    bucket = bucket_of(call, url, headers)
    admission = await _enter(http, bucket, call, fail_closed)
    status = 0
    try:
        if fail_closed:
            check_in_time(call)
        with counted(call):
            sending = _Sending(call, admission.waited * 1000 if admission else 0.0)
            status, raw = await _send(http, sending, method, url, params=params, headers=headers, body=body)
            document = _decode(raw)
            error = judge(call, status, None if document is _NO_JSON else document)
            if error is not None:
                raise error
            if document is _NO_JSON:
                raise not_json(call, status, raw[:200].decode("utf-8", "replace"))
            if status >= FIRST_NOT_OK_STATUS:
                raise bad_status(call, status)
            return document
    except Throttled as refusal:
        if bucket is not None:
            count_throttled(bucket.venue, bucket.group, status)
            if http.limiter is not None:
                await http.limiter.refused(bucket, status, refusal)
        raise
    finally:
        if http.limiter is not None and bucket is not None and admission is not None:
            await http.limiter.answered(bucket, admission)


@contextmanager
def send_within(seconds: float) -> Iterator[None]:
    """The first order request inside the block goes out within so many seconds, or not at all (`NotSent`).

    A process that was stopped in between (or a machine that slept) must not send what others have given up by then.
    """
    token = _latest.set([time.monotonic() + seconds])
    try:
        yield
    finally:
        _latest.reset(token)


def check_in_time(what: object) -> None:
    """Raise `NotSent` where the time that `send_within` allows is over; asked right before an order goes out."""
    latest = _latest.get()
    if not latest:
        return
    late = time.monotonic() - latest.pop()
    if late > 0:
        raise NotSent(f"{what}: not sent, it was to go out {late:.1f} s earlier; was this process stopped?")


async def _enter(http: VenueHttp, bucket: Bucket | None, call: Call, fail_closed: bool) -> Admission | None:
    if http.limiter is None or bucket is None:
        return None
    return await http.limiter.enter(bucket, call, max_wait=http.timeout_seconds, fail_closed=fail_closed)


async def _send(
    http: VenueHttp,
    sending: _Sending,
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    body: Mapping[str, str] | None,
) -> tuple[int, bytes]:
    session, sent = http.session, datetime.now(UTC)
    try:
        async with session.request(
            method, url, params=params, headers=headers, json=body, allow_redirects=False, trace_request_ctx=sending
        ) as response:
            http.clock.hear(sending.call.service, response.headers, sent, datetime.now(UTC))
            return response.status, await response.read()
    except (TimeoutError, aiohttp.ClientError) as error:
        # from None: the messages of aiohttp hold the whole address
        raise _transport_fault(sending.call, error, session.timeout.total) from None


def _decode(raw: bytes) -> Any:
    """The JSON in `raw`, or `_NO_JSON`: also where one name has two values, of which a guess would be the last."""
    try:
        text = raw.decode("utf-8-sig")
        if _UNWRITABLE.search(text):
            return _NO_JSON
        return json.loads(text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_each_once)
    except (ValueError, ArithmeticError, RecursionError):
        # Decimal refuses an exponent that is too large as arithmetic
        return _NO_JSON


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("one name has two values")
    return known


def _transport_fault(call: Call, error: BaseException, timeout: float | None) -> VenueError:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return TimedOut(f"{call}: no connection in time; check the network and {call.setting}")
    if isinstance(error, TimeoutError):
        within = f" within {timeout:g} s" if timeout else ""
        return TimedOut(
            f"{call}: no answer{within}; it is tried again at the next tick, if it stays raise HTTP_TIMEOUT_SECONDS"
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReply(f"{call}: answered something that is not HTTP; check {call.setting}")
    return Unreachable(f"{call}: not reachable ({_reason(error)}); check the network and {call.setting}")


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not resolved"
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__


def _trace_config(tracer_provider: TracerProvider | None) -> aiohttp.TraceConfig:
    """The client spans of the OpenTelemetry instrumentation, kept from injecting headers and from noting addresses."""
    config = create_trace_config(url_filter=_without_query, tracer_provider=tracer_provider)
    started = list(config.on_request_start)
    failed = list(config.on_request_exception)

    async def on_start(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams
    ) -> None:
        # the instrumentation injects into the headers it is given: it is given a copy
        copy = aiohttp.TraceRequestStartParams(params.method, params.url, params.headers.copy())
        for callback in started:
            await callback(session, context, copy)
        sending = context.trace_request_ctx
        span = context.span
        if isinstance(sending, _Sending) and sending.waited_ms and span is not None:
            span.set_attribute("limiter.wait_ms", round(sending.waited_ms, 1))

    async def on_exception(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        # the span records the exception's text, and aiohttp's can hold the query: it is given our error
        error: BaseException = params.exception
        sending = context.trace_request_ctx
        if isinstance(sending, _Sending) and not isinstance(error, asyncio.CancelledError):
            error = _transport_fault(sending.call, error, session.timeout.total)
        redacted = aiohttp.TraceRequestExceptionParams(params.method, params.url, params.headers, error)
        for callback in failed:
            await callback(session, context, redacted)

    config.on_request_start[:] = [on_start]
    config.on_request_exception[:] = [on_exception]
    return config


def _without_query(url: URL) -> str:
    return str(url.with_user(None).with_query(None).with_fragment(None))
