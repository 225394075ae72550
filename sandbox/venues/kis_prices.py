"""The book's kis candles, with the prices that a test has set in them.

From the moment a price is set, candles and last trade have it; what was before stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from sandbox.candles import CandleBook
from trading.types import Candle

MARKET = "kis"
DAY = timedelta(days=1)


class KisPrices:
    """Prices in KRW of the stocks of `book`."""

    def __init__(self, book: CandleBook) -> None:
        self._book = book
        self._set: dict[str, list[tuple[datetime, Decimal]]] = {}
        self._lowest: dict[str, Decimal] = {}

    def now(self) -> datetime:
        return self._book.now()

    def has(self, symbol: str) -> bool:
        return self._book.has(MARKET, symbol)

    def set(self, symbol: str, price: Decimal) -> None:
        """From now on `symbol` trades at `price`."""
        self._set.setdefault(symbol, []).append((self.now(), price))

    def clear(self) -> None:
        """Forget all prices that were set, as if they had never been."""
        self._set.clear()
        self._lowest.clear()

    def set_lowest(self, symbol: str, price: Decimal) -> None:
        """From now on no order of `symbol` is taken below that price."""
        self._lowest[symbol] = price

    def lowest(self, symbol: str) -> Decimal | None:
        """The lowest price of the day where one was set."""
        return self._lowest.get(symbol)

    def price(self, symbol: str) -> Decimal:
        """The last trade."""
        moves = self._set.get(symbol)
        return moves[-1][1] if moves else self._book.price(MARKET, symbol)

    def daily(self, symbol: str) -> list[Candle]:
        """Daily candles, oldest first, the last one starting today at 00:00 UTC."""
        return self._moved(symbol, self._book.daily(MARKET, symbol), DAY)

    def minutes(self, symbol: str) -> list[Candle]:
        """The minutes that have started, oldest first."""
        return self._moved(symbol, self._book.minutes(MARKET, symbol, 1), timedelta(minutes=1))

    def _moved(self, symbol: str, candles: list[Candle], length: timedelta) -> list[Candle]:
        moves = self._set.get(symbol)
        return [_with(candle, candle.time + length, moves) for candle in candles] if moves else candles


def _with(candle: Candle, end: datetime, moves: Sequence[tuple[datetime, Decimal]]) -> Candle:
    """The candle with the prices set before it and in it."""
    before = [price for at, price in moves if at < candle.time]
    within = [price for at, price in moves if candle.time <= at < end]
    if before:
        prices = [before[-1], *within]
        return replace(candle, open=prices[0], high=max(prices), low=min(prices), close=prices[-1])
    if within:
        return replace(candle, high=max(candle.high, *within), low=min(candle.low, *within), close=within[-1])
    return candle
