"""What every market folder offers: market data and a broker. The pipeline knows only these."""

from __future__ import annotations

from typing import Protocol

from trading.types import Account, Candle, Holdings, Instrument, OrderIntent, Placement, Quote


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

    async def close(self) -> None:
        """Free what the client opened itself."""


class Broker(Protocol):
    """Orders of one market."""

    async def account(self, instrument: Instrument) -> Account:
        """Free cash and the position in that instrument."""

    async def holdings(self) -> Holdings | None:
        """Everything the market's account holds, or None before its first use."""

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once. The same `client_order_id` again returns the first placement."""

    async def find(self, client_order_id: str) -> Placement | None:
        """The venue's word on an order placed earlier, or None if the venue has none of that id."""
