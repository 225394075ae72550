"""Signing in and out, and what is shown instead of a page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope as Connection

from api.auth import Tokens
from api.desk import paths
from api.desk.asked import form, own_form
from api.desk.page import HEADERS, render, session_of
from api.desk.sessions import LASTS_SECONDS, PLAIN_COOKIE, SECURE_COOKIE, Sessions
from api.errors import ApiError

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="autotrader"'}


async def login_page(request: Request) -> Response:
    """`GET /desk/login`."""
    return _ask(request, paths.inside(request.query_params.get("next", "")))


async def login(request: Request) -> Response:
    """`POST /desk/login`: a token in, a session out; the token is kept nowhere. 401 for one that is not known."""
    fields = await form(request)
    target = paths.inside(fields.get("next", ""))
    tokens: Tokens = request.app.state.tokens
    granted = tokens.granted(b"Bearer " + fields.get("token", "").encode())
    if not granted:
        return _ask(request, target, status=401, wrong=True)
    sessions: Sessions = request.app.state.sessions
    answer = RedirectResponse(target, 303, HEADERS)
    secure = request.scope["scheme"] == "https"
    answer.set_cookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE,
        sessions.begin(granted),
        max_age=LASTS_SECONDS,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return answer


async def logout(request: Request) -> Response:
    """`POST /desk/logout`: the session is over, also for whoever copied its cookie."""
    await own_form(request)
    session = session_of(request)
    if session is not None:
        await request.app.state.sessions.end(session)
    answer = RedirectResponse(paths.LOGIN, 303, HEADERS)
    secure = request.scope["scheme"] == "https"
    answer.delete_cookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE, path="/", secure=secure, httponly=True, samesite="strict"
    )
    return answer


def fault_page(connection: Connection, error: ApiError, request_id: str) -> Response:
    """The page of an error: one line that says what is wrong. Where the token is missing it is the form for it."""
    request = Request(connection)
    if error.code == "no_token" and request.method in {"GET", "HEAD"}:
        answer = _ask(request, paths.inside(_address(connection)), status=error.status)
    else:
        answer = render(request, "fault.html", status=error.status, error=error, request_id=request_id)
    answer.headers.update(error.headers)
    return answer


def _address(connection: Connection) -> str:
    """The path and query that were asked for; not of Starlette's URL, which the Host header has a part in."""
    query = connection["query_string"].decode("latin-1")
    return str(connection["path"]) + (f"?{query}" if query else "")


def _ask(request: Request, target: str, *, status: int = 200, wrong: bool = False) -> Response:
    answer = render(request, "login.html", status=status, target=target, wrong=wrong)
    if status == 401:
        answer.headers.update(_CHALLENGE)
    return answer
