"""From what a page shows to its HTML: every value is escaped, and no script runs, whatever one says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.filters import do_truncate
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.auth import NOTHING, Scope
from api.desk import figures, paths
from api.desk.sessions import Session
from api.desk.words_en import EN
from api.desk.words_ko import KO
from api.resources import Resources
from notifications.words import Language, words
from operate.view_words import view_words
from settings import MARKETS, Settings
from telemetry.redaction import redact, secret_values

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # what an account holds stays in no cache
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # a form's address is told to nobody else; with none at all browsers name no origin even to ourselves
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
REFRESH_SECONDS = 30
_PAGES = Path(__file__).with_name("pages")


def environment(settings: Settings) -> Environment:
    """The templates, with the words of the language that is set, and without what is secret."""
    return _environment(settings.notify_language, secret_values(settings))


@lru_cache(maxsize=2)
def _environment(language: Language, secrets: tuple[str, ...]) -> Environment:
    def shown(value: object) -> object:
        # an error's text is somebody else's; what a template made of others is `Markup` and was seen already
        return redact(value, secrets) if type(value) is str else value

    made = Environment(
        loader=FileSystemLoader(_PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    money = words(language)

    def shortened(value: object, length: int = 255, *options: Any) -> str:
        # first what is secret: a part of it would not be known for one
        return do_truncate(made, redact(str(value), secrets), length, *options)

    made.filters |= {
        "truncate": shortened,
        "json": _json,
        "when": figures.when,
        "exactly": figures.exactly,
        "direction": figures.direction,
        "percent": figures.percent,
        "quantity": figures.quantity,
        "indicator": figures.indicator,
        "price": money.money,
        "amount": money.amount,
        "signed": partial(money.amount, signed=True),
    }
    made.globals |= {
        "w": EN if language == "en" else KO,
        "told": view_words(language),
        "paths": paths,
        "MARKETS": MARKETS,
    }
    return made


def _json(value: object) -> str:
    """As text like any other, which is cleaned and escaped where it is shown."""
    return json.dumps(value, ensure_ascii=False, default=str)


def using_of(request: Request) -> Resources:
    """What the process opened once."""
    found: Resources = request.app.state.resources
    return found


def session_of(request: Request) -> Session | None:
    """The session of the browser, if it has one."""
    found: Session | None = request.scope["state"].get("session")
    return found


def render(
    request: Request, template: str, /, *, status: int = 200, part: str = "", refresh: str = "", **shown: Any
) -> HTMLResponse:
    """A page. `part` is the entry of the navigation it belongs to, `refresh` where the
    browser goes by itself after half a minute."""
    settings = using_of(request).settings
    session = session_of(request)
    granted = request.scope["state"].get("granted", NOTHING)
    pages: Environment = request.app.state.pages
    text = pages.get_template(template).render(
        session=session,
        # a token in a header may read pages; only a browser that signed in has forms
        operates=session is not None and Scope.OPERATE in session.granted,
        reads=Scope.READ in granted,
        part=part,
        refresh=f"{REFRESH_SECONDS};url={refresh}" if refresh else "",
        mode=settings.trading_mode,
        now=datetime.now(UTC),
        **shown,
    )
    return HTMLResponse(text, status, HEADERS)


async def static(request: Request) -> Response:
    """The style sheet and the icon, which say nothing of the system."""
    name = Path(request.scope["path"]).name
    kinds = {"desk.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
    headers = HEADERS | {"Cache-Control": "public, max-age=3600"}
    return Response(_file(name), media_type=kinds[name], headers=headers)


@cache
def _file(name: str) -> bytes:
    return (Path(__file__).with_name("static") / name).read_bytes()
