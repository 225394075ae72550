"""How a day's candle is traded: the prices it went through, in an order that the candle allows.

A candle tells four prices and not their order. The one taken here is the common one, and the less lucky for who holds
something on a day that ends higher: a rising day falls to its low first, a falling one rises to its high first. Where
there are candles by the hour, their path is taken.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from replay.terms import session, tick_at
from trading.types import Candle

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
# of a session of six and a half hours
LAST_HOUR = timedelta(minutes=90)
# between two of a day's prices, so many are looked at on the way
BETWEEN = 24


class Point(NamedTuple):
    """The price at a time."""

    at: datetime
    price: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """A day's candle from its first trade to its close, UTC, and the prices on the way; the first is its open."""

    candle: Candle
    opens: datetime
    closes: datetime
    points: tuple[Point, ...]


def days_of(market: str, daily: Sequence[Candle], hourly: Sequence[Candle] = ()) -> list[Day]:
    """The days of a symbol, oldest first."""
    starts = [candle.time for candle in hourly]
    found = []
    for candle in daily:
        opens, closes = session(market, candle.time.date())
        hours = hourly[bisect_left(starts, opens) : bisect_left(starts, closes)]
        points = [Point(opens, candle.open)]
        if hours and hours[0].time - opens < HOUR and closes - hours[-1].time <= LAST_HOUR:
            for hour in hours:
                points += _path(hour, hour.time, min(hour.time + HOUR, closes))
        else:
            points += _path(candle, opens, closes)[1:]
        found.append(Day(candle, opens, closes, tuple(points)))
    return found


def between(start: Point, end: Point, market: str) -> Iterator[Point]:
    """The way from one price to the next, both on their grid: evenly, without the start, the end last."""
    for number in range(1, BETWEEN):
        share = Decimal(number) / BETWEEN
        price = start.price + (end.price - start.price) * share
        tick = tick_at(market, price, start.at.date())
        at = start.at + (end.at - start.at) * number / BETWEEN
        yield Point(at, max(tick, (price / tick).quantize(Decimal(1), ROUND_HALF_EVEN) * tick))
    yield end


def _path(candle: Candle, opens: datetime, closes: datetime) -> list[Point]:
    rises = candle.close >= candle.open
    extremes = (candle.low, candle.high) if rises else (candle.high, candle.low)
    third = (closes - opens) / 3
    return [
        Point(opens, candle.open),
        Point(opens + third, extremes[0]),
        Point(opens + 2 * third, extremes[1]),
        # the last moment in which the day still trades
        Point(closes - SECOND, candle.close),
    ]
