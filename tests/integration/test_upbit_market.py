"""Upbit over real HTTP against the sandbox, and what every venue's HTTP promises: no leak, one count per request."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sandbox.server import Sandbox
from sandbox.ticks import tick_size
from telemetry import instruments
from trading.candles import check
from trading.errors import BadCandles
from trading.ticks import check_quote
from workers.calls import Call
from workers.errors import BadReply, Rejected, Throttled, TimedOut, UnknownSymbol, Unreachable, VenueError
from workers.http import get_json, open_session
from workers.upbit.errors import judge
from workers.upbit.market import UpbitMarket

BTC = "KRW-BTC"


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
async def session(spans: InMemorySpanExporter) -> AsyncIterator[aiohttp.ClientSession]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    session = open_session(6.0, tracer_provider=provider)
    yield session
    await session.close()


@pytest.fixture
def upbit(sandbox: Sandbox, session: aiohttp.ClientSession) -> UpbitMarket:
    return UpbitMarket(session, f"{sandbox.url}/upbit")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, dict[tuple[str, str, str], float]]]:
    """The counts of `api.calls` and `api.call.duration` by (service, operation, status), zeros left out."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(instruments, "api_calls", meter.create_counter("api.calls"))
    monkeypatch.setattr(instruments, "api_call_duration", meter.create_histogram("api.call.duration", "ms"))

    def read() -> dict[str, dict[tuple[str, str, str], float]]:
        data = reader.get_metrics_data()
        found: dict[str, dict[tuple[str, str, str], float]] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            points: Any = metric.data.data_points
            counts = {
                (point.attributes["service"], point.attributes["operation"], point.attributes["status"]): getattr(
                    point, "count", getattr(point, "value", None)
                )
                for point in points
            }
            found[metric.name] = {key: count for key, count in counts.items() if count}
        return found

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


async def test_an_instrument_is_what_upbit_lists_and_the_list_is_read_once(
    upbit: UpbitMarket, sandbox: Sandbox
) -> None:
    instrument = await upbit.instrument(BTC)
    assert (instrument.name, instrument.asset_type, instrument.currency) == ("비트코인", "crypto", "KRW")
    assert instrument.quantity_step == Decimal("1e-8")
    assert instrument.min_order_value == Decimal(5000)
    assert instrument.fee_rate == Decimal("0.0005")
    await upbit.instrument("KRW-ETH")
    assert isinstance(await failure(upbit.instrument("KRW-NOPE")), UnknownSymbol)
    assert requests(sandbox)["/v1/market/all"] == 1


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (200, 1), (201, 2), (365, 2)])
async def test_days_come_oldest_first_without_gap_or_double_over_pages(
    upbit: UpbitMarket, sandbox: Sandbox, count: int, pages: int
) -> None:
    candles = await upbit.candles(BTC, count)
    check(candles, symbol=BTC, needed=count)
    assert len(candles) == count
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert [candle.time for candle in candles] == [today - timedelta(days=age) for age in reversed(range(count))]
    assert candles == sandbox.book.daily("upbit", BTC)[-count:]
    assert requests(sandbox)["/v1/candles/days"] == pages


async def test_more_days_than_there_are_is_all_there_are(upbit: UpbitMarket, sandbox: Sandbox) -> None:
    assert await upbit.candles(BTC, 5_000) == sandbox.book.daily("upbit", BTC)


@pytest.mark.parametrize("unit", [1, 5, 60])
async def test_minutes_come_oldest_first(upbit: UpbitMarket, sandbox: Sandbox, unit: int) -> None:
    candles = await upbit.minute_candles(BTC, unit, 250)
    check(candles, symbol=BTC, needed=250)
    assert len(candles) == 250
    assert all(candle.time.minute % unit == 0 for candle in candles)


async def test_a_quote_has_the_best_of_the_book_and_the_venues_own_tick(upbit: UpbitMarket, sandbox: Sandbox) -> None:
    quote = await upbit.quote(BTC)
    check_quote(quote)
    assert quote.bid <= quote.price <= quote.ask
    assert quote.price == sandbox.book.price("upbit", BTC)
    assert abs(datetime.now(UTC) - quote.at) < timedelta(seconds=5)
    assert quote.bid_size == quote.ask_size
    assert quote.bid_size is not None
    assert quote.bid_size > 0
    await upbit.quote(BTC)
    # the tick size is kept for an hour, price and book are not kept
    assert requests(sandbox)["/v1/orderbook/instruments"] == 1
    assert requests(sandbox)["/v1/ticker"] == requests(sandbox)["/v1/orderbook"] == 2


