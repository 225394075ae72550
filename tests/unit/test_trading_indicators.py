"""Indicators against their published formulas, written out here without TA-Lib."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from trading.candles import Array
from trading.errors import BadCandles
from trading.indicators import MINIMUM_ROWS, Indicators, compute
from trading.types import Candle

START = datetime(2026, 1, 1, tzinfo=UTC)


def waves(count: int = 200, *, seed: int = 7) -> list[Candle]:
    """A random walk with a cycle in it: no two indicators of it are equal by accident."""
    random = np.random.default_rng(seed)
    close = 100 + np.cumsum(random.normal(0, 1.5, count)) + 8 * np.sin(np.arange(count) / 9) + 50
    rows = []
    for n, price in enumerate(close):
        opened = price + random.normal(0, 0.8)
        high = max(price, opened) + abs(random.normal(0, 0.7))
        low = min(price, opened) - abs(random.normal(0, 0.7))
        values = (round(float(value), 4) for value in (opened, high, low, price, 1000 * random.uniform(0.5, 2)))
        rows.append(Candle(START + timedelta(days=n), *(Decimal(str(value)) for value in values)))
    return rows


def still(count: int, price: str) -> list[Candle]:
    value = Decimal(price)
    return [Candle(START + timedelta(days=n), value, value, value, value, Decimal(0)) for n in range(count)]


def column(candles: list[Candle], name: str) -> Array:
    return np.array([float(getattr(candle, name)) for candle in candles])


def wilder(values: Array, period: int) -> Array:
    """Wilder's average: the mean of the first `period`, then each new value counts 1/period."""
    smoothed = [values[:period].mean()]
    for value in values[period:]:
        smoothed.append((smoothed[-1] * (period - 1) + value) / period)
    return np.array(smoothed)


def ema(values: Array, period: int) -> Array:
    """Seeded with the mean of the first `period` values."""
    smoothed = [values[:period].mean()]
    for value in values[period:]:
        smoothed.append(smoothed[-1] + (value - smoothed[-1]) * 2 / (period + 1))
    return np.array(smoothed)


def true_range(candles: list[Candle]) -> Array:
    high, low, close = (column(candles, name) for name in ("high", "low", "close"))
    ranges: Array = np.maximum.reduce([high[1:] - low[1:], abs(high[1:] - close[:-1]), abs(low[1:] - close[:-1])])
    return ranges


@pytest.fixture(scope="module")
def candles() -> list[Candle]:
    return waves()


@pytest.fixture(scope="module")
def result(candles: list[Candle]) -> Indicators:
    return compute(candles)


def test_rsi_is_wilders(candles: list[Candle], result: Indicators) -> None:
    change = np.diff(column(candles, "close"))
    gain, loss = wilder(np.maximum(change, 0), 14)[-1], wilder(np.maximum(-change, 0), 14)[-1]
    assert result.rsi == pytest.approx(100 - 100 / (1 + gain / loss))


def test_macd_is_12_26_9(candles: list[Candle], result: Indicators) -> None:
    close = column(candles, "close")
    # TA-Lib starts the fast average late, so that both begin on the same day
    fast, slow = ema(close[14:], 12), ema(close, 26)
    line = fast - slow
    signal = ema(line, 9)
    assert result.macd == pytest.approx(line[-1])
    assert result.macd_signal == pytest.approx(signal[-1])
    assert result.macd_histogram == pytest.approx(line[-1] - signal[-1])
    assert result.macd_histogram_previous == pytest.approx(line[-2] - signal[-2])


def test_bollinger_is_two_population_deviations_around_sma_20(candles: list[Candle], result: Indicators) -> None:
    last = column(candles, "close")[-20:]
    assert result.bollinger_middle == pytest.approx(last.mean())
    assert result.bollinger_upper == pytest.approx(last.mean() + 2 * last.std())
    assert result.bollinger_lower == pytest.approx(last.mean() - 2 * last.std())
    assert result.bollinger_width == pytest.approx(4 * last.std() / last.mean())


