"""Yahoo Finance as yfinance asks it: chart and quote, and the cookie, crumb and consent calls that come before them."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from sandbox.candles import CandleBook, number
from sandbox.companies import YAHOO
from sandbox.faults import SPOIL, spoiled
from trading.types import Candle

NEW_YORK = ZoneInfo("America/New_York")
RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
MINUTES = {"1m": 1, "2m": 2, "5m": 5, "15m": 15, "30m": 30, "60m": 60, "1h": 60}
NAMES = {
    "AAPL": ("Apple Inc.", "NMS", "NasdaqGS", "EQUITY"),
    "MSFT": ("Microsoft Corporation", "NMS", "NasdaqGS", "EQUITY"),
    "NVDA": ("NVIDIA Corporation", "NMS", "NasdaqGS", "EQUITY"),
    "SPY": ("State Street SPDR S&P 500 ETF Trust", "PCX", "NYSEArca", "ETF"),
    "TSLA": ("Tesla, Inc.", "NMS", "NasdaqGS", "EQUITY"),
}
CRUMB = "sBx7Qe1uTzP"
_PRICES = ("open", "high", "low", "close")
_OPEN, _CLOSE = time(9, 30), time(16)
_CUSTOM_RANGE = re.compile(r"^(\d{1,4})(d|wk|mo|y)$")
_UNIT_DAYS = {"wk": 7, "mo": 30.5, "y": 365.25}


class _Refused(Exception):
    """A chart Yahoo does not give: HTTP status, error code and description."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.code = code


