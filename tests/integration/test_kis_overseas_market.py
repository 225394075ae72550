"""US quotations of KIS over real HTTP, alone and as the second source behind the real yfinance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from opentelemetry.sdk.trace import TracerProvider
from redis.asyncio import Redis

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from trading.ticks import check_quote
from workers.errors import BadReply, NoData, Stale, UnknownSymbol
from workers.http import VenueHttp, open_session
from workers.kis.auth import SharedToken
from workers.kis.environment import Environment
from workers.kis.overseas_calls import KisCalls
from workers.kis.overseas_client import KisOverseasClient
from workers.kis.overseas_market import KisOverseasMarket
from workers.kis.overseas_wire import NEW_YORK, session_of
from workers.ports import MarketData
from workers.yfinance.market import YahooMarket
from workers.yfinance.second import FIRST, SECOND, WithSecondSource

KEY, SECRET = "PSappkey0123456789", "appsecret0123456789/+="
CHART = "/v8/finance/chart/"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(3.0)
    yield http
    await http.close()


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_server.url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


def open_market(sandbox: Sandbox, http: VenueHttp, redis: Redis, environment: str = "real") -> KisOverseasMarket:
    url = f"{sandbox.url}/kis"
    token = SharedToken(http, redis, url, KEY, SECRET)
    return KisOverseasMarket(KisOverseasClient(KisCalls(http, token, Environment(environment, url), KEY, SECRET)))


@pytest.fixture
def market(sandbox: Sandbox, http: VenueHttp, redis: Redis) -> KisOverseasMarket:
    return open_market(sandbox, http, redis)


async def set_price(sandbox: Sandbox, symbol: str, price: str) -> None:
    body = {"symbol": symbol, "price": price}
    await asyncio.to_thread(SandboxControl(sandbox.url).post, "kis_overseas/price", body)


async def test_it_is_market_data_with_a_book_and_the_us_ticks(sandbox: Sandbox, market: KisOverseasMarket) -> None:
    port: MarketData = market
    instrument = await port.instrument("AAPL")
    assert (instrument.market, instrument.symbol, instrument.currency) == ("yfinance", "AAPL", "USD")
    assert port.tick_size(instrument, Decimal(1)) == Decimal("0.01")
    assert port.tick_size(instrument, Decimal("0.9999")) == Decimal("0.0001")
    await set_price(sandbox, "AAPL", "271.34")
    quote = await port.quote("AAPL")
    check_quote(quote)
    assert (quote.price, quote.bid, quote.ask) == (Decimal("271.34"), Decimal("271.33"), Decimal("271.35"))
    assert (quote.bid_size, quote.ask_size, quote.tick_size) == (100, 200, Decimal("0.01"))
    assert timedelta(seconds=-2) < datetime.now(UTC) - quote.at < timedelta(seconds=10)
    for symbol in ("NOSUCH", "apple"):
        with pytest.raises(UnknownSymbol):
            await port.quote(symbol)
    await port.close()


@pytest.mark.parametrize("count", [1, 99, 100, 101, 260])
async def test_daily_candles_come_from_as_many_pages_as_it_takes(
    sandbox: Sandbox, market: KisOverseasMarket, count: int
) -> None:
    candles = await market.candles("AAPL", count)
    today = session_of(datetime.now(UTC))
    expected = [day for day in sandbox.book.daily("yfinance", "AAPL") if day.time.date() <= today][-count:]
    assert candles == expected
    pages = Counter(request["path"] for request in sandbox.requests.listed())
    assert pages["/uapi/overseas-price/v1/quotations/dailyprice"] == -(-count // 100)


async def test_more_than_there_is_are_all_there_are(sandbox: Sandbox, market: KisOverseasMarket) -> None:
    candles = await market.candles("SPY", 5_000)
    assert 390 <= len(candles) <= len(sandbox.book.daily("yfinance", "SPY"))
    assert candles == sorted(candles, key=lambda candle: candle.time)


@pytest.mark.parametrize(("unit", "count"), [(1, 30), (1, 300), (5, 100), (60, 6)])
async def test_minutes_are_those_of_regular_sessions(
    sandbox: Sandbox, market: KisOverseasMarket, unit: int, count: int
) -> None:
    candles = await market.minute_candles("AAPL", unit, count)
    # the sandbox's hours are those of winter; what is outside a session of New York is not one of ours
    regular = [
        candle
        for candle in sandbox.book.minutes("yfinance", "AAPL", 30 if unit == 60 else unit)
        if time(9, 30) <= candle.time.astimezone(NEW_YORK).time() < time(16)
    ]
    assert 0 < len(candles) <= count
    assert all(time(9, 30) <= candle.time.astimezone(NEW_YORK).time() < time(16) for candle in candles)
    if unit == 60:
        assert {candle.time.astimezone(NEW_YORK).minute for candle in candles} == {30}
        newest = [half for half in regular if half.time >= candles[-1].time]
        assert (candles[-1].open, candles[-1].close) == (newest[0].open, newest[-1].close)
    else:
        assert candles == regular[-count:]


async def test_mock_trading_has_a_price_and_no_more(sandbox: Sandbox, http: VenueHttp, redis: Redis) -> None:
    market = open_market(sandbox, http, redis, "mock")
    quote = await market.quote("AAPL")
    assert quote.bid == quote.ask == quote.price
    assert await market.minute_candles("AAPL", 5, 10) == []
    assert len(await market.candles("AAPL", 10)) == 10


async def test_old_candles_and_a_book_without_a_time_are_errors(
    sandbox: Sandbox, http: VenueHttp, redis: Redis, market: KisOverseasMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_price(sandbox, "NODAYS", "12.34")
    with pytest.raises(NoData):
        await market.candles("NODAYS", 10)
    days = sandbox.book.daily

    def ended(owner: str, symbol: str) -> list[object]:
        return [replace(day, time=day.time - timedelta(days=30)) for day in days(owner, symbol)]

    monkeypatch.setattr(sandbox.book, "daily", ended)
    with pytest.raises(Stale):
        await market.candles("AAPL", 10)


async def test_the_second_source_stands_in_for_yahoo_and_leaves_when_it_is_back(
    sandbox: Sandbox, market: KisOverseasMarket
) -> None:
    from yfinance.data import SingletonMeta

    # yfinance keeps one cookie per process, also from another test
    SingletonMeta._instances.clear()
    yahoo = YahooMarket(f"{sandbox.url}/yahoo", 5.0, tracer_provider=TracerProvider())
    data = WithSecondSource(yahoo, market, is_open=lambda _: False)
    try:
        first = await data.candles("AAPL", 30)
        fault = sandbox.faults.order({"service": "yahoo", "kind": "html", "path": CHART})
        quote, second = await data.quote("AAPL"), await data.candles("AAPL", 30)
        # the two tell of the same days
        assert {candle.time for candle in first[:-1]} & {candle.time for candle in second}
        assert abs(quote.price - first[-1].close) < first[-1].close / 5
        assert data.answered == {FIRST: 1, SECOND: 2}
        await set_price(sandbox, "AAPL", str(first[-1].close * 2))
        with pytest.raises(BadReply, match="yahoo"):
            await data.quote("AAPL")
        sandbox.faults.clear(fault.id)
        assert (await data.quote("AAPL")).price == first[-1].close
        with pytest.raises(UnknownSymbol):
            await data.quote("NOSUCH")
    finally:
        await data.close()