def test_stochastic_is_the_slow_one(candles: list[Candle], result: Indicators) -> None:
    high, low, close = (column(candles, name) for name in ("high", "low", "close"))
    fast = []
    for end in range(len(close) - 5, len(close)):
        highest, lowest = high[end - 13 : end + 1].max(), low[end - 13 : end + 1].min()
        fast.append(100 * (close[end] - lowest) / (highest - lowest))
    slow = np.convolve(fast, np.ones(3) / 3, "valid")
    assert result.stochastic_k == pytest.approx(slow[-1])
    assert result.stochastic_d == pytest.approx(slow.mean())


@pytest.mark.parametrize("days", [5, 20, 60, 120, 200])
def test_sma_is_the_mean_of_so_many_closes(candles: list[Candle], result: Indicators, days: int) -> None:
    assert getattr(result, f"sma_{days}") == pytest.approx(column(candles, "close")[-days:].mean())


def test_atr_is_wilders(candles: list[Candle], result: Indicators) -> None:
    assert result.atr == pytest.approx(wilder(true_range(candles), 14)[-1])


def test_adx_is_wilders(candles: list[Candle], result: Indicators) -> None:
    high, low = column(candles, "high"), column(candles, "low")
    up, down = np.diff(high), -np.diff(low)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)

    def total(values: Array) -> Array:
        """Wilder's running sum as TA-Lib starts it: of the first 13 values."""
        sums = [values[:13].sum()]
        for value in values[13:]:
            sums.append(sums[-1] - sums[-1] / 14 + value)
        return np.array(sums[1:])

    ranges = total(true_range(candles))
    di_plus, di_minus = 100 * total(plus) / ranges, 100 * total(minus) / ranges
    dx = 100 * abs(di_plus - di_minus) / (di_plus + di_minus)
    assert result.adx == pytest.approx(wilder(dx, 14)[-1])


def test_the_volume_ratio_leaves_the_unfinished_day_out(candles: list[Candle], result: Indicators) -> None:
    volume = column(candles, "volume")
    assert result.volume_ratio == pytest.approx(volume[-2] / volume[-22:-2].mean())
    last = candles[-1]
    traded_more = Candle(last.time, last.open, last.high, last.low, last.close, last.volume * 50)
    assert compute([*candles[:-1], traded_more]).volume_ratio == result.volume_ratio


def test_long_averages_are_none_where_the_candles_do_not_reach(candles: list[Candle]) -> None:
    short = compute(candles[:MINIMUM_ROWS])
    assert short.sma_120 is None
    assert short.sma_200 is None
    assert compute(candles[:120]).sma_120 is not None
    assert all(math.isfinite(value) for value in short.as_dict().values() if value is not None)


def test_fewer_rows_than_needed_are_refused(candles: list[Candle]) -> None:
    with pytest.raises(BadCandles, match="has 59, needs 60"):
        compute(candles[: MINIMUM_ROWS - 1])


@pytest.mark.parametrize("price", ["100", "0.3", "0.00000017", "160000000.5"])
def test_a_price_that_stands_still_is_neutral_not_oversold(price: str) -> None:
    values = compute(still(80, price))
    assert values.rsi == 50
    assert values.stochastic_k == values.stochastic_d == 50
    assert values.atr == 0
    assert values.volume_ratio is None


def test_the_dictionary_is_json(result: Indicators) -> None:
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False)) == result.as_dict()


@pytest.mark.parametrize(
    ("shape", "check"),
    [
        (lambda n: 100 + n, lambda values: values.rsi > 99 and values.adx > 90),
        (lambda n: 300 - n, lambda values: values.rsi < 1 and values.adx > 90),
    ],
    ids=["only up", "only down"],
)
def test_a_straight_line_is_a_strong_trend(shape: Callable[[int], int], check: Callable[[Indicators], bool]) -> None:
    rows = []
    for n in range(100):
        price = Decimal(shape(n))
        rows.append(Candle(START + timedelta(days=n), price, price + 1, price - 1, price, Decimal(1)))
    assert check(compute(rows))
