"""A second source behind the first: asked when the first one fails or is stale, and believed where they can agree.

Each call falls back by itself. So that candles of one source and a quote of the other never tell of different things
(a split that only one has worked in, another listing under the same ticker), the last price each source told is
remembered, and an answer that is more than a fifth away from the other source's price is not taken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from opentelemetry import trace

from trading.types import Candle, Instrument, Quote
from workers.errors import BadReply, Stale, UnknownSymbol, VenueError
from workers.ports import MarketData

log = logging.getLogger(__name__)

FIRST, SECOND = "first", "second"
# a price of the other source, as a fraction of it
AGREEMENT = Decimal("0.2")
MAX_QUOTE_AGE = timedelta(minutes=20)
# no holidays of the US exchanges are this long
MAX_SESSION_AGE = timedelta(days=7)
# how long a price of the other source says something about an answer: of the first source, when the second one stands
# in for it, and the other way round, when the first one is back
REMEMBERED = timedelta(days=7)
JUST_NOW = timedelta(minutes=30)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Told:
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    """One call: its name, the symbol, how each source is asked, the price in an answer and what makes it stale."""

    name: str
    symbol: str
    ask: Callable[[MarketData], Awaitable[T]]
    price: Callable[[T], Decimal | None]
    stale: Callable[[T], str | None]


class WithSecondSource:
    """`workers.ports.MarketData` of two sources of one market. `answered` counts the answers by source.

    The second one is asked when the first raises a `VenueError` other than `UnknownSymbol`, or is stale: daily
    candles that end more than a week ago, or, while `is_open` says that the market trades, a quote older than
    `max_quote_age`. Where the second one fails, is stale or does not agree, the first one's error stays.
    """

    def __init__(
        self,
        first: MarketData,
        second: MarketData,
        *,
        is_open: Callable[[datetime], bool] = lambda _: True,
        max_quote_age: timedelta = MAX_QUOTE_AGE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.market = first.market
        self.answered: Counter[str] = Counter()
        self._sources = {FIRST: first, SECOND: second}
        self._is_open = is_open
        self._max_quote_age = max_quote_age
        self._clock = clock
        self._told: dict[tuple[str, str], _Told] = {}

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol is. Raises `UnknownSymbol`."""
        return await self._answer(
            _Question("instrument", symbol, lambda source: source.instrument(symbol), lambda _: None, lambda _: None)
        )

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` daily candles, oldest first, all of one source."""
        return await self._answer(
            _Question("candles", symbol, lambda source: source.candles(symbol, count), _last_close, self._old_session)
        )

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` candles of `unit` minutes, oldest first, all of one source; may be empty."""
        return await self._answer(
            _Question(
                "minute_candles",
                symbol,
                lambda source: source.minute_candles(symbol, unit, count),
                _last_close,
                lambda _: None,
            )
        )

    async def quote(self, symbol: str) -> Quote:
        """Last price, best bid and ask, and the tick size at that price."""
        return await self._answer(
            _Question("quote", symbol, lambda source: source.quote(symbol), lambda quote: quote.price, self._old_quote)
        )

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """What the first source tells; the second one tells none."""
        return await self._sources[FIRST].fundamentals(symbol)

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step at `price`."""
        return self._sources[FIRST].tick_size(instrument, price)

    async def close(self) -> None:
        """Close both sources."""
        try:
            await self._sources[FIRST].close()
        finally:
            await self._sources[SECOND].close()

    async def _answer(self, question: _Question[T]) -> T:
        try:
            answer = await self._of(FIRST, question)
        except UnknownSymbol:
            raise
        except VenueError as error:
            log.warning("%s %s: the second source is asked: %s", question.name, question.symbol, error)
            return await self._stand_in(question, error)
        self._agreed(question, answer, SECOND, JUST_NOW)
        return self._given(FIRST, question, answer)

    async def _stand_in(self, question: _Question[T], error: VenueError) -> T:
        """The second source's answer, or the first one's error."""
        try:
            answer = await self._of(SECOND, question)
            self._agreed(question, answer, FIRST, REMEMBERED)
        except VenueError as other:
            log.warning("%s %s: the second source is no help: %s", question.name, question.symbol, other)
            raise error from None
        return self._given(SECOND, question, answer)

    async def _of(self, source: str, question: _Question[T]) -> T:
        answer = await question.ask(self._sources[source])
        reason = question.stale(answer)
        if reason is not None:
            price = question.price(answer)
            if source == FIRST and price is not None:
                # old, but still what this source says the symbol costs
                self._remember(source, question.symbol, price)
            raise Stale(f"{self.market} {question.name} {question.symbol}: {reason}")
        return answer

    def _agreed(self, question: _Question[T], answer: T, other: str, within: timedelta) -> None:
        """Raise `BadReply` if the other source told another price within that time."""
        price, told = question.price(answer), self._told.get((other, question.symbol))
        if price is None or told is None or self._clock() - told.at > within:
            return
        if not price.is_finite() or abs(price - told.price) > told.price * AGREEMENT:
            raise BadReply(
                f"{self.market} {question.name} {question.symbol}: {price} of one source and {told.price} of the other "
                "are too far apart; was it split, or is it another listing?"
            )

    def _given(self, source: str, question: _Question[T], answer: T) -> T:
        price = question.price(answer)
        if price is not None:
            self._remember(source, question.symbol, price)
        self.answered[source] += 1
        trace.get_current_span().set_attribute("data.source", source)
        if source == SECOND:
            log.info(
                "%s %s: answered by the second source (%d times, %d by the first)",
                question.name,
                question.symbol,
                self.answered[SECOND],
                self.answered[FIRST],
            )
        return answer

    def _remember(self, source: str, symbol: str, price: Decimal) -> None:
        if price.is_finite() and price > 0:
            self._told[source, symbol] = _Told(price, self._clock())

    def _old_session(self, candles: list[Candle]) -> str | None:
        newest = candles[-1].time if candles else None
        if newest is not None and self._clock() - newest <= MAX_SESSION_AGE:
            return None
        return f"the newest session is that of {newest:%Y-%m-%d}" if newest else "there are no sessions"

    def _old_quote(self, quote: Quote) -> str | None:
        now = self._clock()
        age = now - quote.at
        if age <= self._max_quote_age or not self._is_open(now):
            return None
        return f"the quote is {age.total_seconds():.0f} s old"


def _last_close(candles: list[Candle]) -> Decimal | None:
    return candles[-1].close if candles else None