class Yahoo:
    """Answers the calls of `yfinance.Ticker(...).history()` from the book's yfinance candles."""

    def __init__(self, book: CandleBook) -> None:
        self._book = book

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(f"{prefix}/v8/finance/chart/{{symbol}}", self._chart),
            web.get(f"{prefix}/v7/finance/quote", self._quotes),
            web.get(f"{prefix}/v1/test/getcrumb", self._crumb),
            # fc.yahoo.com, which answers 404 and sets the cookie all the same
            web.get(prefix, self._cookie),
            web.get(f"{prefix}/", self._cookie),
            web.get(f"{prefix}/cookie", self._cookie),
            # guce.yahoo.com and consent.yahoo.com, the second way to a cookie
            web.get(f"{prefix}/consent", self._consent),
            web.post(f"{prefix}/v2/collectConsent", self._consented),
            web.get(f"{prefix}/copyConsent", self._consented),
            web.get(f"{prefix}/v10/finance/quoteSummary/{{symbol}}", self._no_summary),
        ]

    @staticmethod
    def subjects(request: web.Request) -> list[str]:
        """The symbol a request is about."""
        found = re.search(r"/(?:chart|quoteSummary)/([^/]+)$", request.path)
        named = found[1] if found else request.query.get("symbols", "")
        return [symbol for symbol in named.upper().split(",") if symbol]

    def failed(self, status: int) -> web.Response:
        return _error(status, "Internal Server Error", "An internal error occurred")

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        return web.Response(text="Too Many Requests\r\n", status=status or 429)

    async def _cookie(self, _: web.Request) -> web.Response:
        response = web.Response(status=404, text="", content_type="text/html")
        response.set_cookie("A3", f"d={secrets.token_urlsafe(24)}", max_age=31_557_600, httponly=True, path="/")
        return response

    async def _crumb(self, _: web.Request) -> web.Response:
        return web.Response(text=CRUMB)

    async def _consent(self, _: web.Request) -> web.Response:
        page = (
            '<html><body><form method="post" action="/v2/collectConsent">'
            '<input type="hidden" name="csrfToken" value="sandbox"/>'
            '<input type="hidden" name="sessionId" value="sandbox"/>'
            '<button name="agree" value="agree">Accept all</button></form></body></html>'
        )
        return web.Response(text=page, content_type="text/html")

    async def _consented(self, _: web.Request) -> web.Response:
        return web.Response(text="", content_type="text/html")

    async def _no_summary(self, request: web.Request) -> web.Response:
        text = f"Quote not found for symbol: {request.match_info['symbol']}"
        return web.json_response(
            {"quoteSummary": {"result": None, "error": {"code": "Not Found", "description": text}}}, status=404
        )

    async def _quotes(self, request: web.Request) -> web.Response:
        if request.query.get("crumb") != CRUMB:
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return web.json_response({"finance": {"result": None, "error": error}}, status=401)
        symbols = request.query.get("symbols", "").upper().split(",")
        rows = [self._quote(symbol) for symbol in symbols if self._book.has("yfinance", symbol)]
        return web.json_response({"quoteResponse": {"result": rows, "error": None}})

    def _quote(self, symbol: str) -> dict[str, Any]:
        meta = self._meta(symbol, "1d", "")
        shared = ("currency", "symbol", "longName", "shortName", "regularMarketPrice", "regularMarketTime")
        year = ("fiftyTwoWeekHigh", "fiftyTwoWeekLow")
        row = {name: meta[name] for name in (*shared, *year)} | {"quoteType": meta["instrumentType"]}
        company, price = YAHOO.get(symbol), self._book.daily("yfinance", symbol)[-1].close
        if company is None:
            return row
        return row | {
            "sharesOutstanding": company.shares,
            "marketCap": number(company.value(price)),
            "trailingPE": number(company.per(price)),
            "priceToBook": number(company.pbr(price)),
            "epsTrailingTwelveMonths": number(company.eps),
            "bookValue": number(company.bps),
        }

    async def _chart(self, request: web.Request) -> web.Response:
        try:
            result = self._result(request)
        except _Refused as refusal:
            return _error(refusal.status, refusal.code, str(refusal))
        return web.json_response({"chart": {"result": [result], "error": None}})

    def _result(self, request: web.Request) -> dict[str, Any]:
        symbol = request.match_info["symbol"].upper()
        if not self._book.has("yfinance", symbol):
            raise _Refused(404, "Not Found", "No data found, symbol may be delisted")
        interval = request.query.get("interval", "1d")
        if interval == "1d":
            bars = [(self._session_time(day), day) for day in self._book.daily("yfinance", symbol)]
        elif interval in MINUTES:
            minutes = self._book.minutes("yfinance", symbol, MINUTES[interval])
            bars = [(int(minute.time.timestamp()), minute) for minute in minutes]
        else:
            allowed = ", ".join(["1d", *MINUTES])
            text = f"Invalid input - interval={interval} is not supported. Valid intervals: [{allowed}]"
            raise _Refused(422, "Unprocessable Entity", text)
        start, end = self._window(request, [stamp for stamp, _ in bars])
        wanted = [(stamp, bar) for stamp, bar in bars if start <= stamp < end]
        if not wanted and "period1" in request.query:
            text = f"Data doesn't exist for startDate = {start}, endDate = {end}"
            raise _Refused(400, "Bad Request", text)
        before = [bar.close for stamp, bar in bars if stamp < start]
        meta = self._meta(symbol, interval, request.query.get("range", ""))
        meta["chartPreviousClose"] = number(before[-1]) if before else None
        if not wanted:
            return {"meta": meta, "indicators": {"quote": [{}]}}
        if interval != "1d":
            meta["tradingPeriods"] = _trading_periods(wanted, request.query.get("includePrePost", ""))
        return {"meta": meta} | _columns(wanted, request.get(SPOIL), daily=interval == "1d")

    def _session_time(self, day: Candle) -> int:
        """When Yahoo says a daily bar began: the open of its session; before the open, the last trade."""
        opened = datetime.combine(day.time.date(), _OPEN, NEW_YORK)
        midnight = datetime.combine(day.time.date(), time(), NEW_YORK)
        traded = self._book.now() - timedelta(minutes=1)
        return int(max(midnight, min(opened, traded)).timestamp())

    def _window(self, request: web.Request, stamps: list[int]) -> tuple[int, int]:
        """First and end (exclusive) Unix second of the bars asked for."""
        far = int((self._book.now() + timedelta(days=2)).timestamp())
        if "period1" in request.query or "period2" in request.query:
            try:
                return int(request.query.get("period1", "0")), int(request.query.get("period2", str(far)))
            except ValueError:
                raise _Refused(400, "Bad Request", "Invalid input - period1 and period2 are Unix seconds") from None
        asked = request.query.get("range", "1mo")
        today = datetime.combine(self._book.now().date(), time(), UTC)
        custom = _CUSTOM_RANGE.match(asked)
        if asked == "max":
            return 0, far
        if asked == "ytd":
            return int(today.replace(month=1, day=1).timestamp()), far
        if custom is None:
            valid = ", ".join(RANGES)
            text = f"Invalid input - range={asked} is not supported. Valid ranges: [{valid}]"
            raise _Refused(422, "Unprocessable Entity", text)
        if custom[2] == "d":
            # days are counted in sessions, so that one day is the last one there is
            sessions = sorted({_moment(stamp).date() for stamp in stamps})[-max(int(custom[1]), 1) :]
            today = datetime.combine(sessions[0], time(), UTC) if sessions else today
            return int(today.timestamp()), far
        return int((today - timedelta(days=int(custom[1]) * _UNIT_DAYS[custom[2]])).timestamp()), far

    def _meta(self, symbol: str, interval: str, asked: str) -> dict[str, Any]:
        now = self._book.now()
        days = self._book.daily("yfinance", symbol)
        today, year = days[-1], days[-252:]
        name, exchange, full_exchange, kind = NAMES.get(symbol, (symbol, "NMS", "NasdaqGS", "EQUITY"))
        zone = now.astimezone(NEW_YORK)
        return {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": exchange,
            "fullExchangeName": full_exchange,
            "instrumentType": kind,
            "firstTradeDate": self._session_time(days[0]),
            "regularMarketTime": int(now.timestamp()),
            "hasPrePostMarketData": True,
            "gmtoffset": _offset(now),
            "timezone": zone.tzname(),
            "exchangeTimezoneName": "America/New_York",
            "regularMarketPrice": number(today.close),
            "fiftyTwoWeekHigh": number(max(day.high for day in year)),
            "fiftyTwoWeekLow": number(min(day.low for day in year)),
            "regularMarketDayHigh": number(today.high),
            "regularMarketDayLow": number(today.low),
            "regularMarketVolume": number(today.volume),
            "longName": name,
            "shortName": name,
            "previousClose": number(days[-2].close),
            "priceHint": 2,
            "currentTradingPeriod": {
                "pre": _period(datetime.combine(zone, time(4), NEW_YORK), datetime.combine(zone, _OPEN, NEW_YORK)),
                "regular": _period(datetime.combine(zone, _OPEN, NEW_YORK), datetime.combine(zone, _CLOSE, NEW_YORK)),
                "post": _period(datetime.combine(zone, _CLOSE, NEW_YORK), datetime.combine(zone, time(20), NEW_YORK)),
            },
            "dataGranularity": interval,
            "range": asked,
            "validRanges": list(RANGES),
        }


