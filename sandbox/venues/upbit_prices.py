"""The candles of the Upbit stand-in, with prices and names a test has set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from sandbox.candles import CandleBook
from sandbox.ticks import best_bid_and_ask
from trading.types import Candle

MARKET = "upbit"


class UpbitPrices:
    """The book's upbit candles. Where a price is set, it is the last trade, the close of the current candle of every
    length and the middle of the order book, until it is given back to the recording or the simulation."""

    def __init__(self, book: CandleBook) -> None:
        self._book = book
        self._set: dict[str, Decimal] = {}
        self.names: dict[str, str] = {}
        self.now = book.now

    def symbols(self) -> list[str]:
        """The markets there are, sorted."""
        return self._book.symbols(MARKET)

    def has(self, symbol: str) -> bool:
        return self._book.has(MARKET, symbol)

    def set(self, symbol: str, price: Decimal) -> None:
        """The price from now on, in KRW; on the grid or not."""
        self._set[symbol] = price

    def give_back(self, symbol: str | None = None) -> int:
        """Forget the price set for one market or for all; returns how many there were."""
        forgotten = [symbol] if symbol in self._set else [] if symbol else list(self._set)
        for name in forgotten:
            del self._set[name]
        return len(forgotten)

    def price(self, symbol: str) -> Decimal:
        """The last trade."""
        return self._set.get(symbol) or self._book.price(MARKET, symbol)

    def sides(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Best bid and best ask."""
        return best_bid_and_ask(MARKET, self.price(symbol))

    def daily(self, symbol: str) -> list[Candle]:
        """Daily candles, oldest first, the last one of today."""
        return self._moved(symbol, self._book.daily(MARKET, symbol))

    def minutes(self, symbol: str, unit: int) -> list[Candle]:
        """Candles of `unit` minutes that have started, oldest first."""
        return self._moved(symbol, self._book.minutes(MARKET, symbol, unit))

    def _moved(self, symbol: str, candles: Sequence[Candle]) -> list[Candle]:
        price = self._set.get(symbol)
        if price is None or not candles:
            return list(candles)
        last = candles[-1]
        moved = replace(last, high=max(last.high, price), low=min(last.low, price), close=price)
        return [*candles[:-1], moved]
