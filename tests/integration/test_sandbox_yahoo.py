"""The real yfinance reading the sandbox: its session only has the hosts rewritten."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yfinance
from curl_cffi import requests
from curl_cffi.requests.exceptions import HTTPError
from yfinance.exceptions import YFPricesMissingError, YFRateLimitError

from sandbox.candles import read_candles
from sandbox.server import Sandbox

SHARED = Path(os.environ.get("SHARED_DIR", Path(__file__).parents[2].parent / "shared"))


class RewritingSession(requests.Session):  # type: ignore[misc]
    """A curl_cffi session that sends every Yahoo host's paths to one base URL."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(url)
        if (parts.hostname or "").endswith("yahoo.com"):
            url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        return super().request(method, url, *args, **kwargs)


@pytest.fixture(autouse=True)
def _yfinance(tmp_path: Path) -> Iterator[None]:
    yfinance.set_tz_cache_location(str(tmp_path))
    hidden = yfinance.config.debug.hide_exceptions
    yfinance.config.debug.hide_exceptions = False
    # one process-wide object remembers replies by URL, and the hosts here are always the same
    yfinance.data.YfData().cache_get.cache_clear()
    yield
    yfinance.config.debug.hide_exceptions = hidden


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


async def _history(sandbox: Sandbox, symbol: str, **options: Any) -> Any:
    def read() -> Any:
        ticker = yfinance.Ticker(symbol, session=RewritingSession(f"{sandbox.url}/yahoo"))
        return ticker.history(auto_adjust=False, **options)

    return await asyncio.to_thread(read)


async def test_yfinance_reads_daily_candles(sandbox: Sandbox) -> None:
    frame = await _history(sandbox, "AAPL", period="1y", interval="1d")

    served = sandbox.book.daily("yfinance", "AAPL")
    assert frame.index[-1].date() == datetime.now(UTC).date()
    assert str(frame.index.tz) == "America/New_York"
    expected = [candle for candle in served if candle.time.date() >= frame.index[0].date()]
    assert len(frame) == len(expected) > 200
    assert [float(candle.close) for candle in expected] == list(frame["Close"])
    assert [int(candle.volume) for candle in expected] == list(frame["Volume"])


async def test_yfinance_reads_a_period_of_its_own_length(sandbox: Sandbox) -> None:
    frame = await _history(sandbox, "MSFT", period="5d", interval="1d")
    assert len(frame) == 5
    assert frame.index[-1].date() == datetime.now(UTC).date()


@pytest.mark.parametrize(("interval", "unit"), [("60m", 60), ("5m", 5)])
async def test_yfinance_reads_intraday_candles(sandbox: Sandbox, interval: str, unit: int) -> None:
    frame = await _history(sandbox, "NVDA", period="5d" if unit == 60 else "1d", interval=interval)

    served = sandbox.book.minutes("yfinance", "NVDA", unit)[-len(frame) :]
    assert [candle.time for candle in served] == [stamp.to_pydatetime() for stamp in frame.index]
    assert [float(candle.close) for candle in served] == list(frame["Close"])


async def test_an_unknown_symbol_is_yahoos_404(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/yahoo/v8/finance/chart/NOPE") as reply:
        assert reply.status == 404
        assert await reply.json() == {
            "chart": {
                "result": None,
                "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
            }
        }
    # yfinance first looks for the time zone in the quote summary, which is a 404 as well
    with pytest.raises((YFPricesMissingError, HTTPError)):
        await _history(sandbox, "NOPE", period="5d")


async def test_yfinance_sees_a_throttled_yahoo(sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "yahoo", "kind": "throttle", "path": "/v8/"})
    with pytest.raises(YFRateLimitError):
        await _history(sandbox, "AAPL", period="5d")


@pytest.mark.parametrize("variant", ["nan", "zero", "negative", "few"])
async def test_yfinance_passes_spoiled_candles_on(sandbox: Sandbox, variant: str) -> None:
    sandbox.faults.order({"service": "yahoo", "kind": "candles", "variant": variant, "symbol": "AAPL"})
    frame = await _history(sandbox, "AAPL", period="3mo", interval="1d")
    last = frame["Close"].iloc[-1]
    if variant == "few":
        assert len(frame) == 3
    else:
        assert {"nan": last != last, "zero": last == 0, "negative": last < 0}[variant]


async def test_recorded_candles_reach_yfinance_unchanged() -> None:
    folder = SHARED / "data" / "candles"
    if not folder.is_dir():
        pytest.skip(f"no recorded candles at {folder}; set SHARED_DIR")
    recorded = read_candles(folder / "yfinance" / "AAPL.1d.csv", "1d")
    hourly = read_candles(folder / "yfinance" / "AAPL.60m.csv", "60m")
    sandbox = Sandbox(candles=folder)
    await sandbox.start()
    try:
        days = await _history(sandbox, "AAPL", period="2y", interval="1d")
        hours = await _history(sandbox, "AAPL", period="1mo", interval="60m")
        with pytest.raises(YFPricesMissingError):
            await _history(sandbox, "AAPL", period="1d", interval="5m")
    finally:
        await sandbox.stop()

    assert days.index[-1].date() == datetime.now(UTC).date()
    tail = recorded[-len(days) :]
    for column, name in (("Open", "open"), ("High", "high"), ("Low", "low"), ("Close", "close"), ("Volume", "volume")):
        assert [Decimal(str(value)) for value in days[column]] == [Decimal(getattr(candle, name)) for candle in tail]
    closes = [float(candle.close) for candle in hourly]
    first = closes.index(hours["Close"].iloc[0])
    assert len(hours) > 50
    assert list(hours["Close"]) == closes[first : first + len(hours)]


async def test_cookie_crumb_and_consent_are_answered(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox.url}/yahoo") as reply:
            assert "A3" in reply.cookies
        async with http.get(f"{sandbox.url}/yahoo/v1/test/getcrumb") as reply:
            crumb = await reply.text()
            assert crumb
            assert "<" not in crumb
        async with http.get(f"{sandbox.url}/yahoo/consent") as reply:
            page = await reply.text()
            assert 'name="csrfToken"' in page
            assert 'name="sessionId"' in page
        async with http.post(f"{sandbox.url}/yahoo/v2/collectConsent?sessionId=sandbox") as reply:
            assert reply.status == 200
