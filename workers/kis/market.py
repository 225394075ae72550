"""KIS as `workers.ports.MarketData`: stocks of the Korea Exchange."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal

from redis.asyncio import Redis

from trading.types import Candle, Instrument, Quote
from workers.calls import Call
from workers.dated import in_force, load
from workers.errors import NoData, UnknownSymbol
from workers.http import VenueHttp
from workers.kis.auth import SharedToken
from workers.kis.client import MINUTE_PAGE_ROWS, SERVICE, KisClient
from workers.kis.floors import DayFloors
from workers.kis.minutes import aggregate, bucket_start
from workers.kis.ticks import Kind, kind_by_tick, krx_tick
from workers.kis.wire import KST, DailyRow, MinuteRow, Price
from workers.wire import in_order

log = logging.getLogger(__name__)

CODE = re.compile(r"[0-9A-Za-z]{6}")
# 140 days hold at most 100 sessions, which is what one page holds
WINDOW_DAYS = 140
# no holidays of the Korea Exchange are this long: a window whose rows start later is where the listing begins
LONGEST_GAP_DAYS = 20
# a session of 09:00 to 15:30 is 13 pages of half an hour, one more for the day it is longer
MINUTE_PAGES = 15


class KisMarket:
    """Reads of the Korea Exchange through KIS. Raises `BadCredentials` without keys.

    `redis` holds the access token and the lowest prices of the day for all processes. The replies carry no time of a
    quote, so a quote is dated when it was read.
    """

    market = "kis"

    def __init__(
        self,
        session: VenueHttp,
        redis: Redis,
        base_url: str,
        app_key: str,
        app_secret: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        token = SharedToken(session, redis, base_url, app_key, app_secret)
        self._client = KisClient(session, token, base_url, app_key, app_secret)
        names = load("workers.kis", "names.json")
        self._names: dict[str, str] = names["names"]
        # an instrument does not tell; the file does for those it knows, and the venue's own step for all others
        self._kinds: dict[str, Kind] = dict.fromkeys(names["funds"], "fund")
        self._odd: set[str] = set()
        self._told: dict[str, Mapping[str, Decimal]] = {}
        self._floors = DayFloors(redis)
        self._fees = load("workers.kis", "fees.json")["rates"]

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol is; its name where `names.json` has it. Raises `UnknownSymbol` for what is no code."""
        _check(symbol)
        return Instrument(
            market=self.market,
            symbol=symbol,
            name=self._names.get(symbol, symbol),
            asset_type="equity_kr",
            currency="KRW",
            quantity_step=Decimal(1),
            min_order_value=Decimal(1),
            fee_rate=Decimal(in_force(self._fees, self._now().date())["brokerage"]),
        )

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` sessions, oldest first, each dated 00:00 UTC, which is its opening. Raises `NoData`."""
        _check(symbol)
        rows: list[DailyRow] = []
        last = self._now().date()
        while len(rows) < count:
            first = last - timedelta(days=WINDOW_DAYS - 1)
            page = await self._client.daily_chart(symbol, first, last)
            rows += page
            oldest = min((row.stck_bsop_date for row in page), default=None)
            if oldest is None or oldest > first + timedelta(days=LONGEST_GAP_DAYS) or oldest > last:
                break
            last = oldest - timedelta(days=1)
        if not rows:
            raise NoData(f"kis daily_chart {symbol}: there are no candles; is it listed? see KIS_SYMBOLS")
        return in_order(map(_day, rows), Call(SERVICE, "daily_chart", symbol))[-count:]

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` candles of `unit` minutes of today's session, oldest first; empty before it."""
        _check(symbol)
        rows: list[MinuteRow] = []
        since: datetime | None = None
        until: time_of_day | None = self._now().time().replace(microsecond=0)
        for _ in range(MINUTE_PAGES):
            page = await self._client.minute_chart(symbol, until) if until else []
            rows += page
            if not page:
                break
            if since is None:
                newest = max(row.start for row in page)
                since = bucket_start(newest, unit) - timedelta(minutes=unit * (count - 1))
            oldest = min(row.start for row in page)
            if oldest <= since or len(page) < MINUTE_PAGE_ROWS:
                break
            until = _minute_before(oldest)
        call = Call(SERVICE, "minute_chart", symbol)
        # a candle that the first page cut in two is left out, rather than given with half of its minutes
        minutes = [minute for minute in in_order(map(_minute, rows), call) if since and minute.time >= since]
        return aggregate(minutes, unit)[-count:]

    async def quote(self, symbol: str) -> Quote:
        """Last price, best bid and ask and the tick size; outside the session, where there is no book, the price."""
        _check(symbol)
        price = await self._client.price(symbol)
        if price.stck_prpr == 0:
            raise UnknownSymbol(f"kis price {symbol}: it has no price, so it is not listed; correct KIS_SYMBOLS")
        self._check_tick(symbol, price)
        self._told[symbol] = price.fundamentals
        await self._floors.keep(symbol, price.stck_llam)
        book = await self._client.asking_price(symbol)
        return Quote(
            symbol=symbol,
            price=price.stck_prpr,
            bid=book.bidp1 or price.stck_prpr,
            ask=book.askp1 or price.stck_prpr,
            tick_size=price.aspr_unit,
            at=self._clock(),
            bid_size=book.bidp_rsqn1 if book.bidp1 else None,
            ask_size=book.askp_rsqn1 if book.askp1 else None,
        )

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """What the reply with the last price told of the company: market value, PER, PBR, EPS, BPS and the extremes of
        52 weeks. No request."""
        return self._told.get(symbol, {})

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step in KRW at `price`, by the table of funds for what is known as one, else by that of stocks."""
        return krx_tick(price, self._now().date(), self._kinds.get(instrument.symbol, "stock"))

    async def close(self) -> None:
        """Nothing: session and Redis belong to the caller."""

    def _check_tick(self, symbol: str, price: Price) -> None:
        """Learn from the venue's own step whether it is a stock or a fund, and say so where the table is wrong."""
        if not price.stck_prpr.is_finite() or price.stck_prpr <= 0:
            return
        today = self._now().date()
        if kind := kind_by_tick(price.stck_prpr, price.aspr_unit, today):
            self._kinds[symbol] = kind
        expected = krx_tick(price.stck_prpr, today, self._kinds.get(symbol, "stock"))
        if expected != price.aspr_unit and symbol not in self._odd:
            self._odd.add(symbol)
            log.warning(
                "kis %s: its price step at %s is %s, the table says %s; see workers/kis/ticks.json",
                symbol,
                price.stck_prpr,
                price.aspr_unit,
                expected,
            )

    def _now(self) -> datetime:
        """Now in Korea, whose dates and hours the calls speak."""
        return self._clock().astimezone(KST)


def _check(symbol: str) -> None:
    if not CODE.fullmatch(symbol):
        raise UnknownSymbol(f"kis {symbol[:32]}: a code has six characters, such as 005930; correct KIS_SYMBOLS")


def _minute_before(time: datetime) -> time_of_day | None:
    """The minute before that, as a time of day in KST; None where it is on the day before."""
    local = time.astimezone(KST)
    before = local - timedelta(minutes=1)
    return before.time() if before.date() == local.date() else None


def _day(row: DailyRow) -> Candle:
    day = row.stck_bsop_date
    return Candle(
        time=datetime(day.year, day.month, day.day, tzinfo=UTC),
        open=row.stck_oprc,
        high=row.stck_hgpr,
        low=row.stck_lwpr,
        close=row.stck_clpr,
        volume=row.acml_vol,
    )


def _minute(row: MinuteRow) -> Candle:
    return Candle(
        time=row.start,
        open=row.stck_oprc,
        high=row.stck_hgpr,
        low=row.stck_lwpr,
        close=row.stck_prpr,
        volume=row.cntg_vol,
    )
