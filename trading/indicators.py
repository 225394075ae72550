"""Technical indicators of daily candles, by TA-Lib.

The last candle may be the unfinished day: its close is the price of now, which is wanted; its volume is
a part of a day's, so the volume ratio leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trading.candles import Array, columns
from trading.errors import BadCandles
from trading.ta import talib
from trading.types import Candle

# SMA 60 is the slowest indicator no decision is made without; ADX 14 needs 28 rows and MACD 12/26/9 34, and
# both still carry their starting value there: by 60 rows it has faded
MINIMUM_ROWS = 60

VOLUME_DAYS = 20

NEUTRAL = 50.0


@dataclass(frozen=True, slots=True)
class Indicators:
    """Values at the last candle. Prices in the instrument's currency; RSI, stochastic and ADX are 0-100;
    `bollinger_width` is (upper - lower) / middle. None where the candles do not reach back far enough."""

    close: float
    rsi: float
    macd: float
    macd_signal: float
    macd_histogram: float
    macd_histogram_previous: float
    bollinger_upper: float
    bollinger_middle: float
    bollinger_lower: float
    bollinger_width: float
    stochastic_k: float
    stochastic_d: float
    sma_5: float
    sma_20: float
    sma_60: float
    sma_120: float | None
    sma_200: float | None
    atr: float
    adx: float
    volume_ratio: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def compute(candles: Sequence[Candle]) -> Indicators:
    """The indicators of checked candles. Raises `BadCandles` for fewer than `MINIMUM_ROWS`."""
    if len(candles) < MINIMUM_ROWS:
        raise BadCandles(f"too few candles for the indicators: has {len(candles)}, needs {MINIMUM_ROWS}")
    bars = columns(candles)
    high, low, close = bars.high, bars.low, bars.close
    macd, signal, histogram = talib.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
    upper, middle, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    k, d = talib.STOCH(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)
    # a price that does not move has neither strength nor weakness, but TA-Lib answers 0, "oversold", for it
    flat = bool(np.ptp(close) == 0)
    still = bool(high[-14:].max() == low[-14:].min())
    return Indicators(
        close=float(close[-1]),
        rsi=NEUTRAL if flat else _last(talib.RSI(close, timeperiod=14)),
        macd=_last(macd),
        macd_signal=_last(signal),
        macd_histogram=_last(histogram),
        macd_histogram_previous=float(histogram[-2]),
        bollinger_upper=_last(upper),
        bollinger_middle=_last(middle),
        bollinger_lower=_last(lower),
        bollinger_width=_last((upper - lower) / middle),
        stochastic_k=NEUTRAL if still else _last(k),
        stochastic_d=NEUTRAL if still else _last(d),
        sma_5=_last(talib.SMA(close, timeperiod=5)),
        sma_20=_last(talib.SMA(close, timeperiod=20)),
        sma_60=_last(talib.SMA(close, timeperiod=60)),
        sma_120=_last(talib.SMA(close, timeperiod=120)) if len(close) >= 120 else None,
        sma_200=_last(talib.SMA(close, timeperiod=200)) if len(close) >= 200 else None,
        atr=_last(talib.ATR(high, low, close, timeperiod=14)),
        adx=_last(talib.ADX(high, low, close, timeperiod=14)),
        volume_ratio=_volume_ratio(bars.volume),
    )


def _last(values: Any) -> float:
    return float(values[-1])


def _volume_ratio(volume: Array) -> float | None:
    """The last finished day's volume over the mean of the 20 finished days before it; None if none traded."""
    mean = float(volume[-VOLUME_DAYS - 2 : -2].mean())
    return float(volume[-2]) / mean if mean > 0 else None
