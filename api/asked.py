"""The parts of requests that several routes share, checked so that nothing unfit reaches the database."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, AwareDatetime

from storage.reading import Slice

MOST_ROWS = 200
# beyond what is asked for by hand; PostgreSQL reads every row it skips
FURTHEST_ROW = 100_000
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

# as a path takes them: neither a control character nor a slash, which no name of a symbol has
_NAME = r"^[^\x00-\x1f\x7f-\x9f/\\]{1,40}$"

# control characters, halves of surrogate pairs, and what begins a new line
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _sane(at: datetime) -> datetime:
    if not _EARLIEST <= at < _LATEST:
        raise ValueError("must be between 2000 and 2200")
    return at.astimezone(UTC)


def printable(text: str) -> str:
    """Text that every terminal, database and message takes. Raises `ValueError`."""
    if not text.strip() or any(unicodedata.category(character) in _UNFIT for character in text):
        raise ValueError("must be one line of text")
    return text.strip()


Market = Literal["upbit", "kis", "yfinance"]
Time = Annotated[AwareDatetime, AfterValidator(_sane)]
SymbolName = Annotated[
    str,
    Path(pattern=_NAME, description="a symbol such as KRW-BTC, or its name, such as 비트코인", examples=["KRW-BTC"]),
]

MarketFilter = Annotated[Market | None, Query(description="only this market")]
SymbolFilter = Annotated[str | None, Query(pattern=_NAME, description="only this symbol, as it is stored")]
Since = Annotated[Time | None, Query(alias="from", description="at or after this time, with its zone")]
Before = Annotated[Time | None, Query(alias="to", description="before this time, with its zone")]


def _slice(
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50, offset: Annotated[int, Query(ge=0, le=FURTHEST_ROW)] = 0
) -> Slice:
    return Slice(limit, offset)


Sliced = Annotated[Slice, Depends(_slice)]
