"""What the replies of all venues have in common: checked against a model, put in order, never guessed.

A field that is missing, null or no number is a `BadReply` that names it. NaN, zero and negative numbers pass:
whether a candle may be used is for `trading.candles` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from trading.types import Candle
from workers.calls import Call
from workers.errors import BadReply

# more than all the money there is, and still well inside what Decimal reckons with
MOST = Decimal(10) ** 20
FIRST_YEAR, LAST_YEAR = 2000, 2100
# a venue's clock and its days may be ahead of ours
AHEAD = timedelta(days=2)


def _in_reach(value: Decimal) -> Decimal:
    # a signalling NaN raises wherever it is looked at
    if value.is_snan() or (value.is_finite() and abs(value) >= MOST):
        raise ValueError("is beyond any price or amount")
    return value


def _as_utc(time: datetime) -> datetime:
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError("is not of this age")
    return time.replace(tzinfo=UTC) if time.utcoffset() is None else time.astimezone(UTC)


def number_or_none(value: object) -> Decimal | None:
    """A finite number, or None for whatever else it is: of a value that nothing depends on."""
    if not isinstance(value, str | int | float | Decimal):
        return None
    try:
        number = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and abs(number) < MOST else None


def _amount_or_none(value: object) -> Decimal | None:
    number = number_or_none(value)
    return number if number is not None and number >= 0 else None


Number = Annotated[Decimal, Field(allow_inf_nan=True), AfterValidator(_in_reach)]
Told = Annotated[Decimal | None, BeforeValidator(number_or_none)]
"""A number that may be missing or spoilt without harm."""
ToldAmount = Annotated[Decimal | None, BeforeValidator(_amount_or_none)]
"""The same of what cannot be negative."""


def _not_to_come(time: datetime) -> datetime:
    if time > datetime.now(UTC) + AHEAD:
        raise ValueError("is still to come")
    return time


UtcTime = Annotated[datetime, AfterValidator(_as_utc)]
PastTime = Annotated[datetime, AfterValidator(_as_utc), AfterValidator(_not_to_come)]
"""A time that is UTC where it names no zone."""


class Wire(BaseModel):
    """A reply of a venue: strict about the fields we need, tolerant of all others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


M = TypeVar("M", bound=Wire)


def parse_one(model: type[M], document: Any, call: Call) -> M:
    """The document as a `model`. Raises `BadReply` with the first field that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _bad_field(error, call) from None


def parse_list(model: type[M], document: Any, call: Call) -> list[M]:
    """The document as a list of `model`. Raises `BadReply` with the first row and field that is wrong."""
    try:
        return _list_of(model).validate_python(document)
    except ValidationError as error:
        raise _bad_field(error, call) from None


def parse_rows(model: type[M], document: Any, key: str, call: Call) -> list[M]:
    """The list of `model` at `key` of a document that is an object. Raises `BadReply`."""
    if not isinstance(document, Mapping) or key not in document:
        raise BadReply(f"{call}: the reply has no {key}; it is not what the venue documents")
    return parse_list(model, document[key], call)


@lru_cache(maxsize=32)
def _list_of(model: type[M]) -> TypeAdapter[list[M]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _bad_field(error: ValidationError, call: Call) -> BadReply:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ", ".join(f"row {part + 1}" if isinstance(part, int) else f"field {part}" for part in first["loc"])
    # a null is told as such, any other input is not shown: a reply may hold a token
    what = "is null" if first["input"] is None else first["msg"].removeprefix("Input ")
    return BadReply(
        f"{call}: {where or 'the reply'}: {what}; the venue answered something else than it documents, "
        "it is tried again at the next tick"
    )


def each_once(rows: Iterable[M], key: Callable[[M], str], call: Call) -> list[M]:
    """The rows without those that came twice. Raises `BadReply` where two of one key differ."""
    known: dict[str, M] = {}
    for row in rows:
        if known.setdefault(key(row), row) != row:
            raise BadReply(f"{call}: two different rows of {key(row)}; it is tried again at the next tick")
    return list(known.values())


def in_order(candles: Iterable[Candle], call: Call) -> list[Candle]:
    """The candles oldest first, a row that came twice kept once. Raises `BadReply` where such rows differ, and
    for a candle that is still to come."""
    by_time: dict[datetime, Candle] = {}
    latest = datetime.now(UTC) + AHEAD
    for candle in candles:
        if candle.time > latest:
            raise BadReply(f"{call}: candle of {candle.time.isoformat()}: is still to come; it is tried again")
        known = by_time.setdefault(candle.time, candle)
        # compared by text, because NaN is not equal to itself
        if known is not candle and str(known) != str(candle):
            raise BadReply(
                f"{call}: two different candles of {candle.time.isoformat()}; it is tried again at the next tick"
            )
    return [by_time[time] for time in sorted(by_time)]
