"""Simulated candles: a seeded geometric random walk on the venue's price grid, equal for equal seed and symbol."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from functools import lru_cache, partial

from sandbox.candles import CandleBook, Series, utc_now
from sandbox.ticks import to_tick
from trading.types import Candle

DAYS = 400
HOURLY_DAYS = 30

# symbol -> (level, daily volatility, daily volume); levels are those of 2026
SYMBOLS: dict[str, dict[str, tuple[float, float, float]]] = {
    "upbit": {
        "KRW-BTC": (130_000_000, 0.022, 1_500),
        "KRW-ETH": (4_400_000, 0.030, 30_000),
        "KRW-XRP": (2_800, 0.035, 90_000_000),
        "KRW-SOL": (185_000, 0.035, 400_000),
        "KRW-DOGE": (190, 0.040, 250_000_000),
    },
    "kis": {
        "005930": (178_000, 0.018, 18_000_000),
        "000660": (620_000, 0.024, 4_000_000),
        "035420": (245_000, 0.018, 900_000),
        "035720": (58_000, 0.021, 2_500_000),
    },
    "yfinance": {
        "AAPL": (270, 0.015, 50_000_000),
        "MSFT": (480, 0.014, 22_000_000),
        "NVDA": (180, 0.026, 190_000_000),
        "SPY": (690, 0.009, 70_000_000),
        "TSLA": (400, 0.032, 90_000_000),
    },
}

# start of the session in UTC and its hourly candles; KRX 09:00-15:30 KST, US 09:30-16:00 in New York (winter)
_SESSIONS = {"upbit": (time(0), 24), "kis": (time(0), 7), "yfinance": (time(14, 30), 7)}
# the last hour of these sessions is half an hour
_HALF_HOUR = {"kis": 6, "yfinance": 20}
_VOLUME_STEP = {"upbit": Decimal("0.00000001"), "kis": Decimal(1), "yfinance": Decimal(1)}


def simulated_book(seed: int, clock: Callable[[], datetime] = utc_now) -> CandleBook:
    """A book of `DAYS` daily candles ending today for every symbol of `SYMBOLS`, with hours and minutes."""
    today = clock().date()
    series = {
        (market, symbol): _simulate(market, symbol, seed, today) for market in SYMBOLS for symbol in SYMBOLS[market]
    }
    return CandleBook(series, "simulated", minutes=partial(_by_the_minute, seed), clock=clock)


@lru_cache(maxsize=256)
def _simulate(market: str, symbol: str, seed: int, today: date) -> Series:
    return walk(market, symbol, seed, today, *SYMBOLS[market][symbol])


def walk(market: str, symbol: str, seed: int, today: date, level: float, volatility: float, volume: float) -> Series:
    """A walk of `DAYS` days that ends today near `level`; volatility and volume are those of a day."""
    chance = random.Random(f"{seed}/{market}/{symbol}")
    steps = [chance.gauss(0.0003, volatility) for _ in range(DAYS)]
    # the walk ends near the level, wherever it started
    price = level * math.exp(chance.gauss(0, 0.04) - math.fsum(steps))
    opened = to_tick(market, Decimal(price))
    daily = []
    for start, step in zip(_session_days(market, today), steps, strict=True):
        price *= math.exp(step)
        closed = to_tick(market, Decimal(price))
        reach = Decimal(math.exp(abs(chance.gauss(0, volatility / 2))))
        fall = Decimal(math.exp(-abs(chance.gauss(0, volatility / 2))))
        traded = Decimal(volume * math.exp(chance.gauss(0, 0.3))).quantize(_VOLUME_STEP[market])
        high = to_tick(market, max(opened, closed) * reach, ROUND_CEILING)
        low = to_tick(market, min(opened, closed) * fall, ROUND_FLOOR)
        daily.append(Candle(start, opened, high, low, closed, traded))
        gap = 0.0 if market == "upbit" else chance.gauss(0, volatility / 4)
        opened = to_tick(market, closed * Decimal(math.exp(gap)))
    opening, count = _SESSIONS[market]
    hourly = []
    for day in daily[-HOURLY_DAYS:]:
        first = day.time.replace(hour=opening.hour, minute=opening.minute)
        hourly += _split(market, day, first, count, timedelta(hours=1), chance)
    return Series(tuple(daily), tuple(hourly))


def _session_days(market: str, today: date) -> list[datetime]:
    """The last `DAYS` days a market trades, today always among them."""
    day = datetime.combine(today, time(), UTC)
    days: list[datetime] = []
    while len(days) < DAYS:
        if market == "upbit" or day.weekday() < 5 or not days:
            days.append(day)
        day -= timedelta(days=1)
    return days[::-1]


def _by_the_minute(seed: int, market: str, symbol: str, hourly: Sequence[Candle]) -> list[Candle]:
    minutes = []
    for hour in hourly:
        # every hour has its own chance, so that it splits the same way every day
        length = 30 if hour.time.hour == _HALF_HOUR.get(market) else 60
        chance = random.Random(f"{seed}/{symbol}/{hour.open}/{hour.close}/{hour.volume}")
        minutes += _split(market, hour, hour.time, length, timedelta(minutes=1), chance)
    return minutes


def _split(
    market: str, whole: Candle, first: datetime, count: int, step: timedelta, chance: random.Random
) -> list[Candle]:
    """`count` candles that make up `whole` exactly: its open, high, low, close and volume."""
    width = whole.high - whole.low
    points = [whole.open]
    for index in range(1, count):
        line = whole.open + (whole.close - whole.open) * index / count
        wobble = width * Decimal(chance.uniform(-0.3, 0.3))
        points.append(min(max(to_tick(market, line + wobble), whole.low), whole.high))
    points.append(whole.close)
    top, bottom = chance.sample(range(count), 2)
    weights = [chance.randint(1, 5) for _ in range(count)]
    left = whole.volume
    parts = []
    for index in range(count):
        opened, closed = points[index], points[index + 1]
        share = (whole.volume * weights[index] / sum(weights)).quantize(_VOLUME_STEP[market], ROUND_DOWN)
        volume = left if index == count - 1 else share
        left -= volume
        high = whole.high if index == top else max(opened, closed)
        low = whole.low if index == bottom else min(opened, closed)
        parts.append(Candle(first + step * index, opened, high, low, closed, volume))
    return parts