def _columns(bars: list[tuple[int, Candle]], spoil: str | None, *, daily: bool) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            "timestamp": stamp,
            "open": number(bar.open),
            "high": number(bar.high),
            "low": number(bar.low),
            "close": number(bar.close),
            "volume": number(bar.volume),
        }
        for stamp, bar in reversed(bars)
    ]
    rows = spoiled(rows, spoil, _PRICES, None)[::-1]
    quote = {name: [row[name] for row in rows] for name in (*_PRICES, "volume")}
    indicators: dict[str, Any] = {"quote": [quote]}
    if daily:
        indicators["adjclose"] = [{"adjclose": list(quote["close"])}]
    return {"timestamp": [row["timestamp"] for row in rows], "indicators": indicators}


def _trading_periods(bars: list[tuple[int, Candle]], with_extended: str) -> Any:
    """The session of every day in the bars: from its first bar to half an hour into its last, as the US session
    ends half an hour after its last hourly bar begins."""
    periods = []
    for _, group in groupby(bars, key=lambda bar: bar[1].time.date()):
        day = [bar.time for _, bar in group]
        periods.append([_period(day[0], day[-1] + timedelta(minutes=30))])
    if with_extended.lower() != "true":
        return periods
    before = [[_period(_moment(day[0]["start"] - 19_800), _moment(day[0]["start"]))] for day in periods]
    after = [[_period(_moment(day[0]["end"]), _moment(day[0]["end"] + 14_400))] for day in periods]
    return {"pre": before, "regular": periods, "post": after}


def _period(start: datetime, end: datetime) -> dict[str, Any]:
    return {
        "timezone": start.astimezone(NEW_YORK).tzname(),
        "start": int(start.timestamp()),
        "end": int(end.timestamp()),
        "gmtoffset": _offset(start),
    }


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)


def _offset(moment: datetime) -> int:
    offset = moment.astimezone(NEW_YORK).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _error(status: int, code: str, description: str) -> web.Response:
    return web.json_response(
        {"chart": {"result": None, "error": {"code": code, "description": description}}}, status=status
    )
