"""What every market folder offers: market data and a broker. The pipeline knows only these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from trading.types import Account, Candle, Holdings, Instrument, OpenOrder, OrderIntent, Placement, Quote


class MarketData(Protocol):
    """Reads of one market. Every method raises a `VenueError`; none returns an empty or partial answer
    as if it were a good one, except `minute_candles`, where a venue may have none.

    Candles have increasing, unique times in aware UTC. Their values are as the venue sent them: NaN, zero
    and negative numbers are for `trading.candles.check` to refuse."""

    market: str

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol is. Raises `UnknownSymbol`."""

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` daily candles, oldest first, the unfinished day last; fewer where the venue
        has fewer, `NoData` where it has none. A day of a stock market is dated 00:00 UTC of its session."""

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` candles of `unit` minutes (1, 5 or 60), oldest first; may be empty."""

    async def quote(self, symbol: str) -> Quote:
        """Last price, best bid and ask, and the tick size at that price. What the values are worth is for
        `trading.ticks.check_quote` to say."""

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """What is known beside the prices, by the names of `trading.fundamentals`: what the last `quote` of the symbol
        brought with it, and at most one more request per symbol and day. What is missing is not known."""

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step of that instrument at `price`, by the table in force today; no request."""

    async def close(self) -> None:
        """Free what the client opened itself."""


@dataclass(frozen=True, slots=True)
class Absence:
    """What it takes to believe that a venue has no order of an id: `looks` that found none, the last one at least
    `seconds` after it was sent. A new order can be missing in reads for a while."""

    looks: int
    seconds: float


class Broker(Protocol):
    """Orders of one market. An error of `place` or `cancel` proves that nothing was done only where it is one of
    `Throttled`, `BadCredentials`, `UnknownSymbol` and `Unreachable`."""

    market: str
    absence: Absence

    async def account(self, instrument: Instrument) -> Account:
        """Free cash, and the units of that instrument which no open order holds."""

    async def holdings(self) -> Holdings | None:
        """Everything the market's account holds, or None before its first use."""

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once and return the venue's word; of an immediate-or-cancel order its end, where the venue
        tells it within seconds. The same `client_order_id` again sends nothing and returns the first placement."""

    async def find(self, client_order_id: str, venue_order_id: str | None = None) -> Placement | None:
        """The venue's word on an order sent earlier, by the venue's own id where that is known.

        None if this one look found no such order; what it takes to believe that is `absence`. Takes a few requests
        and no waiting. Raises `Unproven` (`Ambiguous` where two orders could be it) and what a request raises:
        neither says anything about the order.
        """

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        """Take what still rests of an order out of the book and return the venue's word on it afterwards: `cancelled`
        with the fills so far, `filled` where it was faster, `accepted` or `partly_filled` where the venue has not
        done it yet. An order that has ended already is no error. Raises `Unproven` where nothing tells whether it
        still rests; asking again is harmless."""

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """Every order that rests in the account, of one symbol or all, oldest first, also those that nobody here
        sent."""
