"""Yahoo by the real yfinance over real HTTP against the sandbox."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sandbox.server import Sandbox
from telemetry import instruments
from trading.candles import check
from trading.errors import BadCandles
from trading.ticks import check_quote
from workers.errors import BadReply, Throttled, TimedOut, UnknownSymbol, Unreachable, VenueError
from workers.markets import open_market
from workers.yfinance.market import YahooMarket

CHART = "/v8/finance/chart/AAPL"
TIMEOUT = 3.0


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
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer_provider(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
async def yahoo(sandbox: Sandbox, tracer_provider: TracerProvider) -> AsyncIterator[YahooMarket]:
    market = YahooMarket(f"{sandbox.url}/yahoo", TIMEOUT, tracer_provider=tracer_provider)
    yield market
    await market.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[tuple[str, str, str], float]]:
    """The counts of `api.calls` by (service, operation, status), zeros left out."""
    reader = InMemoryMetricReader()
    counter = MeterProvider([reader]).get_meter("test").create_counter("api.calls")
    monkeypatch.setattr(instruments, "api_calls", counter)

    def read() -> dict[tuple[str, str, str], float]:
        data = reader.get_metrics_data()
        assert data is not None
        points: Any = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
        names = ("service", "operation", "status")
        return {tuple(point.attributes[name] for name in names): point.value for point in points if point.value}

    return read


def requests(sandbox: Sandbox) -> Counter[str]:
    return Counter(request["path"] for request in sandbox.requests.listed())


async def failure(read: Awaitable[object]) -> VenueError:
    with pytest.raises(VenueError) as caught:
        await read
    error = caught.value
    assert "://" not in str(error)
    assert "127.0.0.1" not in str(error)
    assert "\n" not in str(error)
    return error


async def test_an_instrument_is_named_by_yahoo_once(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    instrument = await yahoo.instrument("AAPL")
    assert (instrument.name, instrument.asset_type, instrument.currency) == ("Apple Inc.", "equity_us", "USD")
    assert (instrument.quantity_step, instrument.min_order_value) == (1, 1)
    assert instrument.fee_rate == Decimal("0.0025")
    await yahoo.instrument("AAPL")
    assert requests(sandbox)[CHART] == 1


@pytest.mark.parametrize("count", [1, 20, 200, 400])
async def test_days_come_oldest_first_by_one_chart_request(yahoo: YahooMarket, sandbox: Sandbox, count: int) -> None:
    candles = await yahoo.candles("AAPL", count)
    check(candles, symbol="AAPL", needed=count)
    assert candles == sandbox.book.daily("yfinance", "AAPL")[-count:]
    assert requests(sandbox)[CHART] == 1


@pytest.mark.parametrize("unit", [1, 5, 60])
async def test_minutes_come_oldest_first_in_utc(yahoo: YahooMarket, sandbox: Sandbox, unit: int) -> None:
    candles = await yahoo.minute_candles("AAPL", unit, 24)
    assert candles == sandbox.book.minutes("yfinance", "AAPL", unit)[-24:]
    assert all(candle.time.tzinfo is UTC for candle in candles)


async def test_a_quote_is_the_price_that_yahoo_shows(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    quote = await yahoo.quote("AAPL")
    check_quote(quote)
    assert quote.price == quote.bid == quote.ask == sandbox.book.price("yfinance", "AAPL")
    assert quote.tick_size == Decimal("0.01")
    assert abs(datetime.now(UTC) - quote.at) < timedelta(seconds=5)


async def test_a_symbol_that_yahoo_does_not_list_is_unknown_after_one_chart_request(
    yahoo: YahooMarket, sandbox: Sandbox
) -> None:
    for read in (yahoo.quote, yahoo.instrument, lambda symbol: yahoo.minute_candles(symbol, 60, 24)):
        sandbox.requests.clear()
        assert isinstance(await failure(read("NOPE")), UnknownSymbol)
        assert requests(sandbox)["/v8/finance/chart/NOPE"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ({"kind": "hang"}, TimedOut, "no answer within 3 s"),
        ({"kind": "close"}, Unreachable, "YAHOO_BASE_URL"),
        ({"kind": "html"}, BadReply, "answered HTML, not JSON (HTTP 200)"),
        ({"kind": "html", "status": 503}, BadReply, "answered HTML, not JSON (HTTP 503)"),
        ({"kind": "error"}, BadReply, "answered HTTP 500"),
        ({"kind": "throttle"}, Throttled, "over the rate limit"),
    ],
)
async def test_a_venue_that_fails_is_one_clear_error_after_one_chart_request(
    yahoo: YahooMarket, sandbox: Sandbox, fault: dict[str, Any], kind: type[VenueError], text: str
) -> None:
    sandbox.faults.order({"service": "yahoo", "symbol": "AAPL", **fault})
    error = await failure(yahoo.candles("AAPL", 10))
    assert type(error) is kind
    assert str(error).startswith("yahoo chart AAPL: ")
    assert text in str(error)
    # curl itself sends once more into a new connection when a kept one turns out to be closed
    assert requests(sandbox)[CHART] == 1 + (fault["kind"] == "close")
    sandbox.faults.clear()
    assert len(await yahoo.candles("AAPL", 10)) == 10


async def test_a_yahoo_that_hangs_altogether_ends_within_the_time_out(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    await yahoo.quote("AAPL")
    sandbox.faults.order({"service": "yahoo", "kind": "hang"})
    began = time.monotonic()
    assert isinstance(await failure(yahoo.quote("MSFT")), TimedOut)
    assert time.monotonic() - began < TIMEOUT + 0.5


async def test_a_chart_needs_neither_cookie_nor_crumb(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    for path in ("/cookie", "/getcrumb", "/consent"):
        sandbox.faults.order({"service": "yahoo", "kind": "error", "path": path, "status": 503})
    assert len(await yahoo.candles("AAPL", 10)) == 10


async def test_a_failure_is_not_kept(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "yahoo", "symbol": "TSLA", "kind": "error", "count": 1})
    assert isinstance(await failure(yahoo.quote("TSLA")), BadReply)
    check_quote(await yahoo.quote("TSLA"))


async def test_spoiled_candles_are_refused_and_never_repaired(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "yahoo", "kind": "candles", "variant": "nan", "count": 1})
    assert "is NaN" in str(await failure(yahoo.candles("AAPL", 30)))
    for variant in ("zero", "negative", "few"):
        sandbox.faults.order({"service": "yahoo", "kind": "candles", "variant": variant, "count": 1})
        candles = await yahoo.candles("AAPL", 30)
        with pytest.raises(BadCandles, match="AAPL"):
            check(candles, symbol="AAPL", needed=30)


@pytest.mark.parametrize(("empty", "left"), [(-1, 29), (-2, None), (10, None)])
async def test_only_the_unfinished_day_may_be_empty(sandbox: Sandbox, empty: int, left: int | None) -> None:
    async with aiohttp.ClientSession() as session:
        params = {"range": "3mo", "interval": "1d"}
        async with session.get(f"{sandbox.url}/yahoo{CHART}", params=params) as response:
            chart = await response.json()
    result = chart["chart"]["result"][0]
    columns = [result["indicators"]["quote"][0], result["indicators"]["adjclose"][0]]
    result["timestamp"] = result["timestamp"][-30:]
    for column in columns:
        for name, values in column.items():
            column[name] = values[-30:]
            # Yahoo sends null for the volume as well, and yfinance drops such a row unless it is told not to
            column[name][empty] = None

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(chart) if "chart" in request.path else web.Response(status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yahoo = YahooMarket(f"http://{host}:{port}", TIMEOUT)
    if left is None:
        assert "open is NaN" in str(await failure(yahoo.candles("AAPL", 30)))
    else:
        assert len(await yahoo.candles("AAPL", 30)) == left
    await yahoo.close()
    await runner.cleanup()


async def test_every_http_request_is_one_count_and_one_span_without_query(
    sandbox: Sandbox,
    tracer_provider: TracerProvider,
    spans: InMemorySpanExporter,
    calls: Callable[[], dict[tuple[str, str, str], float]],
) -> None:
    yahoo = YahooMarket(f"{sandbox.url}/yahoo", TIMEOUT, tracer_provider=tracer_provider)
    with tracer_provider.get_tracer("test").start_as_current_span("collect_data") as parent:
        await yahoo.candles("AAPL", 10)
        await yahoo.quote("AAPL")
    sandbox.faults.order({"service": "yahoo", "symbol": "AAPL", "kind": "throttle", "count": 1})
    await failure(yahoo.quote("AAPL"))
    await yahoo.close()
    counted = calls()
    assert counted[("yahoo", "chart", "success")] == 2
    assert counted[("yahoo", "chart", "error")] == 1
    assert counted[("yahoo", "cookie", "success")] == 1
    sent = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert sum(counted.values()) == len(sent) == len(sandbox.requests.listed())
    charts = [span for span in sent if span.attributes and str(span.attributes["http.url"]).endswith(CHART)]
    assert {span.attributes["http.url"] for span in charts if span.attributes} == {f"{sandbox.url}/yahoo{CHART}"}
    assert [span.status.is_ok for span in charts] == [True, True, False]
    # the spans of the threads belong to the trace of the task
    assert [span.context.trace_id for span in charts[:2]] == [parent.get_span_context().trace_id] * 2
    assert all("?" not in str(span.attributes) and span.name == "GET" for span in sent)


async def test_reads_run_side_by_side_off_the_event_loop(yahoo: YahooMarket, sandbox: Sandbox) -> None:
    await yahoo.quote("AAPL")
    sandbox.faults.order({"service": "yahoo", "kind": "slow", "seconds": 0.5})
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    await asyncio.gather(*(yahoo.quote(symbol) for symbol in ("AAPL", "MSFT", "NVDA", "TSLA")))
    took = time.monotonic() - began
    ticking.cancel()
    assert took < 4 * 0.5
    assert ticks > 20
    assert sum(thread.name.startswith("yahoo") for thread in threading.enumerate()) <= 4


ROOT = Path(__file__).resolve().parents[2]

CACHES = """
import asyncio, sys
from workers.yfinance.market import YahooMarket
async def read():
    yahoo = YahooMarket(sys.argv[1], 5.0)
    await yahoo.quote("AAPL")
    await yahoo.close()
asyncio.run(read())
from yfinance.cache import _TzDBManager
print(_TzDBManager.get_location())
"""


async def test_the_caches_of_yfinance_are_private_to_the_process(sandbox: Sandbox) -> None:
    # in a process of its own, because yfinance keeps its location for the life of one
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CACHES, f"{sandbox.url}/yahoo", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(done.communicate(), 30)
    assert done.returncode == 0
    location = Path(out.decode().strip())
    assert location.parent == Path(tempfile.gettempdir())
    assert location.name.startswith("autotrader-yfinance-")


class Settings:
    us_second_source = False
    upbit_base_url = kis_base_url = yahoo_base_url = "http://127.0.0.1:9"
    http_timeout_seconds = 1.0


async def test_the_market_is_opened_by_its_name() -> None:
    market = open_market("yfinance", session=None, redis=None, settings=Settings())  # type: ignore[arg-type]
    assert isinstance(market, YahooMarket)
    assert market.market == "yfinance"
    await market.close()
    with pytest.raises(ValueError, match="use one of upbit, kis, yfinance"):
        open_market("nyse", session=None, redis=None, settings=Settings())  # type: ignore[arg-type]
