"""The outermost layer of every request: its id, its time, its metrics, and what becomes of an exception."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError, judge
from telemetry.instruments import (
    analysis_api_duration,
    analysis_api_requests,
    http_duration,
    http_errors,
    http_requests,
    http_seconds,
    start_at_zero,
)

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# what is asked for every few seconds by a machine is no news
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_LONGEST_PATH = 200
# which page is asked for, not what is to be on it
_PAGING = frozenset({"limit", "offset"})

Report = Callable[[Exception, str], None]
"""Tells the operator of an error; the text says where it happened."""

Answer = Callable[[Scope, ApiError, str], Response]
"""The answer that an error is to whoever asked, with the id of the request."""


class Templates:
    """The templates of all routes (`/api/tasks/{task_id}`), so that no raw path becomes an attribute of a metric.

    `analyses` are those that are about analyses, which have metrics of their own.
    """

    OTHER = "other"

    def __init__(self, routes: Iterable[Route], analyses: Collection[str]) -> None:
        self._routes = tuple(routes)
        self.analyses = frozenset(analyses)

    def of(self, scope: Scope) -> str:
        """The template of the request's path, whatever its method; `other` where there is none."""
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path
        return self.OTHER

    def start_counting(self) -> None:
        """Export 0 for what may come, so that an alert sees the first error."""
        for route in self._routes:
            success = str(route.status_code or 200) if isinstance(route, APIRoute) else "200"
            for method in (route.methods or set()) & _METHODS:
                known = {"method": (method,), "route": (route.path,)}
                start_at_zero(http_requests, **known, status_code=(success, "500", "503"))
                start_at_zero(http_errors, **known, error_type=("internal", "unavailable"))
            if route.path in self.analyses:
                statuses, either = (success, "500", "503"), ("true", "false")
                start_at_zero(analysis_api_requests, endpoint=(route.path,), status=statuses, has_filters=either)


class Edge:
    """The ASGI middleware around all others. `report` may block for a moment."""

    def __init__(self, app: ASGIApp, *, templates: Templates, report: Report, answer: Answer) -> None:
        self._app = app
        self._templates = templates
        self._report = report
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        route = self._templates.of(scope)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Process-Time"] = f"{time.perf_counter() - began:.4f}"
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the edge of the process: logged, counted and reported here
            verdict = judge(error)
            if verdict.status >= 500:
                await self._failed(error, verdict, scope["method"], route, request_id)
            if not status:
                await self._answer(scope, verdict, request_id)(scope, receive, answer)
        finally:
            self._count(scope, route, status or 500, time.perf_counter() - began, request_id)

    async def _failed(self, error: Exception, verdict: ApiError, method: str, route: str, request_id: str) -> None:
        log.error("request %s: %s %s failed", request_id, method, route, exc_info=error)
        http_errors.add(1, {"method": _known(method), "route": route, "error_type": verdict.code})
        span = trace.get_current_span()
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.set_attribute("error.type", type(error).__name__)
        # in a thread, for it asks Redis; the context, and with it the trace, goes along
        await asyncio.to_thread(self._report, error, f"{_known(method)} {route}")

    def _count(self, scope: Scope, route: str, status: int, seconds: float, request_id: str) -> None:
        method = _known(scope["method"])
        attributes = {"method": method, "route": route, "status_code": str(status)}
        http_requests.add(1, attributes)
        http_duration.record(seconds * 1000, attributes)
        http_seconds.record(seconds, {"method": method, "endpoint": route})
        if route in self._templates.analyses:
            attributes = {"endpoint": route, "status": str(status), "has_filters": _has_filters(scope)}
            analysis_api_requests.add(1, attributes)
            analysis_api_duration.record(seconds * 1000, attributes)
        log.log(
            logging.DEBUG if route in _QUIET and status < 500 else logging.INFO,
            "request %s: %s %r %d in %.0f ms",
            *(request_id, method, scope["path"][:_LONGEST_PATH], status, seconds * 1000),
        )


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _has_filters(scope: Scope) -> str:
    """Whether the query asks for some of a list only, as an attribute."""
    asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return str(any(name not in _PAGING for name, _ in asked)).lower()


def _known(method: str) -> str:
    return method if method in _METHODS else "other"
