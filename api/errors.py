"""What the API answers where it cannot do what was asked: one JSON shape that names the fault and the cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from kombu.exceptions import OperationalError
from pydantic import BaseModel
from redis.exceptions import RedisError
from sqlalchemy.exc import InterfaceError, SQLAlchemyError
from sqlalchemy.exc import OperationalError as DatabaseAway
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from operate import CannotAnswer
from settings import MARKETS
from storage.errors import NotFound, StorageError
from storage.faults import cure as unreachable
from storage.redis import RedisUnavailable
from workers.errors import VenueError

Code = Literal[
    "bad_request", "no_token", "not_allowed", "not_found", "method_not_allowed", "too_slow", "too_large", "not_valid",
    "too_many_requests", "internal", "unavailable",
]  # fmt: skip

_OF_STATUS: dict[int, tuple[Code, str]] = {
    400: ("bad_request", "send the body as JSON, with Content-Type: application/json"),
    404: ("not_found", "look at /docs for the paths there are"),
    405: ("method_not_allowed", "look at /docs for the method of this path"),
}


class FieldFault(BaseModel):
    """What is wrong with one part of a request, such as `query.limit`."""

    where: str
    fault: str


class Candidate(BaseModel):
    """What may have been meant: `symbol` is to be written, a market's name where the market is not known."""

    symbol: str
    name: str


class ErrorDetail(BaseModel):
    """`fault` is what is wrong, `cure` what to do; `fields` and `candidates` are filled where they apply."""

    code: Code
    fault: str
    cure: str
    request_id: str
    fields: list[FieldFault] = []
    candidates: list[Candidate] = []


class ErrorReply(BaseModel):
    error: ErrorDetail


class ApiError(Exception):
    """An answer that is no success. Rendered at the edge, where those from 500 on are also reported."""

    def __init__(
        self,
        status: int,
        code: Code,
        fault: str,
        cure: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Sequence[FieldFault] = (),
        candidates: Sequence[Candidate] = (),
    ) -> None:
        super().__init__(fault)
        self.status = status
        self.code: Code = code
        self.fault = fault
        self.cure = cure
        self.headers = dict(headers or {})
        self.fields = list(fields)
        self.candidates = list(candidates)


def response(error: ApiError, request_id: str) -> JSONResponse:
    """The error as it goes out."""
    detail = ErrorDetail(
        code=error.code,
        fault=error.fault,
        cure=error.cure,
        request_id=request_id,
        fields=error.fields,
        candidates=error.candidates,
    )
    return JSONResponse(ErrorReply(error=detail).model_dump(mode="json"), error.status, error.headers)


_AWAY = ApiError(503, "unavailable", "database or Redis did not answer", "see /readyz for which one")


def judge(error: Exception) -> ApiError:
    """What an exception comes to for whoever asked: nothing of a failure's text goes out, it may hold anything."""
    match error:
        case ApiError():
            return error
        case NotFound():
            return ApiError(404, "not_found", str(error), "list what there is and take an id from there")
        case CannotAnswer() | RedisUnavailable() | StorageError():
            return ApiError(503, "unavailable", "the answer needs something that is away", "see /readyz for what it is")
        case VenueError():
            return ApiError(
                503, "unavailable", f"the venue could not be used ({type(error).__name__})", "try again later"
            )
        case DatabaseAway() | InterfaceError() | PoolExhausted() | RedisError() | OperationalError() | OSError():
            return _AWAY
        case SQLAlchemyError() if unreachable(error) is not None:
            return _AWAY
        case _:
            return ApiError(
                500, "internal", "something failed that should not", "the operator was told; quote the request id"
            )


def of_http(error: HTTPException) -> ApiError:
    """What the router says of a path or method it does not know."""
    code, cure = _OF_STATUS.get(error.status_code, ("bad_request", "look at /docs"))
    fault = HTTPStatus(error.status_code).phrase.lower()
    return ApiError(error.status_code, code, fault, cure, headers=error.headers)


def of_validation(error: RequestValidationError) -> ApiError:
    """What is wrong with each part of a request; what was sent is not repeated."""
    found = error.errors()
    fields = [_field(fault) for fault in found]
    if any(tuple(fault["loc"]) == ("path", "market") for fault in found):
        # a part of the path that there is not, like an unknown symbol behind it
        return ApiError(
            404,
            "not_found",
            f"{fields[0].where}: {fields[0].fault}",
            "take one of the candidates",
            fields=fields,
            candidates=[Candidate(symbol=market, name=market) for market in MARKETS],
        )
    fault = f"{fields[0].where}: {fields[0].fault}" if fields else "the request is not valid"
    return ApiError(422, "not_valid", fault, "correct the request; /docs has its form", fields=fields)


def _field(found: Mapping[str, Any]) -> FieldFault:
    where = ".".join(str(part) for part in found["loc"])
    # a key of the request may stand in it: not longer than is of use, and no character that cannot be sent
    shown = where.encode("utf-8", "replace").decode()[:100]
    return FieldFault(where=shown, fault=str(found["msg"]).removeprefix("Value error, ")[:300])
