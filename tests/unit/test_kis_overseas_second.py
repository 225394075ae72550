"""Two sources of one market: which one answers, and when neither may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from trading.types import Candle, Instrument, Quote
from workers.errors import BadReply, Stale, TimedOut, UnknownSymbol, VenueError
from workers.ports import MarketData
from workers.yfinance.second import FIRST, SECOND, WithSecondSource

NOW = datetime(2026, 11, 18, 16, 0, tzinfo=UTC)


class Source:
    """A source that says what it is told to."""

    market = "yfinance"

    def __init__(self, price: str, error: VenueError | None = None, age: timedelta = timedelta(0)) -> None:
        self.price, self.error, self.age = Decimal(price), error, age
        self.closed = False

    async def instrument(self, symbol: str) -> Instrument:
        self._fail()
        return Instrument("yfinance", symbol, symbol, "equity_us", "USD", Decimal(1), Decimal(1), Decimal("0.0025"))

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        self._fail()
        day = (NOW - self.age).replace(hour=0)
        return [Candle(day, self.price, self.price, self.price, self.price, Decimal(1))]

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        self._fail()
        return []

    async def quote(self, symbol: str) -> Quote:
        self._fail()
        return Quote(symbol, self.price, self.price, self.price, Decimal("0.01"), NOW - self.age)

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        return Decimal("0.01")

    async def close(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def both(first: Source, second: Source, **options: object) -> WithSecondSource:
    return WithSecondSource(first, second, clock=lambda: NOW, **options)  # type: ignore[arg-type]


async def test_the_first_answers_while_it_can_and_both_are_closed() -> None:
    first, second = Source("100"), Source("101")
    data = both(first, second)
    port: MarketData = data
    assert (await port.quote("AAPL")).price == 100
    assert (await port.candles("AAPL", 5))[-1].close == 100
    assert data.answered == {FIRST: 2}
    await data.close()
    assert first.closed
    assert second.closed


async def test_the_second_answers_where_the_first_fails() -> None:
    first = Source("100", TimedOut("yahoo chart AAPL: no answer"))
    data = both(first, Source("101"))
    assert (await data.quote("AAPL")).price == 101
    assert (await data.candles("AAPL", 5))[-1].close == 101
    assert await data.minute_candles("AAPL", 5, 5) == []
    assert (await data.instrument("AAPL")).symbol == "AAPL"
    assert data.answered == {SECOND: 4}


async def test_an_unknown_symbol_is_unknown() -> None:
    with pytest.raises(UnknownSymbol):
        await both(Source("100", UnknownSymbol("no")), Source("100")).quote("AAPL")


async def test_what_is_stale_is_an_error_of_the_first_and_of_the_second() -> None:
    old = timedelta(minutes=40)
    assert (await both(Source("100", age=old), Source("101")).quote("AAPL")).price == 101
    with pytest.raises(Stale):
        await both(Source("100", age=old), Source("101", age=old)).quote("AAPL")
    with pytest.raises(Stale):
        await both(Source("100", age=timedelta(days=9)), Source("101", age=timedelta(days=9))).candles("AAPL", 5)
    # outside the session a quote is as old as the session
    closed = both(Source("100", age=timedelta(hours=15)), Source("101"), is_open=lambda _: False)
    assert (await closed.quote("AAPL")).price == 100


async def test_the_error_stays_where_the_second_fails_too() -> None:
    with pytest.raises(TimedOut, match="first"):
        await both(Source("1", TimedOut("first")), Source("1", BadReply("second"))).quote("AAPL")


async def test_two_prices_a_fifth_apart_are_not_the_same_stock() -> None:
    first, second = Source("100"), Source("121")
    data = both(first, second)
    assert (await data.candles("AAPL", 5))[-1].close == 100
    first.error = TimedOut("first")
    with pytest.raises(TimedOut, match="first"):
        await data.quote("AAPL")
    second.price = Decimal(119)
    assert (await data.quote("AAPL")).price == 119
    assert data.answered == {FIRST: 1, SECOND: 1}


async def test_candles_of_the_second_are_not_mixed_with_a_quote_of_the_first_that_differs() -> None:
    first, second = Source("1000", TimedOut("first")), Source("100")
    data = both(first, second)
    assert (await data.candles("AAPL", 5))[-1].close == 100
    first.error = None
    with pytest.raises(BadReply, match="too far apart"):
        await data.quote("AAPL")
    first.price = Decimal(104)
    assert (await data.quote("AAPL")).price == 104


async def test_a_stale_price_of_another_size_keeps_the_second_out() -> None:
    with pytest.raises(Stale):
        await both(Source("1000", age=timedelta(hours=1)), Source("100")).quote("AAPL")
