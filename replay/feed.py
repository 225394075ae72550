"""The past as a market: `workers.ports.MarketData` that shows what was known at the time of its clock, and no more.

A candle is seen from the moment it is closed. The quote is the price that the day's path has come to: at the time of an
analysis that is the day's open, the next price known after the candles it is made from. Bid and ask are the price, and
as much is on offer as anybody wants.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from replay.clock import Clock
from replay.series import Series
from replay.terms import instrument_of, session, tick_at
from trading.types import Candle, Instrument, Quote
from workers.errors import UnknownSymbol

HOUR_MINUTES = 60


class Feed:
    """The symbols that have candles; `price` is the last trade of each, set by who walks the day."""

    def __init__(self, market: str, series: Mapping[str, Series], clock: Clock) -> None:
        self.market = market
        self.price: dict[str, Decimal] = {}
        self._series = series
        self._clock = clock
        hour = timedelta(minutes=HOUR_MINUTES)
        self._closed = {
            symbol: [session(market, candle.time.date())[1] for candle in of.daily] for symbol, of in series.items()
        }
        self._hours_closed = {symbol: [candle.time + hour for candle in of.hourly] for symbol, of in series.items()}

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol was at the clock's date."""
        self._of(symbol)
        return instrument_of(self.market, symbol, self._clock.now().date())

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` days that are closed: the unfinished one is not among them."""
        daily = self._of(symbol).daily
        known = bisect_right(self._closed[symbol], self._clock.now())
        return list(daily[max(0, known - count) : known])

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` hours that are closed; nothing for another unit."""
        hourly = self._of(symbol).hourly if unit == HOUR_MINUTES else ()
        known = bisect_right(self._hours_closed[symbol], self._clock.now()) if hourly else 0
        return list(hourly[max(0, known - count) : known])

    async def quote(self, symbol: str) -> Quote:
        """The price that the day has come to."""
        self._of(symbol)
        price, now = self.price[symbol], self._clock.now()
        return Quote(symbol, price, price, price, tick_at(self.market, price, now.date()), now)

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """Nothing: what a venue tells today was not known then."""
        return {}

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step by the table of the clock's date."""
        return tick_at(self.market, price, self._clock.now().date())

    async def close(self) -> None:
        """Nothing is open."""

    def _of(self, symbol: str) -> Series:
        try:
            return self._series[symbol]
        except KeyError:
            raise UnknownSymbol(f"replay {self.market} {symbol}: there are no candles of it") from None
