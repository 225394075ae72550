"""Candles that are bought or sold on demand, at prices that can be moved."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sandbox.candles import CandleBook, Series, utc_now
from sandbox.ticks import best_bid_and_ask, tick_size, to_tick
from trading import analyst
from trading.types import Candle, Decision, Instrument, Position, Quote

DAYS = 260
# a pause at the end, so that the price lies within the range of the analysis and not beyond it
PAUSE_DAYS = 3
DRIFT = 0.004
NOISE = 0.006
# of walks, until the rule analyst makes of one what is wanted
TRIES = 200
# so sure that a position held does not change its mind
SURE = 70

# a price of the middle of each tick band, so that a ladder has room
_LEVELS = {"upbit": (12_000, 35_000, 70_000, 180_000, 320_000), "kis": (31_000, 44_000, 72_000, 95_000, 150_000)}


def symbols(market: str, count: int) -> dict[str, int]:
    """`count` symbols of a market with the price each ends at, in KRW."""
    levels = _LEVELS[market]
    names = (f"KRW-X{number:02}" if market == "upbit" else f"9{number:05}" for number in range(1, count + 1))
    return {name: levels[index % len(levels)] for index, name in enumerate(names)}


def series(market: str, symbol: str, level: int, *, rising: bool) -> Series:
    """A way up to `level` that the rule analyst buys, or down to it that it sells; the same for the same symbol."""
    wanted = Decision.BUY if rising else Decision.SELL
    for attempt in range(TRIES):
        days = _walk(market, random.Random(f"{market}/{symbol}/{attempt}"), level, 1 if rising else -1)
        if _decided(market, symbol, days) is wanted:
            return Series(days)
    raise ValueError(f"none of {TRIES} walks of {market} {symbol} is one to {wanted}")


def _walk(market: str, chance: random.Random, level: int, way: int) -> tuple[Candle, ...]:
    steps = [way * (DRIFT if day < DAYS - PAUSE_DAYS else DRIFT / 2) + chance.gauss(0, NOISE) for day in range(DAYS)]
    price = level * math.exp(-math.fsum(steps))
    closes = []
    for step in steps:
        price *= math.exp(step)
        closes.append(to_tick(market, Decimal(price)))
    first = datetime(2025, 1, 1, tzinfo=UTC)
    reach = Decimal(level) * Decimal("0.002")
    daily = []
    for day, close in enumerate(closes):
        opened = closes[day - 1] if day else close
        high, low = to_tick(market, max(opened, close) + reach), to_tick(market, min(opened, close) - reach)
        volume = Decimal(1_000_000 + 1_000 * day)
        daily.append(Candle(first + timedelta(days=day), opened, max(high, opened, close), low, close, volume))
    return tuple(daily)


def _decided(market: str, symbol: str, days: Sequence[Candle]) -> Decision:
    """What the rule analyst makes of it, HOLD where it is not sure."""
    price, step = days[-1].close, Decimal(1) if market == "kis" else Decimal("0.00000001")
    bid, ask = best_bid_and_ask(market, price)
    instrument = Instrument(market, symbol, symbol, "crypto", "KRW", step, Decimal(5_000), Decimal("0.0005"))
    quote = Quote(symbol, price, bid, ask, tick_size(market, price), utc_now())
    analysis = analyst.analyse(instrument, days[-200:], [], quote, Position(Decimal(0), Decimal(0)))
    return analysis.decision if analysis.confidence >= SURE else Decision.HOLD


class MovingBook(CandleBook):
    """A book whose symbols each have two histories, and a last price of their own."""

    def __init__(self, levels: Mapping[str, Mapping[str, int]], clock: Callable[[], datetime] = utc_now) -> None:
        def all_series(rising: bool) -> dict[tuple[str, str], Series]:
            return {
                (market, symbol): series(market, symbol, level, rising=rising)
                for market, named in levels.items()
                for symbol, level in named.items()
            }

        super().__init__(all_series(True), "recorded", clock=clock)
        self._falling = CandleBook(all_series(False), "recorded", clock=clock)
        self._falls: set[tuple[str, str]] = set()
        self._prices: dict[tuple[str, str], Decimal] = {}

    def turn(self, market: str, symbol: str, *, rising: bool) -> None:
        """Serve the rising or the falling history from now on, at its own last price."""
        (self._falls.discard if rising else self._falls.add)((market, symbol))
        self._prices.pop((market, symbol), None)

    def move(self, market: str, symbol: str, factor: float) -> Decimal:
        """Multiply the last price, rounded to the market's grid; returns the new one."""
        price = to_tick(market, self.price(market, symbol) * Decimal(factor))
        self._prices[market, symbol] = price
        return price

    def price(self, market: str, symbol: str) -> Decimal:
        moved = self._prices.get((market, symbol))
        return moved if moved is not None else self.daily(market, symbol)[-1].close

    def daily(self, market: str, symbol: str) -> list[Candle]:
        days = self._falling.daily(market, symbol) if (market, symbol) in self._falls else super().daily(market, symbol)
        moved = self._prices.get((market, symbol))
        if moved is None:
            return days
        last = days[-1]
        return [*days[:-1], replace(last, close=moved, high=max(last.high, moved), low=min(last.low, moved))]
