"""HTTP to the venues over aiohttp: one session per process, one traced and counted request per call, no retry.

Nothing of ours leaks: spans keep scheme, host and path of an address but never its query, no trace header goes
to a third party, redirects are not followed (they would carry the key headers to another host), and what leaves
here are our own errors, whose messages hold no address.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import aiohttp
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from opentelemetry.trace import TracerProvider
from yarl import URL

from workers.calls import Call, bad_status, counted, not_json
from workers.errors import BadReply, TimedOut, Unreachable, VenueError

CONNECT_SECONDS = 5.0
# Shorter than a venue keeps an idle connection, so that we do not send into one that it is closing.
KEEPALIVE_SECONDS = 10.0
USER_AGENT = "autotrader"
FIRST_NOT_OK_STATUS = 300

Judge: TypeAlias = Callable[[Call, int, Any], VenueError | None]
"""Reads the HTTP status and the JSON (None where there is none) and returns the venue's error, if it is one."""

_NO_JSON: Final = object()


def open_session(timeout_seconds: float, *, tracer_provider: TracerProvider | None = None) -> aiohttp.ClientSession:
    """A session for all venues of this process, to be opened and closed on its event loop.

    `timeout_seconds` bounds each request from connect to the last byte.
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
    return session


async def get_json(
    session: aiohttp.ClientSession,
    call: Call,
    url: str,
    *,
    judge: Judge,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """GET `url` once; see `request_json`."""
    return await request_json(session, call, "GET", url, judge=judge, params=params, headers=headers)


async def request_json(
    session: aiohttp.ClientSession,
    call: Call,
    method: str,
    url: str,
    *,
    judge: Judge,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, str] | None = None,
) -> Any:
    """Send one request and return its JSON, with `Decimal` for every number that is not an integer.

    `judge` sees status and JSON first, because venues put their own error into either. Raises `TimedOut`,
    `Unreachable`, `BadReply` or what `judge` returned. Never repeats a request.
    """
    with counted(call):
        status, raw = await _send(session, call, method, url, params=params, headers=headers, body=body)
        document = _decode(raw)
        error = judge(call, status, None if document is _NO_JSON else document)
        if error is not None:
            raise error
        if document is _NO_JSON:
            raise not_json(call, status, raw[:200].decode("utf-8", "replace"))
        if status >= FIRST_NOT_OK_STATUS:
            raise bad_status(call, status)
        return document


async def _send(
    session: aiohttp.ClientSession,
    call: Call,
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    body: Mapping[str, str] | None,
) -> tuple[int, bytes]:
    try:
        async with session.request(
            method, url, params=params, headers=headers, json=body, allow_redirects=False, trace_request_ctx=call
        ) as response:
            return response.status, await response.read()
    except (TimeoutError, aiohttp.ClientError) as error:
        # from None: the messages of aiohttp hold the whole address
        raise _transport_fault(call, error, session.timeout.total) from None


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError):
        return _NO_JSON


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

    async def on_exception(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        # the span records the exception's text, and aiohttp's can hold the query: it is given our error
        error: BaseException = params.exception
        call = context.trace_request_ctx
        if isinstance(call, Call) and not isinstance(error, asyncio.CancelledError):
            error = _transport_fault(call, error, session.timeout.total)
        redacted = aiohttp.TraceRequestExceptionParams(params.method, params.url, params.headers, error)
        for callback in failed:
            await callback(session, context, redacted)

    config.on_request_start[:] = [on_start]
    config.on_request_exception[:] = [on_exception]
    return config


def _without_query(url: URL) -> str:
    return str(url.with_user(None).with_query(None).with_fragment(None))
