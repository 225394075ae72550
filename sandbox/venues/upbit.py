"""Upbit's quotation API (docs.upbit.com, REST API v1): fields, errors and headers as documented."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from sandbox.candles import CandleBook, number
from sandbox.faults import SPOIL, spoiled
from sandbox.ticks import best_bid_and_ask, tick_size
from sandbox.venues.upbit_exchange import UpbitExchange
from sandbox.venues.upbit_prices import UpbitPrices
from trading.types import Candle

UNITS = (1, 3, 5, 10, 15, 30, 60, 240)
MOST_CANDLES = 200
# requests per second and group, IP-wide (docs.upbit.com, rate-limits)
PER_SECOND = 10

KST = timedelta(hours=9)
NAMES = {
    "KRW-BTC": ("비트코인", "Bitcoin"),
    "KRW-ETH": ("이더리움", "Ethereum"),
    "KRW-XRP": ("엑스알피(리플)", "XRP"),
    "KRW-SOL": ("솔라나", "Solana"),
    "KRW-DOGE": ("도지코인", "Dogecoin"),
}
_CAUTIONS = (
    "PRICE_FLUCTUATIONS",
    "TRADING_VOLUME_SOARING",
    "DEPOSIT_AMOUNT_SOARING",
    "GLOBAL_PRICE_DIFFERENCES",
    "CONCENTRATION_OF_SMALL_ACCOUNTS",
)
_PRICES = ("opening_price", "high_price", "low_price", "trade_price")
_BOOK_DEPTH = 15


class _Refused(Exception):
    """A request Upbit refuses, with the documented status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_MISSING = "Missing request parameter error. Check the required parameters!"
_MISMATCH = "Type mismatch error. Check the parameters type!"
_INVALID = "Invalid parameter. Check the given value!"


