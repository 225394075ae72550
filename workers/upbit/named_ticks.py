"""The tick sizes that Upbit itself names, which go before the table: some pairs have a step of their own.

They are read for many markets at once: a request for each symbol of a sweep would take as much of the order book's
rate limit as the books do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal

from workers.errors import VenueError
from workers.upbit.client import UpbitClient
from workers.upbit.ticks import band_start, krw_tick

log = logging.getLogger(__name__)

NAMED_SECONDS = 3600.0
# A price that enters another band is asked for alone, unless all were not asked for so long.
TOGETHER_SECONDS = 120.0


class NamedTicks:
    """What Upbit last named, by symbol and band: it names only the step at the last trade."""

    def __init__(self, client: UpbitClient) -> None:
        self._client = client
        self._named: dict[tuple[str, Decimal], tuple[float, Decimal | None]] = {}
        self._together_at = float("-inf")
        self._lock = asyncio.Lock()

    def at(self, symbol: str, price: Decimal) -> Decimal:
        """The price step at `price`, without a request: what was named for its band, else that of the table."""
        today = datetime.now(UTC).date()
        _, named = self._named.get((symbol, band_start(price, today)), (0.0, None))
        return named or krw_tick(price, today)

    async def read(self, symbol: str, price: Decimal, listed: Collection[str]) -> Decimal:
        """The price step at `price`, the last trade's, named within the last hour. Where it must be asked for, those
        of all `listed` markets are, once. Raises `VenueError`."""
        today = datetime.now(UTC).date()
        async with self._lock:
            if self._is_due(symbol, price, today) and time.monotonic() - self._together_at > TOGETHER_SECONDS:
                self._together_at = time.monotonic()
                await self._read_together(listed, today)
        if self._is_due(symbol, price, today):
            rows = await self._client.orderbook_instruments([symbol])
            self._name(symbol, price, {row.market: row.tick_size for row in rows}, today)
        return self.at(symbol, price)

    def _is_due(self, symbol: str, price: Decimal, today: date) -> bool:
        named_at, _ = self._named.get((symbol, band_start(price, today)), (float("-inf"), None))
        return time.monotonic() - named_at > NAMED_SECONDS

    async def _read_together(self, symbols: Collection[str], today: date) -> None:
        if len(symbols) < 2:
            return
        try:
            rows = await self._client.orderbook_instruments(symbols)
            tickers = await self._client.tickers(symbols)
        except VenueError as error:
            # one market that is spoilt or gone refuses all of them
            log.warning("tick sizes are asked for one by one, not together: %s", error)
            return
        named = {row.market: row.tick_size for row in rows}
        for ticker in tickers:
            self._name(ticker.market, ticker.trade_price, named, today)

    def _name(self, symbol: str, price: Decimal, named: dict[str, Decimal | None], today: date) -> None:
        self._named[symbol, band_start(price, today)] = time.monotonic(), named.get(symbol)
