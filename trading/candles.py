"""Candles: the check before they are used, and their columns as arrays for the indicators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trading.errors import BadCandles
from trading.types import Candle

Array: TypeAlias = NDArray[np.float64]

# longer than any run of holidays of the Korea and the US exchanges
LONGEST_PAUSE = timedelta(days=12)

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of some candles, oldest first; prices and volumes lose their last digits as floats."""

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array


def check(candles: Sequence[Candle], *, symbol: str, needed: int) -> None:
    """Raise `BadCandles` unless there are at least `needed` sound candles, oldest first.

    Sound means finite prices above zero, a volume of zero or more, low <= high, and aware, increasing
    times. The message has one line: symbol, row, fault, cure.
    """
    previous: Candle | None = None
    for candle in candles:
        fault = _fault(candle, previous)
        if fault:
            raise BadCandles(
                f"{symbol}: candle of {candle.time.isoformat()}: {fault}; "
                f"it is tried again at the next tick, if it stays take {symbol} out of the settings"
            )
        previous = candle
    if len(candles) < needed:
        last = f", the last of {candles[-1].time.isoformat()}" if candles else ""
        raise BadCandles(
            f"{symbol}: too few candles: has {len(candles)}, needs {needed}{last}; "
            f"take {symbol} out of the settings until it has been listed for longer"
        )


def check_fresh(candles: Sequence[Candle], *, symbol: str, now: datetime, within: timedelta = LONGEST_PAUSE) -> None:
    """Raise `BadCandles` where the newest daily candle is more than `within` old: a source that has stopped telling of
    a symbol still answers with what it had. `now` is aware."""
    newest = candles[-1].time
    if now - newest > within:
        raise BadCandles(
            f"{symbol}: stale candles: the newest is of {newest.isoformat()}; is it still traded? "
            f"if it stays take {symbol} out of the settings"
        )


def _fault(candle: Candle, previous: Candle | None) -> str | None:
    for name in (*_PRICES, "volume"):
        value = getattr(candle, name)
        if value.is_nan():
            return f"{name} is NaN"
        if value.is_infinite():
            return f"{name} is infinite"
        if name in _PRICES and value <= 0:
            return f"{name} is {value}, a price must be above zero"
    if candle.volume < 0:
        return f"volume is negative ({candle.volume})"
    if candle.low > candle.high:
        return f"low {candle.low} is above high {candle.high}"
    if candle.time.utcoffset() is None:
        return "time has no zone"
    if previous is not None and candle.time <= previous.time:
        return f"time does not increase, the row before it is of {previous.time.isoformat()}"
    return None


def columns(candles: Sequence[Candle]) -> Columns:
    """All columns at once, as float64."""
    return Columns(*(_column(candles, name) for name in (*_PRICES, "volume")))


def closes(candles: Sequence[Candle]) -> Array:
    """The closing prices, as float64."""
    return _column(candles, "close")


def _column(candles: Sequence[Candle], name: str) -> Array:
    return np.array([float(getattr(candle, name)) for candle in candles], dtype=np.float64)
