"""KIS Open API, quotations of US stocks (koreainvestment/open-trading-api): fields, TR ids and pages as documented.

`POST /control/kis_overseas/price` sets the last price of a symbol, which resting orders then meet; without it the
price is the close of the book's last US candle. An exchange that does not list a symbol answers blank fields.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from aiohttp import web

from sandbox.candles import CandleBook
from sandbox.ticks import best_bid_and_ask
from sandbox.venues.kis import Fields, Refused, refusal, text
from trading.types import Candle

if TYPE_CHECKING:
    from sandbox.venues.kis import Kis

QUOTATIONS = "/uapi/overseas-price/v1/quotations/"
CONTROL = "/control/kis_overseas"
NEW_YORK = ZoneInfo("America/New_York")
EXCHANGES = {"NAS": "NASD", "NYS": "NYSE", "AMS": "AMEX"}
# all that is not here is listed at NAS
LISTED_AT = {"SPY": "AMS", "BRK/B": "NYS"}
MOST_DAYS = 100
MOST_MINUTES = 120

Answer = Callable[[str, str, Fields], dict[str, Any]]


class KisOverseas:
    """Answers quotations from the book's US candles; tokens and keys are those of `kis`."""

    def __init__(self, kis: Kis, book: CandleBook) -> None:
        self.kis = kis
        self.book = book
        self.prices: dict[str, Decimal] = {}
        self.on_price: list[Callable[[str], None]] = []

    def routes(self, prefix: str, control: str) -> list[web.RouteDef]:
        at = prefix + QUOTATIONS
        return [
            web.get(f"{at}price", self._answering("HHDFS00000300", self._price)),
            web.get(f"{at}inquire-asking-price", self._answering("HHDFS76200100", self._orderbook)),
            web.get(f"{at}dailyprice", self._answering("HHDFS76240000", self._days)),
            web.get(f"{at}inquire-time-itemchartprice", self._answering("HHDFS76950200", self._minutes)),
            web.post(f"{control}/price", self._set_price),
        ]

    def lists(self, exchange: str, symbol: str) -> bool:
        """Whether an exchange (its code in quotations) lists the symbol."""
        return self._known(symbol) and LISTED_AT.get(symbol, "NAS") == exchange

    def price(self, symbol: str) -> Decimal:
        """The last price, USD."""
        return self.prices.get(symbol) or self.book.price("yfinance", _in_book(symbol))

    def bid_and_ask(self, symbol: str) -> tuple[Decimal, Decimal]:
        """The book: one tick on either side of the last price."""
        return best_bid_and_ask("yfinance", self.price(symbol))

    def _known(self, symbol: str) -> bool:
        return symbol in self.prices or self.book.has("yfinance", _in_book(symbol))

    async def _set_price(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            symbol, price = str(body["symbol"]), Decimal(str(body["price"]))
        except (ValueError, TypeError, KeyError, InvalidOperation):
            return web.json_response({"error": "the body is not JSON with symbol and price"}, status=400)
        if not price.is_finite() or price <= 0:
            return web.json_response({"error": "price: a number above 0"}, status=400)
        self.prices[symbol] = price
        for met in self.on_price:
            met(symbol)
        return web.json_response({"symbol": symbol, "price": text(price)}, status=201)

    def _answering(self, tr_id: str, answer: Answer) -> Any:
        async def handler(request: web.Request) -> web.Response:
            try:
                self.kis.check_headers(request, tr_id)
                fields = Fields(request.query)
                exchange, symbol = fields["EXCD"], fields["SYMB"]
                if exchange not in EXCHANGES:
                    raise Refused("OPSQ2001", "ERROR : INPUT INVALID_CHECK_EXCD", rt_cd="2")
                body = answer(exchange, symbol, fields)
            except Refused as refused:
                return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
            body |= {"rt_cd": "0", "msg_cd": "MCA00000", "msg1": "정상처리 되었습니다."}
            return web.json_response(body, headers={"tr_id": tr_id, "tr_cont": "", "gt_uid": secrets.token_hex(16)})

        return handler

    def _price(self, exchange: str, symbol: str, _: Fields) -> dict[str, Any]:
        names = ("base", "pvol", "last", "sign", "diff", "rate", "tvol", "tamt", "ordy")
        output = {"rsym": f"D{exchange}{symbol}", "zdiv": "", **dict.fromkeys(names, "")}
        if self.lists(exchange, symbol):
            price = self.price(symbol)
            output |= {"zdiv": "4", "base": f"{price:.4f}", "last": f"{price:.4f}", "sign": "3", "diff": "0.0000"}
            output |= {"rate": " 0.00", "pvol": "0", "tvol": "0", "tamt": "0", "ordy": "매도불가"}
        return {"output": output}

    def _orderbook(self, exchange: str, symbol: str, _: Fields) -> dict[str, Any]:
        if not self.lists(exchange, symbol):
            return {"output1": {"rsym": f"D{exchange}{symbol}", "dymd": "", "dhms": ""}, "output2": {}, "output3": {}}
        bid, ask = self.bid_and_ask(symbol)
        local = self.book.now().astimezone(NEW_YORK)
        output1 = {
            "rsym": f"D{exchange}{symbol}", "zdiv": "4", "curr": "USD", "last": f"{self.price(symbol):.4f}",
            "dymd": f"{local:%Y%m%d}", "dhms": f"{local:%H%M%S}", "code": symbol,
        }  # fmt: skip
        output2 = {
            "pbid1": f"{bid:.4f}", "pask1": f"{ask:.4f}", "vbid1": "100", "vask1": "200", "dbid1": "0", "dask1": "0",
        }  # fmt: skip
        return {"output1": output1, "output2": output2, "output3": {}}

    def _days(self, exchange: str, symbol: str, fields: Fields) -> dict[str, Any]:
        if fields["GUBN"] != "0":
            raise Refused("OPSQ2001", "ERROR : INPUT INVALID_CHECK_GUBN (sandbox: 0 only)", rt_cd="2")
        listed = self.lists(exchange, symbol) and self.book.has("yfinance", _in_book(symbol))
        days = self.book.daily("yfinance", _in_book(symbol)) if listed else []
        until = fields.get("BYMD", "99999999")
        wanted = [day for day in days if f"{day.time:%Y%m%d}" <= until][-MOST_DAYS:]
        rows = [_daily_row(day) for day in reversed(wanted)]
        return {"output1": {"rsym": f"D{exchange}{symbol}", "zdiv": "4", "nrec": str(len(rows))}, "output2": rows}

    def _minutes(self, exchange: str, symbol: str, fields: Fields) -> dict[str, Any]:
        unit, most = int(fields["NMIN"]), min(int(fields["NREC"]), MOST_MINUTES)
        until = fields.get("KEYB", "99999999999999")
        listed = self.lists(exchange, symbol) and self.book.has("yfinance", _in_book(symbol))
        found = self.book.minutes("yfinance", _in_book(symbol), unit) if listed else []
        wanted = [row for row in map(_minute_row, found) if row["xymd"] + row["xhms"] <= until]
        rows = wanted[-most:][::-1]
        output1 = {
            "rsym": f"D{exchange}{symbol}", "zdiv": "4", "stim": "093000", "etim": "160000",
            "next": "1" if len(wanted) > most else "0", "more": "1" if len(wanted) > most else "0",
            "nrec": str(len(rows)),
        }  # fmt: skip
        return {"output1": output1, "output2": rows}


def overseas_routes(kis: Kis, book: CandleBook, prefix: str) -> list[web.RouteDef]:
    """All routes of US stocks at KIS, with their control."""
    from sandbox.venues.kis_overseas_account import KisOverseasAccounts

    overseas = KisOverseas(kis, book)
    return [*overseas.routes(prefix, CONTROL), *KisOverseasAccounts(overseas).routes(prefix, CONTROL)]


def _in_book(symbol: str) -> str:
    # KIS writes a class of shares after a slash, the candles after a hyphen
    return symbol.replace("/", "-")


def _daily_row(day: Candle) -> Mapping[str, str]:
    return {
        "xymd": f"{day.time:%Y%m%d}", "clos": text(day.close), "sign": "3", "diff": "0.0000", "rate": "0.00",
        "open": text(day.open), "high": text(day.high), "low": text(day.low), "tvol": text(day.volume), "tamt": "0",
        "pbid": text(day.close), "vbid": "1", "pask": text(day.close), "vask": "1",
    }  # fmt: skip


def _minute_row(candle: Candle) -> dict[str, str]:
    local, korean = candle.time.astimezone(NEW_YORK), candle.time + timedelta(hours=9)
    return {
        "tymd": f"{local:%Y%m%d}", **_stamp("x", local), **_stamp("k", korean), "open": text(candle.open),
        "high": text(candle.high), "low": text(candle.low), "last": text(candle.close), "evol": text(candle.volume),
        "eamt": "0",
    }  # fmt: skip


def _stamp(letter: str, at: datetime) -> dict[str, str]:
    return {f"{letter}ymd": f"{at:%Y%m%d}", f"{letter}hms": f"{at:%H%M%S}"}
