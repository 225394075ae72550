"""Candles for a replay as the venues have them: over HTTP, only what is closed, and as many as indicators need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta

import pytest
from redis.asyncio import Redis

from cli.replay_candles import of_venue
from replay.errors import BadReplay
from replay.plan import plan
from replay.series import Series
from replay.terms import session
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings

SYMBOLS = {"upbit": ("KRW-BTC", "KRW-ETH"), "kis": ("005930",), "yfinance": ("AAPL",)}


@pytest.fixture(autouse=True)
def no_cookie_yet() -> None:
    """yfinance keeps one cookie per process, also from another test: each starts without."""
    from yfinance.data import SingletonMeta

    SingletonMeta._instances.clear()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def settings(sandbox: Sandbox, redis_server: LocalRedis) -> Settings:
    client = Redis.from_url(redis_server.url)
    await client.flushdb()
    await client.aclose()
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        redis_url=redis_server.url,
        upbit_base_url=f"{sandbox.url}/upbit",
        kis_base_url=f"{sandbox.url}/kis",
        kis_app_key="replay-app-key",  # type: ignore[arg-type]
        kis_app_secret="replay-app-secret",  # type: ignore[arg-type]
        yahoo_base_url=f"{sandbox.url}/yahoo",
        us_second_source=False,
    )


@pytest.mark.parametrize("market", SYMBOLS)
async def test_a_venue_gives_its_own_closed_candles(settings: Settings, sandbox: Sandbox, market: str) -> None:
    start = datetime.now(UTC).date() - timedelta(days=40)
    series = await of_venue(settings, market, SYMBOLS[market], start)
    assert set(series) == set(SYMBOLS[market])
    for symbol, found in series.items():
        told = {candle.time.date(): candle for candle in sandbox.book.daily(market, symbol)}
        now = datetime.now(UTC)
        for candle in found.daily:
            assert session(market, candle.time.date())[1] <= now
            there = told[candle.time.date()]
            assert (candle.open, candle.high, candle.low, candle.close) == (
                there.open, there.high, there.low, there.close
            )  # fmt: skip
    # the indicators have what they begin with before the first day that was asked for
    assert plan(series, start=_first_session(series, start)).spans


def _first_session(series: Mapping[str, Series], start: date) -> date:
    days = {candle.time.date() for found in series.values() for candle in found.daily}
    return min(day for day in days if day >= start)


@pytest.mark.parametrize(("market", "symbol"), [("upbit", "KRW-NOPE"), ("yfinance", "NOPE")])
async def test_a_symbol_that_the_venue_does_not_have_is_one_line(settings: Settings, market: str, symbol: str) -> None:
    with pytest.raises(BadReplay, match="recorded candles with --candles") as refused:
        await of_venue(settings, market, (symbol,), None)
    assert symbol in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_venue_that_fails_is_one_line(settings: Settings, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "upbit", "kind": "error", "status": 503})
    with pytest.raises(BadReplay, match="recorded candles with --candles"):
        await of_venue(settings, "upbit", ("KRW-BTC",), None)
