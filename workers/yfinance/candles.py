"""Rows of a Yahoo chart as candles. Works on what a frame offers, so that nothing heavy is imported here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from trading.types import Candle
from workers.calls import Call
from workers.errors import BadReply

FIELDS = ("Open", "High", "Low", "Close", "Volume")
PRICES = FIELDS[:4]
# a session is dated by New York, whose date is behind that of UTC for some hours
AHEAD = timedelta(days=1)

Row: TypeAlias = tuple[datetime, tuple[float, float, float, float, float]]
"""Start of the candle (aware, New York for days) and the values of `FIELDS`."""


def daily(rows: Iterable[Row], today: date, call: Call) -> list[Candle]:
    """One candle per session, dated 00:00 UTC of its date; `today` is the date in New York.

    Raises `BadReply` for a price that is no number and for a day that is still to come. Only a last row of today
    without any price is left out: Yahoo sends it between the opening and the first trade it knows.
    """
    known = list(rows)
    for start, _ in known:
        if start.date() > today + AHEAD:
            raise _to_come(start, call)
    if known and known[-1][0].date() >= today and all(math.isnan(price) for price in known[-1][1][:4]):
        known.pop()
    return [_candle(datetime(start.year, start.month, start.day, tzinfo=UTC), values, call) for start, values in known]


def intraday(rows: Iterable[Row], call: Call) -> list[Candle]:
    """One candle per interval. Raises `BadReply` for a price that is no number and for a time still to come."""
    known = list(rows)
    latest = datetime.now(UTC) + AHEAD
    for start, _ in known:
        if start > latest:
            raise _to_come(start, call)
    return [_candle(start.astimezone(UTC), values, call) for start, values in known]


def _to_come(start: datetime, call: Call) -> BadReply:
    return BadReply(f"{call}: candle of {start.isoformat()}: is still to come; it is tried again at the next tick")


def _candle(time: datetime, values: tuple[float, float, float, float, float], call: Call) -> Candle:
    for name, value in zip(FIELDS, values, strict=True):
        if math.isnan(value):
            raise BadReply(
                f"{call}: candle of {time.isoformat()}: {name.lower()} is NaN; it is tried again at the next tick"
            )
    return Candle(time, *map(_decimal, values))


def _decimal(value: float) -> Decimal:
    # through text, which is the shortest decimal that is the float Yahoo sent; volumes are whole numbers
    return Decimal(int(value)) if value.is_integer() else Decimal(str(value))