async def test_the_ticks_of_all_listed_markets_are_asked_for_at_once(upbit: UpbitMarket, sandbox: Sandbox) -> None:
    symbols = sandbox.book.symbols("upbit")
    for symbol in symbols:
        await upbit.instrument(symbol)
    quotes = await asyncio.gather(*(upbit.quote(symbol) for symbol in symbols))
    asked = requests(sandbox)
    assert asked["/v1/orderbook/instruments"] == 1
    assert asked["/v1/ticker"] == len(symbols) + 1
    assert all(quote.tick_size == tick_size("upbit", quote.price) for quote in quotes)


async def test_one_spoilt_market_leaves_the_others_their_ticks(session: aiohttp.ClientSession) -> None:
    async def answer(request: web.Request) -> web.Response:
        path, markets = request.path.rpartition("/")[2], request.query.get("markets", "")
        asked.append((path, markets))
        if path == "all":
            return web.json_response([{"market": name, "korean_name": "-"} for name in (BTC, "KRW-GONE", "BTC-ETH")])
        if path == "instruments" and "KRW-GONE" in markets:
            return web.json_response({"error": {"name": 404, "message": "Code not found"}}, status=404)
        row: dict[str, Any] = {"market": markets, "timestamp": 1_754_057_055_712, "trade_price": 1400}
        return web.json_response([row | {"orderbook_units": [], "tick_size": "0.5"}])

    asked: list[tuple[str, str]] = []
    async with Stub(answer) as url:
        market = UpbitMarket(session, url)
        await market.instrument(BTC)
        assert (await market.quote(BTC)).tick_size == (await market.quote(BTC)).tick_size == Decimal("0.5")
    assert [markets for path, markets in asked if path == "instruments"] == [f"{BTC},KRW-GONE", BTC]


async def test_without_a_tick_of_the_venue_the_table_is_used(session: aiohttp.ClientSession) -> None:
    async def answer(request: web.Request) -> web.Response:
        row: dict[str, Any] = {"market": BTC, "timestamp": 1_754_057_055_712, "trade_price": 1234.5}
        row |= {"orderbook_units": [{"ask_price": 0, "bid_price": 1234, "ask_size": 7, "bid_size": 1.5}]}
        return web.json_response([] if request.path.endswith("instruments") else [row])

    async with Stub(answer) as url:
        quote = await UpbitMarket(session, url).quote(BTC)
    assert quote.tick_size == Decimal(1)
    assert (quote.bid, quote.ask) == (Decimal(1234), Decimal("1234.5"))
    # no units are on offer on the side that is empty
    assert (quote.bid_size, quote.ask_size) == (Decimal("1.5"), None)


async def test_the_tick_at_a_price_is_the_one_upbit_named_for_its_band_else_the_tables(
    session: aiohttp.ClientSession,
) -> None:
    last = 1400

    async def answer(request: web.Request) -> web.Response:
        row: dict[str, Any] = {"market": "KRW-USDT", "timestamp": 1_754_057_055_712, "trade_price": last}
        row |= {"korean_name": "테더", "orderbook_units": [], "tick_size": "0.5"}
        asked.append(request.path.rpartition("/")[2])
        return web.json_response([row])

    asked: list[str] = []
    async with Stub(answer) as url:
        market = UpbitMarket(session, url)
        usdt = await market.instrument("KRW-USDT")
        # before Upbit was asked there is only the table
        assert market.tick_size(usdt, Decimal(1400)) == Decimal(1)
        assert (await market.quote("KRW-USDT")).tick_size == Decimal("0.5")
        before = len(asked)
        assert market.tick_size(usdt, Decimal(1400)) == market.tick_size(usdt, Decimal(4999)) == Decimal("0.5")
        assert market.tick_size(usdt, Decimal(5000)) == Decimal(5)
        assert market.tick_size(usdt, Decimal("99.9")) == Decimal("0.1")
        assert market.tick_size(replace(usdt, symbol=BTC), Decimal(1400)) == Decimal(1)
        assert len(asked) == before
        # what was named in one band is not taken for another when the price gets there
        last = 6000
        await market.quote("KRW-USDT")
        assert asked.count("instruments") == 2


async def test_rows_of_another_market_are_refused(session: aiohttp.ClientSession) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response([{"market": "KRW-ETH", "timestamp": 1_754_057_055_712, "trade_price": 1}])

    async with Stub(answer) as url:
        assert "answered rows of KRW-ETH" in str(await failure(UpbitMarket(session, url).quote(BTC)))


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ({"kind": "hang"}, TimedOut, "no answer within 6 s"),
        ({"kind": "close"}, Unreachable, "check the network and UPBIT_BASE_URL"),
        ({"kind": "html"}, BadReply, "answered HTML, not JSON (HTTP 200)"),
        ({"kind": "html", "status": 503}, BadReply, "answered HTML, not JSON (HTTP 503)"),
        ({"kind": "error"}, BadReply, "answered HTTP 500"),
        ({"kind": "error", "status": 403}, Rejected, "refused, internal_server_error"),
        ({"kind": "throttle"}, Throttled, "over the rate limit"),
        ({"kind": "throttle", "status": 418, "retry_after": 7}, Throttled, "wait 7 s"),
    ],
)
async def test_a_venue_that_fails_is_one_clear_error_after_one_request(
    upbit: UpbitMarket, sandbox: Sandbox, fault: dict[str, Any], kind: type[VenueError], text: str
) -> None:
    sandbox.faults.order({"service": "upbit", "symbol": BTC, **fault})
    error = await failure(upbit.candles(BTC, 10))
    assert type(error) is kind
    assert str(error).startswith("upbit candles_days KRW-BTC: ")
    assert text in str(error)
    assert requests(sandbox)["/v1/candles/days"] == 1