class Upbit:
    """Answers `/v1/...`: quotation from the book's upbit candles, signed requests by `exchange`."""

    def __init__(self, book: CandleBook) -> None:
        self._prices = UpbitPrices(book)
        self.exchange = UpbitExchange(self._prices)
        self._recent: dict[str, deque[float]] = {}

    def routes(self, prefix: str) -> list[web.RouteDef]:
        answers = {
            "/v1/market/all": self._markets,
            "/v1/candles/days": self._days,
            "/v1/candles/minutes/{unit}": self._minutes,
            "/v1/ticker": self._tickers,
            "/v1/orderbook": self._orderbooks,
            "/v1/orderbook/instruments": self._instruments,
        }
        public = [web.get(prefix + path, self._answering(answer)) for path, answer in answers.items()]
        return public + self.exchange.routes(prefix)

    @staticmethod
    def subjects(request: web.Request) -> list[str]:
        """The markets a request is about."""
        named = request.query.get("market") or request.query.get("markets") or ""
        return [part.strip() for part in named.split(",") if part.strip()]

    def failed(self, status: int) -> web.Response:
        return web.json_response(
            {"error": {"name": "internal_server_error", "message": "일시적인 서버 오류가 발생했습니다."}}, status=status
        )

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        if status == 418:
            message = f"Too many API requests. Blocked for {retry_after} seconds."
            return web.json_response({"error": {"name": "too_many_requests", "message": message}}, status=418)
        return web.json_response(
            {"error": {"name": "too_many_requests", "message": "Too many API requests."}},
            status=status or 429,
            headers={"Remaining-Req": "group=default; min=1800; sec=0"},
        )

    def _answering(self, answer: Any) -> Any:
        async def handler(request: web.Request) -> web.Response:
            group = request.path.split("/v1/")[1].split("/")[0].replace("candles", "candle")
            headers = {"Remaining-Req": f"group={group}; min=600; sec={self._left(group)}"}
            try:
                return web.json_response(answer(request), headers=headers)
            except _Refused as refusal:
                body = {"error": {"name": refusal.status, "message": str(refusal)}}
                return web.json_response(body, status=refusal.status, headers=headers)

        return handler

    def _left(self, group: str) -> int:
        now = time.monotonic()
        recent = self._recent.setdefault(group, deque(maxlen=PER_SECOND))
        while recent and recent[0] <= now - 1:
            recent.popleft()
        recent.append(now)
        return PER_SECOND - len(recent)

    def _markets(self, request: web.Request) -> list[dict[str, Any]]:
        detailed = (request.query.get("is_details") or request.query.get("isDetails") or "false").lower() == "true"
        rows: list[dict[str, Any]] = []
        for symbol in self._prices.symbols():
            code = symbol.partition("-")[2]
            korean, english = NAMES.get(symbol, (code, code))
            korean = self._prices.names.get(symbol, korean)
            row: dict[str, Any] = {"market": symbol, "korean_name": korean, "english_name": english}
            if detailed:
                row["market_event"] = {"warning": False, "caution": dict.fromkeys(_CAUTIONS, False)}
            rows.append(row)
        return rows

    def _days(self, request: web.Request) -> list[dict[str, Any]]:
        symbol = self._market(request)
        candles = self._prices.daily(symbol)
        rows = []
        for index in _window(candles, request):
            candle = candles[index]
            before = candles[index - 1].close if index else candle.open
            rows.append(self._row(symbol, candle, timedelta(days=1)) | _change(candle.close, before))
        return spoiled(rows, request.get(SPOIL), _PRICES, None)

    def _minutes(self, request: web.Request) -> list[dict[str, Any]]:
        unit = _whole(request.match_info["unit"])
        if unit not in UNITS:
            raise _Refused(400, _INVALID)
        symbol = self._market(request)
        candles = self._prices.minutes(symbol, unit)
        rows = [
            self._row(symbol, candles[index], timedelta(minutes=unit)) | {"unit": unit}
            for index in _window(candles, request)
        ]
        return spoiled(rows, request.get(SPOIL), _PRICES, None)

    def _row(self, symbol: str, candle: Candle, length: timedelta) -> dict[str, Any]:
        last_trade = min(candle.time + length - timedelta(milliseconds=1), self._prices.now())
        return {
            "market": symbol,
            "candle_date_time_utc": f"{candle.time:%Y-%m-%dT%H:%M:%S}",
            "candle_date_time_kst": f"{candle.time + KST:%Y-%m-%dT%H:%M:%S}",
            "opening_price": number(candle.open),
            "high_price": number(candle.high),
            "low_price": number(candle.low),
            "trade_price": number(candle.close),
            "timestamp": int(last_trade.timestamp() * 1000),
            "candle_acc_trade_price": number(_turnover(candle)),
            "candle_acc_trade_volume": number(candle.volume),
        }

    def _tickers(self, request: web.Request) -> list[dict[str, Any]]:
        return [self._ticker(symbol) for symbol in self._listed(request)]

    def _ticker(self, symbol: str) -> dict[str, Any]:
        now = self._prices.now()
        days = self._prices.daily(symbol)
        today, before = days[-1], days[-2].close
        year = days[-364:]
        highest, lowest = max(year, key=lambda day: day.high), min(year, key=lambda day: day.low)
        change = _change(today.close, before)
        amount, rate = change["change_price"], change["change_rate"]
        return {
            "market": symbol,
            "trade_date": f"{now:%Y%m%d}",
            "trade_time": f"{now:%H%M%S}",
            "trade_date_kst": f"{now + KST:%Y%m%d}",
            "trade_time_kst": f"{now + KST:%H%M%S}",
            "trade_timestamp": int(now.timestamp() * 1000),
            "opening_price": number(today.open),
            "high_price": number(today.high),
            "low_price": number(today.low),
            "trade_price": number(today.close),
            "prev_closing_price": number(before),
            "change": "RISE" if amount > 0 else "FALL" if amount < 0 else "EVEN",
            "change_price": abs(amount),
            "change_rate": abs(rate),
            "signed_change_price": amount,
            "signed_change_rate": rate,
            "trade_volume": number((today.volume / 10_000).quantize(Decimal("0.00000001"))),
            "acc_trade_price": number(_turnover(today)),
            "acc_trade_price_24h": number(_turnover(today)),
            "acc_trade_volume": number(today.volume),
            "acc_trade_volume_24h": number(today.volume),
            "highest_52_week_price": number(highest.high),
            "highest_52_week_date": f"{highest.time:%Y-%m-%d}",
            "lowest_52_week_price": number(lowest.low),
            "lowest_52_week_date": f"{lowest.time:%Y-%m-%d}",
            "timestamp": int(now.timestamp() * 1000),
        }

    def _orderbooks(self, request: web.Request) -> list[dict[str, Any]]:
        return [self._orderbook(symbol) for symbol in self._listed(request)]

    def _orderbook(self, symbol: str) -> dict[str, Any]:
        bid, ask = self._prices.sides(symbol)
        size = (self._prices.daily(symbol)[-1].volume / 1_000).quantize(Decimal("0.00000001"))
        units: list[dict[str, Any]] = []
        for _ in range(_BOOK_DEPTH):
            units.append(
                {
                    "ask_price": number(ask),
                    "bid_price": number(bid),
                    "ask_size": number(size),
                    "bid_size": number(size),
                }
            )
            bid, ask = best_bid_and_ask("upbit", bid)[0], best_bid_and_ask("upbit", ask)[1]
        return {
            "market": symbol,
            "timestamp": int(self._prices.now().timestamp() * 1000),
            "total_ask_size": number(size * _BOOK_DEPTH),
            "total_bid_size": number(size * _BOOK_DEPTH),
            "orderbook_units": units,
            "level": 0,
        }

    def _instruments(self, request: web.Request) -> list[dict[str, Any]]:
        rows = []
        for symbol in self._listed(request):
            tick = tick_size("upbit", self._prices.price(symbol))
            levels = [tick * 10**power for power in range(1, 5)]
            rows.append(
                {
                    "market": symbol,
                    "quote_currency": symbol.partition("-")[0],
                    "tick_size": f"{tick:f}",
                    "supported_levels": ["0", *(f"{level:f}" for level in levels)],
                }
            )
        return rows

    def _market(self, request: web.Request) -> str:
        symbol = request.query.get("market", "")
        if not symbol:
            raise _Refused(400, _MISSING)
        return self._known(symbol)

    def _listed(self, request: web.Request) -> list[str]:
        named = request.query.get("markets", "")
        if not named:
            raise _Refused(400, _MISSING)
        return [self._known(symbol.strip()) for symbol in named.split(",")]

    def _known(self, symbol: str) -> str:
        if not self._prices.has(symbol):
            raise _Refused(404, "Code not found")
        return symbol


