"""Yahoo as `workers.ports.MarketData`: US stocks.

yfinance blocks, so it runs on a few threads of its own; the first call imports it there, off the event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from opentelemetry.trace import TracerProvider
from redis.asyncio import Redis

from trading.fundamentals import told
from trading.names import one_line
from trading.types import Candle, Instrument, Quote
from workers.calls import Call, start_counting
from workers.dated import in_force, load
from workers.errors import BadReply, NoData, UnknownSymbol, VenueError
from workers.limits import BlockingGate
from workers.wire import in_order, number_or_none
from workers.yfinance.candles import FIELDS, Row, daily, intraday
from workers.yfinance.company import AskedOnceADay
from workers.yfinance.errors import no_data

if TYPE_CHECKING:
    from workers.yfinance.client import Chart, YahooClient

T = TypeVar("T")

log = logging.getLogger(__name__)

SERVICE = "yahoo"
OPERATIONS = ("chart", "quote", "crumb", "cookie")
THREADS = 4
NAMES_SECONDS = 24 * 3600.0
NEW_YORK = ZoneInfo("America/New_York")
# Also keeps out the twelve characters of an ISIN, for which yfinance would start a search.
TICKER = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")

# The shortest of Yahoo's periods that surely holds that many candles; (candles, period).
DAYS = ((18, "1mo"), (58, "3mo"), (118, "6mo"), (245, "1y"), (495, "2y"), (1_245, "5y"), (2_490, "10y"))
MINUTES = {
    # a session is 390 minutes; Yahoo keeps minutes for 7 days, five minutes for 60, hours for 730
    1: ("1m", ((1_500, "5d"),), "7d"),
    5: ("5m", ((300, "5d"), (1_400, "1mo")), "60d"),
    60: ("60m", ((28, "5d"), (120, "1mo"), (400, "3mo"), (800, "6mo"), (1_650, "1y")), "2y"),
}
# Yahoo's names for ours
COMPANY = {
    "market_cap": "marketCap",
    "per": "trailingPE",
    "pbr": "priceToBook",
    "eps": "epsTrailingTwelveMonths",
    "bps": "bookValue",
}
TICK = Decimal("0.01")
# Rule 612 of Regulation NMS: below one dollar
TICK_UNDER_A_DOLLAR = Decimal("0.0001")


class YahooMarket:
    """Reads of US stocks. `base_url` "" is Yahoo itself; `timeout_seconds` bounds one read with all its requests.

    `redis` remembers for all processes what was asked of companies; without it nothing is.
    """

    market = "yfinance"

    def __init__(
        self,
        base_url: str,
        timeout_seconds: float,
        *,
        redis: Redis | None = None,
        gate: BlockingGate | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._gate = gate
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._tracer_provider = tracer_provider
        self._fees = load("workers.yfinance", "fees.json")["rates"]
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="yahoo")
        self._opened: YahooClient | None = None
        self._opening = Lock()
        self._names: dict[str, tuple[float, str]] = {}
        self._year: dict[str, Mapping[str, Decimal]] = {}
        self._companies = None if redis is None else AskedOnceADay(redis)
        start_counting(SERVICE, OPERATIONS)

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol is; its name is kept for a day. Raises `UnknownSymbol`, also if it is not traded in USD."""
        read_at, name = self._names.get(symbol, (float("-inf"), ""))
        if time.monotonic() - read_at > NAMES_SECONDS:
            name = _name(await self._meta(symbol), symbol)
            self._names[symbol] = (time.monotonic(), name)
        return Instrument(
            market=self.market,
            symbol=symbol,
            name=name,
            asset_type="equity_us",
            currency="USD",
            quantity_step=Decimal(1),
            min_order_value=Decimal(1),
            fee_rate=Decimal(in_force(self._fees, datetime.now(UTC).date())["brokerage"]),
        )

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` sessions, oldest first, each dated 00:00 UTC of its date. Raises `NoData`."""
        call = Call(SERVICE, "chart", symbol)
        chart = await self._chart(symbol, _shortest(DAYS, count, "max"), "1d")
        candles = daily(_rows(chart), datetime.now(NEW_YORK).date(), call)
        if not candles:
            raise no_data(call)
        return in_order(candles, call)[-count:]

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` candles of `unit` minutes (1, 5 or 60) of regular sessions, oldest first; may be empty."""
        call = Call(SERVICE, "chart", symbol)
        interval, periods, longest = MINUTES[unit]
        try:
            chart = await self._chart(symbol, _shortest(periods, count, longest), interval)
        except NoData:
            return []
        return in_order(intraday(_rows(chart), call), call)[-count:]

    async def quote(self, symbol: str) -> Quote:
        """The last price at the time of its trade. Yahoo shows no book here, so bid and ask are the price."""
        meta = await self._meta(symbol)
        price = _price(meta, symbol)
        self._year[symbol] = told(
            week52_high=number_or_none(meta.get("fiftyTwoWeekHigh")),
            week52_low=number_or_none(meta.get("fiftyTwoWeekLow")),
        )
        return Quote(
            symbol=symbol,
            price=price,
            bid=price,
            ask=price,
            tick_size=tick_at(price),
            at=_time(meta, symbol),
        )

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """The extremes of 52 weeks as the last quote told them, and what one request a day tells of the company: market
        value, PER, PBR, EPS and BPS, up to a day old. Where Yahoo refuses that, it is not known for a day."""
        known = self._year.get(symbol, {})
        if self._companies is None:
            return known
        try:
            company = await self._companies.of(symbol, lambda: self._company(symbol))
        except VenueError as error:
            log.warning("yfinance %s: its fundamentals are not known for a day: %s", symbol, error)
            return known
        return {**company, **known}

    async def _company(self, symbol: str) -> Mapping[str, Decimal]:
        row = await self._in_thread(lambda: self._client().company(symbol))
        return told(**{name: number_or_none(row.get(field)) for name, field in COMPANY.items()})

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step at `price`, USD."""
        return tick_at(price)

    async def close(self) -> None:
        """Close connections and threads; a request under way ends by its own time-out."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._opened is not None:
            self._opened.close()

    async def _meta(self, symbol: str) -> Mapping[str, Any]:
        meta = (await self._chart(symbol, "5d", "1d")).meta
        if meta.get("currency") != "USD":
            raise UnknownSymbol(f"yahoo chart {symbol}: it is not traded in USD; correct YFINANCE_SYMBOLS")
        return meta

    async def _chart(self, symbol: str, period: str, interval: str) -> Chart:
        if not TICKER.fullmatch(symbol):
            raise UnknownSymbol(f"yahoo {symbol[:32]}: no US ticker, such as AAPL or BRK-B; correct YFINANCE_SYMBOLS")
        return await self._in_thread(lambda: self._client().chart(symbol, period, interval))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # with the context of the task, so that the spans of the thread belong to its trace
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(work))

    def _client(self) -> YahooClient:
        with self._opening:
            if self._opened is None:
                from workers.yfinance.client import YahooClient

                self._opened = YahooClient(
                    self._base_url, self._timeout, gate=self._gate, tracer_provider=self._tracer_provider
                )
            return self._opened


def tick_at(price: Decimal) -> Decimal:
    """The price step of a US stock at `price`, USD."""
    return TICK if price >= 1 else TICK_UNDER_A_DOLLAR


def _shortest(periods: tuple[tuple[int, str], ...], count: int, longest: str) -> str:
    return next((period for candles, period in periods if count <= candles), longest)


def _rows(chart: Chart) -> list[Row]:
    values = chart.rows[list(FIELDS)].itertuples(index=True, name=None)
    return [
        (start.to_pydatetime(), (float(o), float(h), float(low), float(c), float(v)))
        for start, o, h, low, c, v in values
    ]


def _name(meta: Mapping[str, Any], symbol: str) -> str:
    return one_line(str(meta.get("longName") or meta.get("shortName") or symbol)) or symbol


def _price(meta: Mapping[str, Any], symbol: str) -> Decimal:
    try:
        return Decimal(str(meta["regularMarketPrice"]))
    except (KeyError, InvalidOperation):
        raise _bad_meta(symbol, "regularMarketPrice") from None


def _time(meta: Mapping[str, Any], symbol: str) -> datetime:
    """The time of the last trade; yfinance has made a zoned time of Yahoo's seconds, if it knew the zone."""
    value = meta.get("regularMarketTime")
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return datetime.fromtimestamp(value.timestamp(), UTC)
    raise _bad_meta(symbol, "regularMarketTime")


def _bad_meta(symbol: str, field: str) -> BadReply:
    return BadReply(f"yahoo chart {symbol}: field {field} is missing or no number; it is tried again at the next tick")
