"""What speaks against buying anything now: a falling bitcoin, a flash crash, a rise that loses its strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trading.candles import closes
from trading.ta import talib
from trading.thresholds import Thresholds
from trading.types import Candle

# the last hour's close against the highest one of the hours before it
CRASH_HOURS = 4

RSI_PERIOD = 14
# two tops are compared: the highest close of the last ten days, and of the twenty days before them
RECENT_DAYS = 10
EARLIER_DAYS = 20

_USUAL = Thresholds()


@dataclass(frozen=True, slots=True)
class MarketRisk:
    """The three answers; None where the data did not suffice to tell."""

    reference_falling: bool | None
    flash_crash: bool | None
    bearish_divergence: bool | None


def assess(
    daily: Sequence[Candle],
    hourly: Sequence[Candle],
    reference: Sequence[Candle] | None,
    thresholds: Thresholds | None = None,
) -> MarketRisk:
    """The risk of buying a symbol, from its daily and hourly candles and the daily ones of bitcoin.

    `reference` is None where bitcoin says nothing about the symbol, as for stocks. Where there are fewer than
    five hours, as early in a session whose venue tells no hours of the day before, the last day tells of a crash as
    well. Candles are checked ones, oldest first.
    """
    limits = thresholds or _USUAL
    return MarketRisk(
        reference_falling=False if reference is None else falling(reference, limits),
        flash_crash=crashing(daily, hourly, limits),
        bearish_divergence=bearish_divergence(daily),
    )


def falling(daily: Sequence[Candle], thresholds: Thresholds = _USUAL) -> bool | None:
    """Whether the last close is 5 % below the one before it or 15 % below that of a week ago, by default."""
    if len(daily) < 8:
        return None
    close = closes(daily[-8:])
    day, week = thresholds.reference_day_fall, thresholds.reference_week_fall
    return bool(close[-1] <= close[-2] * (1 - day) or close[-1] <= close[0] * (1 - week))


def crashing(daily: Sequence[Candle], hourly: Sequence[Candle], thresholds: Thresholds = _USUAL) -> bool | None:
    """Whether the last hours crashed; where they are too few, the last day or what hours there are; None where neither
    tells."""
    if len(hourly) > CRASH_HOURS:
        return flash_crash(hourly, thresholds)
    day = flash_crash(daily[-2:], thresholds, bars=1)
    if len(hourly) > 1 and flash_crash(hourly, thresholds, bars=len(hourly) - 1):
        # the day began far above the close before it
        return True
    return day


def flash_crash(candles: Sequence[Candle], thresholds: Thresholds = _USUAL, *, bars: int = CRASH_HOURS) -> bool | None:
    """Whether the last close is 8 % (by default) below the highest of the `bars` closes before it."""
    if len(candles) < bars + 1:
        return None
    close = closes(candles[-bars - 1 :])
    return bool(close[-1] <= close[:-1].max() * (1 - thresholds.crash_fall))


def bearish_divergence(daily: Sequence[Candle]) -> bool | None:
    """Whether the price made a higher top than before while RSI 14 made a lower one."""
    days = RECENT_DAYS + EARLIER_DAYS
    if len(daily) < days + RSI_PERIOD:
        return None
    close = closes(daily)
    # TA-Lib calls the RSI of a price that does not move 0; it never makes a top
    rsi = talib.RSI(close, timeperiod=RSI_PERIOD)
    earlier = len(close) - days + int(np.argmax(close[-days:-RECENT_DAYS]))
    recent = len(close) - RECENT_DAYS + int(np.argmax(close[-RECENT_DAYS:]))
    return bool(close[recent] > close[earlier] and rsi[recent] < rsi[earlier])
