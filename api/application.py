"""The ASGI application: routes behind the gate, inside the edge, traced."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from api.auth import Tokens
from api.desk import paths
from api.desk.entrance import fault_page
from api.desk.overview import Profits
from api.desk.page import environment
from api.desk.routes import desk_routes
from api.desk.sessions import Sessions
from api.edge import Edge, Report, Templates
from api.errors import ApiError, ErrorReply, of_http, of_validation, response
from api.gate import OPEN_PATHS, Gate
from api.rate import RateLimit
from api.resources import Resources
from api.routes import analyses, health, records, tasks, trading

DESCRIPTION = (
    "Start analyses, read what is stored, halt and resume. Every call but /healthz and /readyz needs "
    "`Authorization: Bearer …`: GET takes API_READ_TOKEN or API_OPERATE_TOKEN, everything else API_OPERATE_TOKEN."
)
# the gate checks the token; this tells the documentation of it
_TOKEN = HTTPBearer(auto_error=False, description="API_READ_TOKEN or API_OPERATE_TOKEN")
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": description}
    for status, description in {
        400: "the body is no JSON",
        401: "no token, or one that is not known",
        403: "the token may only read",
        404: "there is none",
        413: "the body is too large",
        422: "the request is not valid",
        429: "too many requests; Retry-After says how long to wait",
        500: "something failed; the operator was told",
        503: "something that is needed is away",
    }.items()
}
_GUARDED: tuple[APIRouter, ...] = (
    analyses.router,
    tasks.router,
    records.router,
    trading.router,
    health.metrics_router,
)


def create_app(resources: Resources, tokens: Tokens, report: Report) -> FastAPI:
    """The application over resources that are open, on the loop they were opened on."""
    app = FastAPI(
        title="autotrader",
        description=DESCRIPTION,
        version=_version(),
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.resources, app.state.tokens = resources, tokens
    app.state.sessions, app.state.profits = Sessions(tokens, resources.redis), Profits()
    app.state.pages = environment(resources.settings)
    app.include_router(health.router)
    for router in _GUARDED:
        app.include_router(router, dependencies=[Security(_TOKEN)], responses=_FAULTS)
    app.router.routes.extend(desk_routes())
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    templates = Templates(routes_of(app), {route.path for route in analyses.router.routes if isinstance(route, Route)})
    templates.start_counting()
    rate = RateLimit(resources.redis, resources.settings.api_requests_per_minute)
    # the one that is added last is the outermost
    app.add_middleware(Gate, tokens=tokens, sessions=app.state.sessions, rate=rate)
    app.add_middleware(Edge, templates=templates, report=report, answer=partial(_answer, app))
    # the catalogue has the HTTP metrics; the instrumentation's own would be the same under other names
    FastAPIInstrumentor.instrument_app(
        app,
        excluded_urls="healthz,readyz,metrics",
        meter_provider=NoOpMeterProvider(),
        exclude_spans=["receive", "send"],
    )
    return app


def routes_of(app: FastAPI) -> list[Route]:
    """Every route there is, the documentation's too."""
    routers = (health.router, *_GUARDED)
    return [
        route
        for route in (*(route for router in routers for route in router.routes), *app.routes)
        if isinstance(route, Route)
    ]


def _answer(app: FastAPI, connection: Scope, error: ApiError, request_id: str) -> Response:
    """An error as whoever asked can read it: the desk's browser as a page, everybody else as JSON."""
    if not paths.belongs(connection["path"]):
        return response(error, request_id)
    # what fails before the router has not met the application yet
    return fault_page({**connection, "app": app}, error, request_id)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(request.app, request.scope, of_http(error), request.state.request_id)


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response(of_validation(error), request.state.request_id)


def _version() -> str:
    try:
        return version("autotrader")
    except PackageNotFoundError:
        return "0+source"


__all__ = ["OPEN_PATHS", "create_app", "routes_of"]
