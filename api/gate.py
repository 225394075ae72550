"""What every request passes before anything of it is read: its rate, its token, the size of its body.

Closed by default: a path that is not listed as open needs a token, also one that does not exist. At the desk's paths a
session stands for the token.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from api.auth import NOTHING, Scope, Tokens
from api.desk import paths
from api.desk.sessions import Session, Sessions, cookie_of
from api.errors import ApiError
from api.rate import RateLimit

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
READING = frozenset({"GET", "HEAD"})
LARGEST_BODY_BYTES = 16_384
BODY_SECONDS = 10.0


class Gate:
    """The ASGI middleware in front of the routes. Raises `ApiError`, which the edge around it renders."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens, sessions: Sessions, rate: RateLimit) -> None:
        self._app = app
        self._tokens = tokens
        self._sessions = sessions
        self._rate = rate

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        if connection["type"] != "http":
            # there is nothing but HTTP here
            return
        headers = Headers(scope=connection)
        authorization = headers.get("authorization", "")
        granted = self._tokens.granted(authorization.encode("latin-1"))
        session = await self._session(connection, headers)
        if session is not None:
            granted |= session.granted
        connection["state"] |= {"granted": granted, "session": session}
        is_open = connection["path"] in OPEN_PATHS and connection["method"] in READING
        if authorization or not is_open:
            # an open path, too, must not be where tokens are guessed
            await self._count(connection, granted, session)
        if not is_open and connection["path"] not in paths.OPEN:
            reads = connection["method"] in READING or connection["path"] in paths.FOR_READERS
            _check(granted, reads=reads, given=bool(authorization))
        body = await _body(headers, receive)
        await self._app(connection, _replayed(body, receive), send)

    async def _session(self, connection: Connection, headers: Headers) -> Session | None:
        """The session of a browser at the desk."""
        if not paths.belongs(connection["path"]) or connection["path"] in paths.OPEN:
            # where the token is asked for, each attempt counts for its address
            return None
        cookie = cookie_of(cookie_parser(headers.get("cookie", "")), secure=connection["scheme"] == "https")
        session = self._sessions.read(cookie) if cookie else None
        return None if session is None or await self._sessions.ended(session) else session

    async def _count(self, connection: Connection, granted: frozenset[Scope], session: Session | None) -> None:
        """Raises `ApiError` once the session or the token, or without one the address, has asked too often."""
        client = connection.get("client")
        token = "operate" if Scope.OPERATE in granted else "read"
        who = f"token:{token}" if granted else f"ip:{client[0] if client else 'unknown'}"
        if session is not None:
            who = f"session:{session.name}"
        if seconds := await self._rate.take(who):
            raise ApiError(
                429,
                "too_many_requests",
                "more requests than API_REQUESTS_PER_MINUTE allows",
                f"wait {seconds} s",
                headers={"Retry-After": str(seconds)},
            )


def _check(granted: frozenset[Scope], *, reads: bool, given: bool) -> None:
    """Raises `ApiError` unless the token is enough."""
    if not granted:
        raise ApiError(
            401,
            "no_token",
            "the token is not known" if given else "a token is needed",
            "send Authorization: Bearer with API_READ_TOKEN or API_OPERATE_TOKEN; an unset one opens nothing",
            headers={"WWW-Authenticate": 'Bearer realm="autotrader"'},
        )
    if not reads and Scope.OPERATE not in granted:
        raise ApiError(
            403,
            "not_allowed",
            "this token may only read",
            "send API_OPERATE_TOKEN",
            headers={"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="operate"'},
        )


def granted_to(connection: Connection) -> frozenset[Scope]:
    """What the request's token entitles to."""
    found: frozenset[Scope] = connection["state"].get("granted", NOTHING)
    return found


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The whole body. Raises `ApiError` for one that is too large or takes too long."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > LARGEST_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise ApiError(
            408, "too_slow", f"the body did not arrive within {BODY_SECONDS:g} s", "send it again at once"
        ) from None
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large() -> ApiError:
    return ApiError(
        413,
        "too_large",
        f"the body is larger than {LARGEST_BODY_BYTES:,} bytes",
        "send only the fields that /docs names",
        headers={"Connection": "close"},
    )
