"""The HTTP session that yfinance uses: traced, counted, within a deadline, and able to talk to a stand-in.

Import this in a thread of the worker that needs it: curl_cffi and yfinance are heavy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from curl_cffi import CurlOpt, requests
from curl_cffi.requests.exceptions import RequestException, Timeout
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from workers.calls import ERROR_STATUS, SERVER_ERROR_STATUS, Call, count_throttled, counted
from workers.errors import VenueError
from workers.limits import BlockingGate
from workers.yfinance.errors import TOO_MANY_REQUESTS, judge_chart, throttled

SERVICE = "yahoo"
GROUP = "all"
CHART = "chart"
QUOTE = "quote"
# what a caller waits for; all else may fail without harm
ASKED = (CHART, QUOTE)

CHART_PATH = "/v8/finance/chart/"
QUOTE_PATH = "/v7/finance/quote"
COOKIE_HOST = "fc.yahoo.com"
CONSENT_HOSTS = ("guce.yahoo.com", "consent.yahoo.com")
# Cookie and crumb may fail without harm, so they may not use up the time of the chart.
SIDE_SHARE = 0.25


class YahooSession(requests.Session):  # type: ignore[misc]
    """A browser-like session. With `origin` (`http://127.0.0.1:1234/yahoo`) no request leaves for Yahoo.

    `timeout_seconds` bounds all requests of one `operation` together.
    """

    def __init__(
        self,
        origin: str,
        timeout_seconds: float,
        *,
        gate: BlockingGate | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        # a stand-in is on this machine, where no proxy of the environment leads; curl reads that by itself
        options = {CurlOpt.NOPROXY: "*"} if origin else {}
        super().__init__(impersonate="chrome", timeout=timeout_seconds, curl_options=options)
        self._origin = origin.rstrip("/")
        self._gate = gate
        self._seconds = timeout_seconds
        self._running = threading.local()
        self._cookie_reply: Any = None
        self._tracer = trace.get_tracer("autotrader.yahoo", tracer_provider=tracer_provider)

    @contextmanager
    def operation(self) -> Iterator[None]:
        """All requests of this thread within the block share one time-out."""
        self._running.deadline = time.monotonic() + self._seconds
        try:
            yield
        finally:
            self._running.deadline = None

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        """Send one request. Raises `VenueError` for a refused chart or quote, else what curl raises."""
        parts = urlsplit(url)
        call = _call(parts.hostname or "", parts.path, (kwargs.get("params") or {}).get("symbols", ""))
        if call.operation == "cookie" and self._cookie_reply is not None and len(self.cookies.jar):
            # yfinance asks before every chart for a cookie that lasts a year and that we hold
            return self._cookie_reply
        target = self._target(url)
        waited = self._gate.enter(call, target, self._time_for(call)) if self._gate else 0.0
        kwargs["timeout"] = self._time_for(call)
        with self._span(method, target) as span, counted(call):
            if waited:
                span.set_attribute("limiter.wait_ms", round(waited * 1000, 1))
            response = super().request(method, target, *args, **kwargs)
            span.set_attribute("http.status_code", response.status_code)
            if response.status_code == TOO_MANY_REQUESTS:
                self._close_gate(call, target)
            if call.operation == "cookie":
                self._cookie_reply = response
            # Yahoo answers the cookie with a 404, and that is its success
            failed_from = SERVER_ERROR_STATUS if call.operation == "cookie" else ERROR_STATUS
            if response.status_code >= failed_from:
                span.set_status(Status(StatusCode.ERROR))
            if call.operation in ASKED and not _is_consent(response.url):
                error = judge_chart(call, response.status_code, response.text)
                if error is not None:
                    raise error
            return response

    @contextmanager
    def _span(self, method: str, target: str) -> Iterator[Span]:
        parts = urlsplit(target)
        attributes = {"http.method": method, "http.url": f"{parts.scheme}://{_host(parts.netloc)}{parts.path}"}
        with self._tracer.start_as_current_span(
            method, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except (VenueError, RequestException) as error:
                # the name only: the message of curl holds the address
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def _close_gate(self, call: Call, target: str) -> None:
        count_throttled(SERVICE, GROUP, TOO_MANY_REQUESTS)
        if self._gate:
            self._gate.refused(call, target, TOO_MANY_REQUESTS, throttled(call))

    def _target(self, url: str) -> str:
        if not self._origin:
            return url
        parts = urlsplit(url)
        path = "/cookie" if parts.hostname == COOKIE_HOST else parts.path
        return f"{self._origin}{path}" + (f"?{parts.query}" if parts.query else "")

    def _time_for(self, call: Call) -> float:
        deadline: float | None = getattr(self._running, "deadline", None)
        left = self._seconds if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise Timeout(f"{call}: the time of this operation is used up")
        return left if call.operation in ASKED else min(left, self._seconds * SIDE_SHARE)


def _call(host: str, path: str, symbols: str) -> Call:
    if path.startswith(CHART_PATH):
        return Call(SERVICE, CHART, path.removeprefix(CHART_PATH))
    if path == QUOTE_PATH:
        return Call(SERVICE, QUOTE, symbols)
    if host == COOKIE_HOST:
        return Call(SERVICE, "cookie")
    if host in CONSENT_HOSTS:
        return Call(SERVICE, "consent")
    return Call(SERVICE, "crumb" if path.endswith("/getcrumb") else "other")


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2]


def _is_consent(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(CONSENT_HOSTS)
