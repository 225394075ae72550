"""Which days of which symbols a replay goes through."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from replay.errors import BadReplay
from replay.series import Series
from trading.indicators import MINIMUM_ROWS


@dataclass(frozen=True, slots=True)
class Span:
    """The days of one symbol: `first` to `last` count its daily candles from 0, both included."""

    first: int
    last: int

    @property
    def days(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The same days for every symbol, as far as each was traded on them; `start` and `end` are both included."""

    start: date
    end: date
    spans: Mapping[str, Span]


def plan(series: Mapping[str, Series], start: date | None = None, end: date | None = None) -> Plan:
    """The days from `start` to `end`; without them all that every symbol has, after those that indicators begin with.

    Raises `BadReplay`.
    """
    if not series:
        raise BadReplay("no symbols to replay: name some with --symbols")
    if start is not None and end is not None and start > end:
        raise BadReplay(f"--from {start} is after --to {end}: turn them round")
    known = {symbol: _days(symbol, of) for symbol, of in series.items()}
    youngest = max(known, key=lambda symbol: known[symbol][MINIMUM_ROWS])
    shortest = min(known, key=lambda symbol: known[symbol][-1])
    earliest, latest = known[youngest][MINIMUM_ROWS], known[shortest][-1]
    if earliest > latest:
        raise BadReplay(
            f"{youngest} can be replayed from {earliest} on, {shortest} up to {latest}: they have no day in common, "
            "name others with --symbols"
        )
    if start is not None and start < earliest:
        raise BadReplay(f"--from {start}: {_exists(youngest, known[youngest])}")
    if end is not None and end > latest:
        raise BadReplay(f"--to {end}: {_exists(shortest, known[shortest])}")
    if start is not None and start > latest:
        raise BadReplay(f"--from {start}: {_exists(shortest, known[shortest])}")
    if end is not None and end < earliest:
        raise BadReplay(f"--to {end}: {_exists(youngest, known[youngest])}")
    first, last = start or earliest, end or latest
    spans = {}
    for symbol, days in known.items():
        span = Span(bisect_left(days, first), bisect_right(days, last) - 1)
        if span.days < 1:
            raise BadReplay(f"{symbol} was not traded from {first} to {last}: choose other days")
        spans[symbol] = span
    return Plan(first, last, spans)


def _days(symbol: str, series: Series) -> list[date]:
    days = [candle.time.date() for candle in series.daily]
    if len(days) <= MINIMUM_ROWS:
        raise BadReplay(
            f"{symbol}: {len(days)} daily candles are too few: the indicators need {MINIMUM_ROWS} before the first day "
            f"that is replayed, give at least {MINIMUM_ROWS + 1}"
        )
    return days


def _exists(symbol: str, days: list[date]) -> str:
    return (
        f"{symbol} can be replayed from {days[MINIMUM_ROWS]} to {days[-1]} (its candles begin on {days[0]}, and the "
        f"indicators need {MINIMUM_ROWS} of them before the first day)"
    )
