"""The quotation endpoints of Upbit, one method each; every page is one HTTP request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from workers.calls import Call, start_counting
from workers.errors import BadReply
from workers.http import VenueHttp, get_json
from workers.upbit.errors import judge
from workers.upbit.wire import CandleRow, Listing, Orderbook, OrderbookInstrument, Ticker
from workers.wire import M, each_once, parse_list

SERVICE = "upbit"
OPERATIONS = ("candles_days", "candles_minutes", "ticker", "orderbook", "orderbook_instruments", "market_all")
PAGE_ROWS = 200


class UpbitClient:
    """`base_url` without `/v1`. Raises the `VenueError`s of `workers.http` and of `workers.upbit.errors`."""

    def __init__(self, session: VenueHttp, base_url: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        start_counting(SERVICE, OPERATIONS)

    async def candles_days(self, symbol: str, count: int) -> list[CandleRow]:
        """The last `count` days (00:00 to 24:00 UTC), newest first."""
        return await self._candles("candles_days", "candles/days", symbol, count)

    async def candles_minutes(self, symbol: str, unit: int, count: int) -> list[CandleRow]:
        """The last `count` candles of `unit` minutes, newest first; an interval without trades has none."""
        return await self._candles("candles_minutes", f"candles/minutes/{unit}", symbol, count)

    async def ticker(self, symbol: str) -> Ticker:
        """The last trade."""
        return await self._one(Ticker, "ticker", "ticker", symbol)

    async def tickers(self, symbols: Collection[str]) -> list[Ticker]:
        """The last trades of any number of markets in one request."""
        call = Call(SERVICE, "ticker")
        document = await self._get(call, "ticker", {"markets": ",".join(sorted(symbols))})
        rows = [row for row in parse_list(Ticker, document, call) if row.market in symbols]
        for row in rows:
            if not (row.trade_price.is_finite() and row.trade_price > 0):
                raise BadReply(f"{call}: the price of {row.market} is {row.trade_price}; it is tried again later")
        return each_once(rows, lambda row: row.market, call)

    async def orderbook(self, symbol: str) -> Orderbook:
        """The book, best level first."""
        return await self._one(Orderbook, "orderbook", "orderbook", symbol)

    async def orderbook_instruments(self, symbols: Collection[str]) -> list[OrderbookInstrument]:
        """The tick sizes of any number of markets in one request, without those for which the venue names none."""
        asked = sorted(symbols)
        call = Call(SERVICE, "orderbook_instruments", asked[0] if len(asked) == 1 else "")
        document = await self._get(call, "orderbook/instruments", {"markets": ",".join(asked)})
        rows = [row for row in parse_list(OrderbookInstrument, document, call) if row.market in symbols]
        return each_once(rows, lambda row: row.market, call)

    async def market_all(self) -> list[Listing]:
        """Every market that Upbit lists."""
        call = Call(SERVICE, "market_all")
        rows = parse_list(Listing, await self._get(call, "market/all", {"is_details": "false"}), call)
        return each_once(rows, lambda row: row.market, call)

    async def _candles(self, operation: str, path: str, symbol: str, count: int) -> list[CandleRow]:
        call = Call(SERVICE, operation, symbol)
        rows: list[CandleRow] = []
        params = {"market": symbol}
        while len(rows) < count:
            asked = min(PAGE_ROWS, count - len(rows))
            document = await self._get(call, path, {**params, "count": str(asked)})
            page = parse_list(CandleRow, document, call)
            _only(symbol, page, call)
            older = [row for row in page if not rows or row.candle_date_time_utc < rows[-1].candle_date_time_utc]
            rows += older
            # a page of only known rows would be asked for for ever
            if len(page) < asked or not older:
                break
            # `to` is exclusive, so the next page ends right before the oldest row of this one
            params["to"] = f"{rows[-1].candle_date_time_utc:%Y-%m-%dT%H:%M:%SZ}"
        return rows

    async def _one(self, model: type[M], operation: str, path: str, symbol: str) -> M:
        call = Call(SERVICE, operation, symbol)
        rows = parse_list(model, await self._get(call, path, {"markets": symbol}), call)
        _only(symbol, rows, call)
        if not rows:
            raise BadReply(f"{call}: answered no row; it is tried again at the next tick")
        each_once(rows, lambda _: symbol, call)
        return rows[0]

    async def _get(self, call: Call, path: str, params: Mapping[str, str]) -> Any:
        return await get_json(self._session, call, f"{self._base_url}/v1/{path}", judge=judge, params=params)


def _only(symbol: str, rows: list[M], call: Call) -> None:
    others = {market for row in rows if (market := getattr(row, "market", symbol)) != symbol}
    if others:
        raise BadReply(f"{call}: answered rows of {min(others)}; it is tried again at the next tick")