def _window(candles: Sequence[Candle], request: web.Request) -> list[int]:
    """Which candles `to` (exclusive, UTC unless it has an offset) and `count` ask for, newest first."""
    count = _whole(request.query.get("count", "1"))
    if not 1 <= count <= MOST_CANDLES:
        raise _Refused(400, _INVALID)
    text = request.query.get("to", "")
    indexes = range(len(candles))
    if text:
        before = _instant(text)
        indexes = range(sum(1 for candle in candles if candle.time < before))
    return list(reversed(indexes[-count:]))


def _instant(text: str) -> datetime:
    # a client that does not encode the "+" of an offset sends a space
    head, _, offset = text.rpartition(" ")
    if len(head) > len("2025-01-01") and ":" in offset and len(offset) <= 5:
        text = f"{head}+{offset}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused(400, _INVALID) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _Refused(400, _MISMATCH) from None


def _change(close: Decimal, before: Decimal) -> dict[str, Any]:
    change = close - before
    return {
        "prev_closing_price": number(before),
        "change_price": number(change),
        "change_rate": number((change / before).quantize(Decimal("0.0000000001"))),
    }


def _turnover(candle: Candle) -> Decimal:
    # the recordings have no turnover; the typical price makes a fair one
    return ((candle.high + candle.low + candle.close) / 3 * candle.volume).quantize(Decimal("0.00001"))
