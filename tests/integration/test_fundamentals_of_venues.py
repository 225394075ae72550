"""What is known of a symbol beside its prices, over HTTP: by no or one request, never a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from replay.clock import Clock
from replay.feed import Feed
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from tasks import fundamentals
from trading.fundamentals import COIN, COMPANY
from trading.types import Instrument
from workers.http import open_session
from workers.kis.market import KisMarket
from workers.upbit.market import UpbitMarket
from workers.yfinance.market import YahooMarket

TIMEOUT = 10.0
QUOTE = "/v7/finance/quote"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_server.url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


def asked(sandbox: Sandbox) -> list[str]:
    return [request["path"] for request in sandbox.requests.listed()]


def stock(market: str, symbol: str) -> Instrument:
    kind = {"kis": "equity_kr", "yfinance": "equity_us"}[market]
    return Instrument(market, symbol, symbol, kind, "KRW", Decimal(1), Decimal(1), Decimal(0))


async def test_korean_stocks_and_coins_tell_them_with_the_quote(sandbox: Sandbox, redis: Redis) -> None:
    session = open_session(TIMEOUT)
    kis = KisMarket(session, redis, f"{sandbox.url}/kis", "PSappkey0123456789", "appsecret0123456789")
    upbit = UpbitMarket(session, f"{sandbox.url}/upbit")
    price = (await kis.quote("005930")).price
    await upbit.quote("KRW-BTC")
    before = asked(sandbox)
    company = await fundamentals.of(kis, stock("kis", "005930"))
    assert set(company) == set(COMPANY)
    assert None not in company.values()
    eps, per = company["eps"], company["per"]
    assert eps
    assert per
    assert abs(eps * per / price - 1) < Decimal("0.01")
    coin = await fundamentals.of(upbit, await upbit.instrument("KRW-BTC"))
    assert set(coin) == set(COIN)
    assert None not in coin.values()
    assert [path for path in asked(sandbox)[len(before) :] if "market/all" not in path] == []
    # a fund has no earnings, and what was not read is not known
    assert set((await fundamentals.of(kis, stock("kis", "069500"))).values()) == {None}
    await session.close()


async def test_yahoo_is_asked_once_a_day_by_all_processes_together(sandbox: Sandbox, redis: Redis) -> None:
    processes = [YahooMarket(f"{sandbox.url}/yahoo", TIMEOUT, redis=redis) for _ in range(2)]
    for yahoo in processes:
        await yahoo.quote("AAPL")
    first = await fundamentals.of(processes[0], stock("yfinance", "AAPL"))
    assert set(first) == set(COMPANY)
    assert None not in first.values()
    assert await fundamentals.of(processes[1], stock("yfinance", "AAPL")) == first
    assert await fundamentals.of(processes[0], stock("yfinance", "AAPL")) == first
    assert sum(path.endswith(QUOTE) for path in asked(sandbox)) == 1
    # a fund has a year, and no earnings
    await processes[0].quote("SPY")
    fund = await fundamentals.of(processes[0], stock("yfinance", "SPY"))
    assert {name for name, value in fund.items() if value} == {"week52_high", "week52_low"}
    for yahoo in processes:
        await yahoo.close()


async def test_where_yahoo_refuses_the_year_of_the_chart_is_told_and_it_is_not_asked_again_that_day(
    sandbox: Sandbox, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    yahoo = YahooMarket(f"{sandbox.url}/yahoo", TIMEOUT, redis=redis)
    await yahoo.quote("MSFT")
    sandbox.faults.order({"service": "yahoo", "kind": "error", "status": 503})
    refused = await asyncio.gather(*(fundamentals.of(yahoo, stock("yfinance", "MSFT")) for _ in range(3)))
    for told in refused:
        assert {name for name, value in told.items() if value} == {"week52_high", "week52_low"}
    assert sum(path.endswith(QUOTE) for path in asked(sandbox)) == 1
    assert caplog.text.count("MSFT: its fundamentals are not known for a day") == 1
    await yahoo.close()


async def test_a_redis_that_is_away_is_no_failure(sandbox: Sandbox) -> None:
    away = Redis(host="127.0.0.1", port=1)
    yahoo = YahooMarket(f"{sandbox.url}/yahoo", TIMEOUT, redis=away)
    assert set((await fundamentals.of(yahoo, stock("yfinance", "AAPL"))).values()) == {None}
    await yahoo.close()
    await away.aclose()


async def test_a_replay_is_told_none_of_today() -> None:
    past = Feed("kis", {}, Clock(datetime(2024, 1, 2, tzinfo=UTC)))
    assert await fundamentals.of(past, stock("kis", "005930")) == dict.fromkeys(COMPANY)
