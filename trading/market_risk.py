"""What speaks against buying anything now: a falling bitcoin, a flash crash, a rise that loses its strength.

The replaced system asked for these three; its own thresholds are not recorded, the ones below are chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trading.candles import closes
from trading.ta import talib
from trading.types import Candle

# bitcoin moves 5 % in a day about once a month, and other coins fall with it and further
FALL_IN_A_DAY = 0.05
FALL_IN_A_WEEK = 0.15

# the last hour's close against the highest one of the hours before it
CRASH_HOURS = 4
CRASH_FALL = 0.08

RSI_PERIOD = 14
# two tops are compared: the highest close of the last ten days, and of the twenty days before them
RECENT_DAYS = 10
EARLIER_DAYS = 20


@dataclass(frozen=True, slots=True)
class MarketRisk:
    """The three answers; None where the data did not suffice to tell."""

    reference_falling: bool | None
    flash_crash: bool | None
    bearish_divergence: bool | None


def assess(daily: Sequence[Candle], hourly: Sequence[Candle], reference: Sequence[Candle] | None) -> MarketRisk:
    """The risk of buying a symbol, from its daily and hourly candles and the daily ones of bitcoin.

    `reference` is None where bitcoin says nothing about the symbol, as for stocks. A market without hourly candles
    is judged by its last day. Candles are checked ones, oldest first.
    """
    return MarketRisk(
        reference_falling=False if reference is None else falling(reference),
        flash_crash=flash_crash(hourly) if hourly else flash_crash(daily[-2:], bars=1),
        bearish_divergence=bearish_divergence(daily),
    )


def falling(daily: Sequence[Candle]) -> bool | None:
    """Whether the last close is 5 % below the one before it or 15 % below that of a week ago."""
    if len(daily) < 8:
        return None
    close = closes(daily[-8:])
    return bool(close[-1] <= close[-2] * (1 - FALL_IN_A_DAY) or close[-1] <= close[0] * (1 - FALL_IN_A_WEEK))


def flash_crash(candles: Sequence[Candle], bars: int = CRASH_HOURS) -> bool | None:
    """Whether the last close is 8 % below the highest of the `bars` closes before it."""
    if len(candles) < bars + 1:
        return None
    close = closes(candles[-bars - 1 :])
    return bool(close[-1] <= close[:-1].max() * (1 - CRASH_FALL))


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
