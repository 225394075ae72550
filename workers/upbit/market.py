"""Upbit as `workers.ports.MarketData`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from trading.names import one_line
from trading.types import Candle, Instrument, Quote
from workers.calls import Call
from workers.dated import in_force, load
from workers.errors import NoData, UnknownSymbol
from workers.http import VenueHttp
from workers.upbit.client import SERVICE, UpbitClient
from workers.upbit.named_ticks import NamedTicks
from workers.upbit.wire import CandleRow
from workers.wire import in_order

LISTINGS_SECONDS = 24 * 3600.0
# A symbol that is missing in the list may have been listed since: ask again, but not for every mistake.
LISTINGS_RECHECK_SECONDS = 60.0
QUANTITY_STEP = Decimal("0.00000001")
KRW_MARKET = re.compile(r"KRW-[A-Z0-9]{1,20}")


class UpbitMarket:
    """Reads of the KRW markets. `base_url` is `https://api.upbit.com` or what stands in for it."""

    market = "upbit"

    def __init__(self, session: VenueHttp, base_url: str) -> None:
        self._client = UpbitClient(session, base_url)
        self._fees = load("workers.upbit", "fees.json")["rates"]
        self._names: dict[str, str] = {}
        self._names_at = float("-inf")
        self._names_lock = asyncio.Lock()
        self._told: dict[str, Mapping[str, Decimal]] = {}
        self._ticks = NamedTicks(self._client)

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol is, from the list of markets, which is kept for a day. Raises `UnknownSymbol`."""
        _check(symbol)
        terms = in_force(self._fees, datetime.now(UTC).date())
        return Instrument(
            market=self.market,
            symbol=symbol,
            name=await self._name(symbol),
            asset_type="crypto",
            currency="KRW",
            quantity_step=QUANTITY_STEP,
            min_order_value=Decimal(terms["min_order_value"]),
            fee_rate=Decimal(terms["fee_rate"]),
        )

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` days (UTC), oldest first; days without a trade have no candle. Raises `NoData`."""
        _check(symbol)
        rows = await self._client.candles_days(symbol, count)
        if not rows:
            raise NoData(f"upbit candles_days {symbol}: there are no candles; take it out of UPBIT_SYMBOLS")
        return in_order(map(_candle, rows), Call(SERVICE, "candles_days", symbol))

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` candles of `unit` minutes, oldest first; minutes without a trade have no candle."""
        _check(symbol)
        rows = await self._client.candles_minutes(symbol, unit, count)
        return in_order(map(_candle, rows), Call(SERVICE, "candles_minutes", symbol))

    async def quote(self, symbol: str) -> Quote:
        """Last trade, best bid and ask with their sizes, and the tick size. `at` is the time of the book."""
        _check(symbol)
        ticker = await self._client.ticker(symbol)
        self._told[symbol] = ticker.fundamentals
        book = await self._client.orderbook(symbol)
        price = ticker.trade_price
        best = book.orderbook_units[0] if book.orderbook_units else None
        return Quote(
            symbol=symbol,
            price=price,
            # one side of a thin book can be empty
            bid=best.bid_price if best and best.bid_price else price,
            ask=best.ask_price if best and best.ask_price else price,
            tick_size=await self._ticks.read(symbol, price, self._listed()),
            at=datetime.fromtimestamp(book.timestamp / 1000, UTC),
            # no size stands for a price that is not in the book
            bid_size=best.bid_size if best and best.bid_price else None,
            ask_size=best.ask_size if best and best.ask_price else None,
        )

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """What the last ticker told: the extremes of 52 weeks, and what was traded in 24 hours. No request."""
        return self._told.get(symbol, {})

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step at `price`: what Upbit last named for the band `price` lies in, else that of the table in
        force today. Upbit names only the step at the last trade, so other bands go by the table."""
        return self._ticks.at(instrument.symbol, price)

    async def close(self) -> None:
        """Nothing: the session belongs to the caller."""

    def _listed(self) -> list[str]:
        return [name for name in self._names if KRW_MARKET.fullmatch(name)]

    async def _name(self, symbol: str) -> str:
        async with self._names_lock:
            age = time.monotonic() - self._names_at
            if age > LISTINGS_SECONDS or (symbol not in self._names and age > LISTINGS_RECHECK_SECONDS):
                self._names = {row.market: one_line(row.korean_name) for row in await self._client.market_all()}
                self._names_at = time.monotonic()
        try:
            return self._names[symbol]
        except KeyError:
            raise UnknownSymbol(
                f"upbit market_all {symbol}: Upbit does not list {symbol}; correct UPBIT_SYMBOLS"
            ) from None


def _check(symbol: str) -> None:
    if not KRW_MARKET.fullmatch(symbol):
        raise UnknownSymbol(f"upbit {symbol[:32]}: not a KRW market of Upbit; write it as KRW-BTC in UPBIT_SYMBOLS")


def _candle(row: CandleRow) -> Candle:
    return Candle(
        time=row.candle_date_time_utc,
        open=row.opening_price,
        high=row.high_price,
        low=row.low_price,
        close=row.trade_price,
        volume=row.candle_acc_trade_volume,
    )
