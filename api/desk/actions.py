"""What an operator may do here: halt, resume, analyse now. The same functions as the API's, with the same rules."""

from __future__ import annotations

from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.asked import Market, SymbolName
from api.auth import Scope
from api.desk.asked import own_form
from api.desk.page import HEADERS, render, session_of, using_of
from api.errors import ApiError
from api.routes.analyses import analyze
from api.routes.trading import Halt, Resume, change
from trading.state import State

BY = "desk"

_MARKETS: tuple[str, ...] = get_args(Market)
_SYMBOL: TypeAdapter[str] = TypeAdapter(SymbolName)


async def halt_page(request: Request) -> Response:
    """`GET /desk/halt`: the form."""
    _only_operators(request)
    return _form(request)


async def halt(request: Request) -> Response:
    """`POST /desk/halt`: first the question whether that is meant, and with `confirmed` the halt."""
    fields = await own_form(request)
    try:
        asked = Halt.model_validate(_wanted(fields, "market", "symbol", "reason", "hours", "reduce"))
    except ValidationError as error:
        return _form(request, fields, fault=_field(error))
    if fields.get("confirmed") != "yes":
        return render(request, "confirm.html", asked=asked)
    using = using_of(request)
    try:
        await change(using, asked, asked.state, asked.reason, asked.until(), BY)
    except ApiError as error:
        return _unknown(request, error, fields)
    return RedirectResponse("/?done=halt", 303, HEADERS)


async def resume(request: Request) -> Response:
    """`POST /desk/resume`: takes back the halt of exactly this scope."""
    fields = await own_form(request)
    try:
        asked = Resume.model_validate(_wanted(fields, "market", "symbol"))
    except ValidationError as error:
        raise ApiError(422, "not_valid", f"{_field(error)} is not valid", "press the button of the page") from None
    await change(using_of(request), asked, State.ACTIVE, asked.reason, None, BY)
    return RedirectResponse("/?done=resume", 303, HEADERS)


async def analyze_page(request: Request) -> Response:
    """`GET /desk/analyze`: the form."""
    _only_operators(request)
    return _analyze_form(request)


async def analyze_now(request: Request) -> Response:
    """`POST /desk/analyze`: queues an analysis and shows its run."""
    fields = await own_form(request)
    market, symbol = fields.get("market", ""), fields.get("symbol", "")
    try:
        _SYMBOL.validate_python(symbol)
    except ValidationError:
        return _analyze_form(request, fields, fault="symbol")
    if market not in _MARKETS:
        return _analyze_form(request, fields, fault="market")
    try:
        started = await analyze(cast(Market, market), symbol, using_of(request))
    except ApiError as error:
        if error.status >= 500:
            raise
        return _analyze_form(request, fields, error=error)
    return RedirectResponse(f"/desk/runs/{started.run_id}", 303, HEADERS)


def _only_operators(request: Request) -> None:
    session = session_of(request)
    if session is None or Scope.OPERATE not in session.granted:
        raise ApiError(403, "not_allowed", "this session may only read", "sign in with API_OPERATE_TOKEN")


def _wanted(fields: dict[str, str], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields}


def _field(error: ValidationError) -> str:
    """The field that is wrong; one that belongs to another, such as a symbol without its market, by that."""
    where = error.errors()[0]["loc"]
    return str(where[0]) if where else "market"


def _form(
    request: Request, fields: dict[str, str] | None = None, *, fault: str = "", error: ApiError | None = None
) -> Response:
    status = error.status if error else 422 if fault else 200
    return render(request, "halt.html", status=status, fields=fields or {}, fault=fault, error=error)


def _analyze_form(
    request: Request, fields: dict[str, str] | None = None, *, fault: str = "", error: ApiError | None = None
) -> Response:
    settings = using_of(request).settings
    enabled = [symbol for market in _MARKETS for symbol in settings.symbols(market)]
    status = error.status if error else 422 if fault else 200
    return render(
        request, "analyze.html", status=status, fields=fields or {}, fault=fault, error=error, enabled=enabled
    )


def _unknown(request: Request, error: ApiError, fields: dict[str, str]) -> Response:
    """The form again, with what may have been meant. Raises the error if it is about something else."""
    if error.status >= 500:
        raise error
    return _form(request, fields, error=error)
