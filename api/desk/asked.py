"""What the pages' addresses and forms ask for, checked. What does not fit is an `ApiError`."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from starlette.requests import Request

from api.desk.page import session_of
from api.errors import ApiError
from settings import MARKETS
from storage.reading import Page, Slice
from trading.types import Decision

MOST_PAGES = 1_000
MOST_FIELDS = 20
_SAME_SITE = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is shown, and how to get to the others."""

    number: int
    per_page: int
    query: Mapping[str, str]

    @property
    def slice(self) -> Slice:
        return Slice(self.per_page, (self.number - 1) * self.per_page)

    def newer(self) -> str:
        """The query of the page before this one, "" on the first."""
        return self._to(self.number - 1) if self.number > 1 else ""

    def older(self, page: Page) -> str:
        """The query of the page after this one, "" on the last."""
        return self._to(self.number + 1) if self.number * self.per_page < page.total else ""

    def _to(self, number: int) -> str:
        return "?" + urlencode({**self.query, "page": str(number)})


def paging(request: Request, per_page: int, **query: str | None) -> Paging:
    """The page that is asked for, the first if none is. `query` are the conditions of the list."""
    text = request.query_params.get("page", "1")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_PAGES):
        raise _not_valid("page")
    return Paging(int(text), per_page, {name: value for name, value in query.items() if value})


def market_asked(request: Request) -> str | None:
    """The market a list is asked for, None for all."""
    market = request.query_params.get("market") or None
    if market is not None and market not in MARKETS:
        raise _not_valid("market")
    return market


def decision_asked(request: Request) -> str | None:
    """The decision a list is asked for, None for all."""
    decision = request.query_params.get("decision") or None
    if decision is not None and decision not in set(Decision):
        raise _not_valid("decision")
    return decision


def id_asked(request: Request) -> UUID:
    """The id in the path, which the route has checked."""
    found: UUID = request.path_params["id"]
    return found


async def form(request: Request) -> dict[str, str]:
    """The fields of a form of a browser. The first value of each, without blank edges; empty ones are left out."""
    try:
        pairs = parse_qsl((await request.body()).decode(), max_num_fields=MOST_FIELDS, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise ApiError(400, "bad_request", "this is no form", "send it as a browser does") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if value.strip():
            found.setdefault(name, value.strip())
    return found


async def own_form(request: Request) -> dict[str, str]:
    """The same of a form of the desk: with the word that only its own pages have. Raises `ApiError`."""
    session = session_of(request)
    fields = await form(request)
    site = request.headers.get("sec-fetch-site", "same-origin")
    told = fields.pop("csrf", "")
    if session is None or site not in _SAME_SITE or not hmac.compare_digest(told.encode(), session.csrf.encode()):
        raise ApiError(403, "not_allowed", "this form was not sent from the desk", "open its page again and send it")
    return fields


def _not_valid(name: str) -> ApiError:
    return ApiError(422, "not_valid", f"query.{name}: not a value there is", "take a link of the page")
