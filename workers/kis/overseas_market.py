"""KIS as `workers.ports.MarketData` for US stocks: a second source beside Yahoo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby

from trading.types import Candle, Instrument, Quote
from workers.calls import Call
from workers.dated import in_force, load
from workers.errors import BadReply, NoData, Stale, UnknownSymbol
from workers.kis.environment import MOCK
from workers.kis.minutes import aggregate
from workers.kis.overseas_client import DAILY_PAGE_ROWS, MINUTE_PAGE_ROWS, SERVICE, KisOverseasClient
from workers.kis.overseas_wire import UsDailyRow, UsMinuteRow, session_of
from workers.wire import in_order
from workers.yfinance.market import tick_at

# the longest series that is asked for, at 100 sessions a page
MOST_DAILY_PAGES = 30
# pages hold all hours that are traded, of which the regular session is less than half
MOST_MINUTE_PAGES = 20
OPEN, CLOSE = time(9, 30), time(16)
# KIS counts from the full hour, but a session begins at half past: hours are put together from halves
ASKED_MINUTES = {1: 1, 5: 5, 60: 30}
# no holidays of the US exchanges are this long
OLDEST_SESSION = timedelta(days=7)


class KisOverseasMarket:
    """Reads of US stocks through KIS. In mock trading there are neither a book nor minutes, so bid and ask are the
    price, which is dated when it was read, and there are no minute candles."""

    market = "yfinance"

    def __init__(self, client: KisOverseasClient, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client = client
        self._clock = clock
        self._fees = load("workers.yfinance", "fees.json")["rates"]

    async def instrument(self, symbol: str) -> Instrument:
        """What the symbol is; KIS's quotations tell no names. Raises `UnknownSymbol`."""
        await self._client.exchange_of(symbol)
        return Instrument(
            market=self.market,
            symbol=symbol,
            name=symbol,
            asset_type="equity_us",
            currency="USD",
            quantity_step=Decimal(1),
            min_order_value=Decimal(1),
            fee_rate=Decimal(in_force(self._fees, self._clock().date())["brokerage"]),
        )

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        """The last `count` sessions, oldest first, each dated 00:00 UTC of its date. Raises `NoData`, and `Stale`
        where the newest one is more than a week old."""
        exchange = await self._client.exchange_of(symbol)
        rows: dict[str, UsDailyRow] = {}
        until = session_of(self._clock())
        for _ in range(MOST_DAILY_PAGES):
            page = await self._client.daily(exchange, symbol, until)
            known = len(rows)
            rows.update((f"{row.xymd:%Y%m%d}", row) for row in page)
            if len(page) < DAILY_PAGE_ROWS or len(rows) >= count or len(rows) == known:
                break
            until = min(row.xymd for row in page) - timedelta(days=1)
        call = Call(SERVICE, "us_daily", symbol)
        if not rows:
            raise NoData(f"{call}: there are no candles; is it listed? see YFINANCE_SYMBOLS")
        candles = in_order(map(_day, rows.values()), call)[-count:]
        if self._clock() - candles[-1].time > OLDEST_SESSION:
            raise Stale(f"{call}: the newest session is that of {candles[-1].time:%Y-%m-%d}; is it still traded?")
        return candles

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        """The last `count` candles of `unit` minutes (1, 5 or 60) of regular sessions, oldest first; may be empty."""
        if self._client.calls.environment.name == MOCK:
            return []
        exchange = await self._client.exchange_of(symbol)
        asked = ASKED_MINUTES[unit]
        needed = count * unit // asked + unit // asked
        rows: dict[datetime, UsMinuteRow] = {}
        until = ""
        for _ in range(MOST_MINUTE_PAGES):
            page = await self._client.minutes(exchange, symbol, asked, until)
            known = len(rows)
            rows.update((row.local, row) for row in page)
            enough = sum(_is_regular(local) for local in rows) >= needed
            if len(page) < MINUTE_PAGE_ROWS or enough or len(rows) == known:
                break
            until = f"{min(row.local for row in page) - timedelta(minutes=asked):%Y%m%d%H%M%S}"
        call = Call(SERVICE, "us_minutes", symbol)
        regular = in_order((_minute(row) for row in rows.values() if _is_regular(row.local)), call)
        return (regular if asked == unit else _hours(regular, unit))[-count:]

    async def quote(self, symbol: str) -> Quote:
        """Last price, best bid and ask with their sizes, and the tick size, at the time of the book.

        Raises `Stale` where KIS does not say when that was.
        """
        exchange = await self._client.exchange_of(symbol)
        price = (await self._client.price(exchange, symbol)).last
        if price is None:
            raise UnknownSymbol(f"kis us_price {symbol}: it has no price at {exchange.orders}; see YFINANCE_SYMBOLS")
        now = self._clock()
        if self._client.calls.environment.name == MOCK:
            return Quote(symbol, price, price, price, self._tick(price, symbol), now)
        when, book = await self._client.book(exchange, symbol)
        at = when.at(now)
        if at is None:
            raise Stale(f"kis us_asking_price {symbol}: the book has no time, so how old it is cannot be known")
        return Quote(
            symbol=symbol,
            price=price,
            bid=book.pbid1 or price,
            ask=book.pask1 or price,
            tick_size=self._tick(price, symbol),
            at=at,
            bid_size=book.vbid1 if book.pbid1 else None,
            ask_size=book.vask1 if book.pask1 else None,
        )

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        """Nothing: the replies that are read here tell none."""
        return {}

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        """The price step at `price`, USD."""
        return tick_at(price)

    async def close(self) -> None:
        """Nothing: session and Redis belong to the caller."""

    @staticmethod
    def _tick(price: Decimal, symbol: str) -> Decimal:
        if not price.is_finite():
            raise BadReply(f"kis us_price {symbol}: the price is no number; it is tried again at the next tick")
        return tick_at(price)


def _is_regular(local: datetime) -> bool:
    return OPEN <= local.time() < CLOSE


def _hours(halves: Iterable[Candle], unit: int) -> list[Candle]:
    """Candles of an hour that begin at half past nine in New York, as a session does."""
    hours: list[Candle] = []
    for _, session in groupby(halves, lambda candle: session_of(candle.time)):
        # half an hour earlier they begin at the full hour, by which `aggregate` counts
        moved = [_moved(candle, -timedelta(minutes=30)) for candle in session]
        hours += [_moved(candle, timedelta(minutes=30)) for candle in aggregate(moved, unit)]
    return hours


def _moved(candle: Candle, by: timedelta) -> Candle:
    return Candle(candle.time + by, candle.open, candle.high, candle.low, candle.close, candle.volume)


def _day(row: UsDailyRow) -> Candle:
    start = datetime(row.xymd.year, row.xymd.month, row.xymd.day, tzinfo=UTC)
    return Candle(start, row.open, row.high, row.low, row.clos, row.tvol)


def _minute(row: UsMinuteRow) -> Candle:
    start = row.local.astimezone(UTC)
    return Candle(start, row.open, row.high, row.low, row.last, row.evol)