async def test_a_port_where_nothing_listens_is_unreachable(session: aiohttp.ClientSession) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(UpbitMarket(session, f"http://127.0.0.1:{port}").candles(BTC, 1))
    assert isinstance(error, Unreachable)
    assert "Connection refused" in str(error)


async def test_spoiled_candles_are_named_and_never_repaired(upbit: UpbitMarket, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "upbit", "kind": "candles", "variant": "nan", "count": 1})
    assert "row 1, field opening_price" in str(await failure(upbit.candles(BTC, 30)))
    for variant in ("zero", "negative", "few"):
        sandbox.faults.order({"service": "upbit", "kind": "candles", "variant": variant, "count": 1})
        candles = await upbit.candles(BTC, 30)
        with pytest.raises(BadCandles):
            check(candles, symbol=BTC, needed=30)


async def test_one_request_is_one_count(
    upbit: UpbitMarket, sandbox: Sandbox, calls: Callable[[], dict[str, dict[tuple[str, str, str], float]]]
) -> None:
    await upbit.candles(BTC, 365)
    await upbit.quote(BTC)
    sandbox.faults.order({"service": "upbit", "kind": "throttle", "count": 1})
    await failure(upbit.candles(BTC, 10))
    sandbox.faults.order({"service": "upbit", "kind": "candles", "variant": "nan", "count": 1})
    # an answer that was understood is a success of the call, whatever is wrong with its values
    await failure(upbit.candles(BTC, 10))
    expected = {
        ("upbit", "candles_days", "success"): 3,
        ("upbit", "candles_days", "error"): 1,
        ("upbit", "ticker", "success"): 1,
        ("upbit", "orderbook", "success"): 1,
        ("upbit", "orderbook_instruments", "success"): 1,
    }
    assert calls() == {"api.calls": expected, "api.call.duration": expected}
    assert sum(expected.values()) == len(sandbox.requests.listed())


async def test_a_span_shows_where_a_request_went_but_not_its_query(
    upbit: UpbitMarket, sandbox: Sandbox, spans: InMemorySpanExporter
) -> None:
    await upbit.candles(BTC, 10)
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == ("GET", SpanKind.CLIENT)
    assert span.attributes is not None
    assert span.attributes["http.url"] == f"{sandbox.url}/upbit/v1/candles/days"
    assert span.attributes["http.status_code"] == 200
    spans.clear()
    sandbox.faults.order({"service": "upbit", "kind": "hang"})
    await failure(upbit.candles(BTC, 10))
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok
    assert BTC not in str(span.attributes)
    assert [event.attributes["exception.type"] for event in span.events if event.attributes] == [
        "workers.errors.TimedOut"
    ]


@pytest.mark.parametrize("everywhere", [False, True])
async def test_no_trace_header_goes_to_a_venue(everywhere: bool) -> None:
    if everywhere:
        AioHttpClientInstrumentor().instrument()
    session = open_session(3.0)
    if everywhere:
        AioHttpClientInstrumentor().uninstrument()
    received: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        received.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response([])

    async with Stub(answer) as url:
        provider = TracerProvider()
        token = context.attach(baggage.set_baggage("secret", "baggage"))
        try:
            with provider.get_tracer("test").start_as_current_span("task") as span:
                assert trace.get_current_span() is span
                await get_json(
                    session, Call("upbit", "ticker"), f"{url}/v1/ticker", judge=judge, headers={"x-own": "1"}
                )
        finally:
            context.detach(token)
            await session.close()
    (headers,) = received
    assert headers["x-own"] == "1"
    assert not {"traceparent", "tracestate", "baggage"} & set(headers)
    assert "secret" not in str(headers)


async def test_a_redirect_is_not_followed(session: aiohttp.ClientSession) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({}, status=302, headers={"Location": "/elsewhere"})

    async with Stub(answer) as url:
        read = get_json(session, Call("kis", "price", "005930"), f"{url}/price", judge=lambda *_: None)
        assert "answered HTTP 302" in str(await failure(read))
    assert asked == ["/price"]


class Stub:
    """A server that answers every request alike, for what the sandbox does not record or do."""

    def __init__(self, answer: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
