"""KIS over real HTTP against the sandbox, its token in a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from sandbox.candles import aggregate
from sandbox.client import SandboxControl, SandboxError
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from trading.candles import check
from trading.errors import BadCandles
from trading.ticks import check_quote
from workers.errors import BadCredentials, BadReply, Throttled, TimedOut, UnknownSymbol, Unreachable, VenueError
from workers.http import open_session
from workers.kis.auth import SharedToken
from workers.kis.market import KisMarket

SAMSUNG, HYNIX = "005930", "000660"
KEY, SECRET = "PSappkey0123456789", "appsecret0123456789/+="
PRICE = "/uapi/domestic-stock/v1/quotations/inquire-price"
DAYS = "/uapi/domestic-stock/v1/quotations/inquire-daily-itemchartprice"
MINUTES = "/uapi/domestic-stock/v1/quotations/inquire-time-itemchartprice"
TOKEN = "/oauth2/tokenP"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with LocalRedis() as server:
        yield server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    session = open_session(3.0)
    yield session
    await session.close()


@pytest.fixture
def kis(sandbox: Sandbox, session: aiohttp.ClientSession, redis: Redis) -> KisMarket:
    return KisMarket(session, redis, f"{sandbox.url}/kis", KEY, SECRET)


@pytest.fixture
def stranger(sandbox: Sandbox, redis_url: str) -> Callable[[], KisMarket]:
    """The market as another process has it: its own session and its own Redis pool, which answers bytes."""

    def open_one() -> KisMarket:
        return KisMarket(open_session(3.0), Redis.from_url(redis_url), f"{sandbox.url}/kis", KEY, SECRET)

    return open_one


def requests(sandbox: Sandbox) -> Counter[str]:
    return Counter(request["path"] for request in sandbox.requests.listed())


async def failure(read: Awaitable[object]) -> VenueError:
    with pytest.raises(VenueError) as caught:
        await read
    error = caught.value
    for secret in ("://", "127.0.0.1", KEY, SECRET, "eyJ"):
        assert secret not in str(error)
    assert "\n" not in str(error)
    return error


async def end(market: KisMarket) -> None:
    await market._client._session.close()
    await market._client._token._redis.aclose()


async def test_an_instrument_has_its_korean_name_or_its_code(kis: KisMarket, sandbox: Sandbox) -> None:
    instrument = await kis.instrument(SAMSUNG)
    assert (instrument.name, instrument.asset_type, instrument.currency) == ("삼성전자", "equity_kr", "KRW")
    assert (instrument.quantity_step, instrument.min_order_value) == (1, 1)
    assert instrument.fee_rate == Decimal("0.00015")
    assert (await kis.instrument("0001A0")).name == "0001A0"
    for symbol in ("5930", "KRW-BTC", "00593O1", "삼성전자전자"):
        assert isinstance(await failure(kis.instrument(symbol)), UnknownSymbol)
    assert not requests(sandbox)


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (100, 1), (250, 3), (5_000, 5)])
async def test_days_come_oldest_first_over_windows(kis: KisMarket, sandbox: Sandbox, count: int, pages: int) -> None:
    candles = await kis.candles(SAMSUNG, count)
    check(candles, symbol=SAMSUNG, needed=1)
    assert candles == sandbox.book.daily("kis", SAMSUNG)[-count:]
    assert requests(sandbox)[DAYS] <= pages


async def test_a_listing_of_few_days_is_not_asked_for_again_and_again(kis: KisMarket, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "kis", "kind": "candles", "variant": "few"})
    assert len(await kis.candles(SAMSUNG, 200)) == 3
    assert requests(sandbox)[DAYS] == 1


@pytest.mark.parametrize("unit", [1, 5, 60])
async def test_minutes_of_today_make_whole_candles(
    sandbox: Sandbox, session: aiohttp.ClientSession, redis: Redis, unit: int
) -> None:
    # 14:07 in Korea, in the middle of a session
    now = datetime.now(UTC).replace(hour=5, minute=7, second=30, microsecond=0)
    sandbox.book.now = lambda: now
    kis = KisMarket(session, redis, f"{sandbox.url}/kis", KEY, SECRET, clock=lambda: now)
    candles = await kis.minute_candles(SAMSUNG, unit, 4)
    minutes = [candle for candle in sandbox.book.minutes("kis", SAMSUNG, 1) if candle.time.date() == now.date()]
    today = aggregate(minutes, unit)
    assert len(candles) == 4
    assert candles == today[-4:]
    everything = await kis.minute_candles(SAMSUNG, unit, 1_000)
    assert everything == today
    # half an hour a page: four hours of it, then all of the five since the opening
    assert requests(sandbox)[MINUTES] <= 7 + 11


async def test_before_the_session_there_are_no_minutes(
    sandbox: Sandbox, session: aiohttp.ClientSession, redis: Redis
) -> None:
    now = datetime.now(UTC).replace(hour=23, minute=0)
    kis = KisMarket(session, redis, f"{sandbox.url}/kis", KEY, SECRET, clock=lambda: now)
    sandbox.book.now = lambda: now
    assert await kis.minute_candles(SAMSUNG, 5, 10) == []


async def test_a_quote_has_book_and_tick(kis: KisMarket, sandbox: Sandbox) -> None:
    quote = await kis.quote(SAMSUNG)
    check_quote(quote)
    assert quote.bid <= quote.price <= quote.ask
    assert quote.price == sandbox.book.price("kis", SAMSUNG)
    assert quote.tick_size == Decimal(100)
    assert (quote.bid_size or 0) > 0
    assert (quote.ask_size or 0) > 0


async def test_the_step_of_a_price_is_the_tables_for_what_the_instrument_is(
    kis: KisMarket, session: aiohttp.ClientSession, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    stock, fund = await kis.instrument(SAMSUNG), await kis.instrument("069500")
    prices = [Decimal(price) for price in (1_999, 4_990, 60_000, 700_000)]
    assert [kis.tick_size(stock, price) for price in prices] == [1, 5, 100, 1_000]
    assert [kis.tick_size(fund, price) for price in prices] == [1, 5, 5, 5]
    steps = iter(["5", "7", "7"])

    def answer(request: web.Request) -> dict[str, Any]:
        tick = next(steps) if "inquire-price" in request.path else ""
        return {"output": {"stck_prpr": "35000", "aspr_unit": tick}, "output1": {"askp1": "35005", "bidp1": "35000"}}

    async with Stub(answer) as url:
        market = KisMarket(session, redis, url, KEY, SECRET)
        other = await market.instrument("102110")
        assert market.tick_size(other, Decimal(35_000)) == 50
        # what the venue says of it tells that it is a fund
        quote = await market.quote("102110")
        assert (quote.tick_size, quote.bid_size) == (5, None)
        assert market.tick_size(other, Decimal(60_000)) == 5
        assert not caplog.records
        # a step that no table has stays the venue's in the quote, and is told once
        assert [(await market.quote("102110")).tick_size for _ in range(2)] == [7, 7]
        assert [record.getMessage() for record in caplog.records] == [
            "kis 102110: its price step at 35000 is 7, the table says 5; see workers/kis/ticks.json"
        ]


async def test_a_price_that_is_set_is_in_quote_book_and_candles_alike(kis: KisMarket, sandbox: Sandbox) -> None:
    control = SandboxControl(sandbox.url)
    before, days = await kis.quote(SAMSUNG), await kis.candles(SAMSUNG, 3)
    other = await kis.quote(HYNIX)
    low = before.price - 10 * before.tick_size
    for price in (low, before.price):
        await asyncio.to_thread(control.post, "kis/price", {"symbol": SAMSUNG, "price": str(price)})
        quote = await kis.quote(SAMSUNG)
        assert (quote.price, quote.bid, quote.ask) == (price, price - 100, price + 100)
    moved = await kis.candles(SAMSUNG, 3)
    assert moved[:-1] == days[:-1]
    assert (moved[-1].close, moved[-1].low, moved[-1].high) == (
        before.price,
        min(low, days[-1].low),
        days[-1].high,
    )
    await asyncio.to_thread(control.post, "kis/price", {"symbol": SAMSUNG, "price": str(low)})
    assert (await kis.candles(SAMSUNG, 1))[-1].close == low
    assert (await kis.quote(HYNIX)).price == other.price
    for body in ({"symbol": "999999", "price": "100"}, {"symbol": SAMSUNG, "price": "60001"}, {"symbol": SAMSUNG}):
        with pytest.raises(SandboxError):
            await asyncio.to_thread(control.post, "kis/price", body)
    await asyncio.to_thread(control.delete, "kis/price")
    assert await kis.candles(SAMSUNG, 3) == days
    assert (await kis.quote(SAMSUNG)).price == before.price


async def test_minutes_after_a_set_price_have_it(
    sandbox: Sandbox, session: aiohttp.ClientSession, redis: Redis
) -> None:
    now = datetime.now(UTC).replace(hour=5, minute=7, second=30, microsecond=0)
    sandbox.book.now = lambda: now
    earlier = [minute for minute in sandbox.book.minutes("kis", SAMSUNG, 1) if minute.time.date() == now.date()]
    price = sandbox.book.price("kis", SAMSUNG) - 500
    await asyncio.to_thread(SandboxControl(sandbox.url).post, "kis/price", {"symbol": SAMSUNG, "price": str(price)})
    later = now + timedelta(minutes=3)
    sandbox.book.now = lambda: later
    kis = KisMarket(session, redis, f"{sandbox.url}/kis", KEY, SECRET, clock=lambda: later)
    minutes = await kis.minute_candles(SAMSUNG, 1, 1_000)
    assert minutes[: len(earlier) - 1] == earlier[:-1]
    assert minutes[len(earlier) - 1].close == price
    after = minutes[len(earlier) :]
    assert len(after) == 3
    assert {value for minute in after for value in (minute.open, minute.high, minute.low, minute.close)} == {price}


async def test_outside_the_session_bid_and_ask_are_the_price(session: aiohttp.ClientSession, redis: Redis) -> None:
    def answer(request: web.Request) -> dict[str, Any]:
        return {"output": {"stck_prpr": "70000", "aspr_unit": "100"}, "output1": {"askp1": "0", "bidp1": "0"}}

    async with Stub(answer) as url:
        quote = await KisMarket(session, redis, url, KEY, SECRET).quote(SAMSUNG)
    assert quote.price == quote.bid == quote.ask == Decimal(70000)


async def test_a_code_that_is_not_listed_is_unknown(kis: KisMarket) -> None:
    assert isinstance(await failure(kis.quote("999999")), UnknownSymbol)
    assert isinstance(await failure(kis.candles("999999", 10)), UnknownSymbol)


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ({"kind": "hang"}, TimedOut, "no answer within 3 s"),
        ({"kind": "close"}, Unreachable, "KIS_BASE_URL"),
        ({"kind": "html", "status": 502}, BadReply, "answered HTML, not JSON (HTTP 502)"),
        ({"kind": "error"}, BadReply, "answered HTTP 500"),
        # KIS answers this one with HTTP 500 and JSON
        ({"kind": "throttle"}, Throttled, "EGW00201"),
    ],
)
async def test_a_venue_that_fails_is_one_clear_error_after_one_request(
    kis: KisMarket, sandbox: Sandbox, fault: dict[str, Any], kind: type[VenueError], text: str
) -> None:
    sandbox.faults.order({"service": "kis", "symbol": SAMSUNG, **fault})
    error = await failure(kis.quote(SAMSUNG))
    assert type(error) is kind
    assert str(error).startswith("kis price 005930: ")
    assert text in str(error)
    assert requests(sandbox) == {TOKEN: 1, PRICE: 1}


@pytest.mark.parametrize("variant", ["nan", "zero", "negative"])
async def test_spoiled_candles_are_passed_on_for_the_check_to_name(
    kis: KisMarket, sandbox: Sandbox, variant: str
) -> None:
    sandbox.faults.order({"service": "kis", "kind": "candles", "variant": variant})
    candles = await kis.candles(SAMSUNG, 30)
    with pytest.raises(BadCandles, match=SAMSUNG):
        check(candles, symbol=SAMSUNG, needed=30)


async def test_many_processes_ask_for_one_token(
    kis: KisMarket, sandbox: Sandbox, stranger: Callable[[], KisMarket]
) -> None:
    others = [stranger() for _ in range(3)]
    # long enough for every process to find that there is no token
    sandbox.faults.order({"service": "kis", "kind": "slow", "path": "tokenP", "seconds": 0.5})
    await asyncio.gather(*(market.quote(SAMSUNG) for market in (kis, *others) for _ in range(5)))
    assert requests(sandbox)[TOKEN] == 1
    for market in others:
        await end(market)


async def test_redis_holds_the_token_until_ten_minutes_before_its_end_and_no_key(kis: KisMarket, redis: Redis) -> None:
    await kis.quote(SAMSUNG)
    (name,) = await redis.keys("kis:token:*")
    assert KEY not in "".join(await redis.keys("*"))
    assert 86_400 - 600 - 10 <= await redis.ttl(name) <= 86_400 - 600
    assert KEY not in await redis.get(name)


async def test_a_refused_token_is_replaced_once(kis: KisMarket, sandbox: Sandbox, redis: Redis) -> None:
    await redis.set(kis._client._token._token_key, "revoked")
    await kis.quote(SAMSUNG)
    assert requests(sandbox)[TOKEN] == 1
    assert requests(sandbox)[PRICE] == 2


@pytest.mark.parametrize("code", ["EGW00121", "EGW00123"])
async def test_a_new_token_that_is_refused_too_is_the_keys_fault(
    session: aiohttp.ClientSession, redis: Redis, code: str
) -> None:
    stub = Stub(lambda _: {"rt_cd": "1", "msg_cd": code, "msg1": "token"}, status=500)
    async with stub as url:
        error = await failure(KisMarket(session, redis, url, KEY, SECRET).quote(SAMSUNG))
    assert type(error) is BadCredentials
    assert "a new access token was refused as well" in str(error)
    assert stub.asked == {TOKEN: 2, PRICE: 2}


async def test_a_token_of_another_process_is_not_dropped(kis: KisMarket, redis: Redis) -> None:
    token = kis._client._token
    await redis.set(token._token_key, "newer")
    await token.drop("older")
    assert await token.token() == "newer"


async def test_refused_keys_are_bad_credentials(session: aiohttp.ClientSession, redis: Redis) -> None:
    def refuse(_: web.Request) -> dict[str, Any]:
        return {"error_code": "EGW00103", "error_description": f"유효하지 않은 AppKey입니다. {KEY}"}

    async with Stub(refuse, status=403, token=False) as url:
        error = await failure(KisMarket(session, redis, url, KEY, SECRET).quote(SAMSUNG))
    assert type(error) is BadCredentials
    assert "EGW00103" in str(error)


async def test_too_soon_for_a_token_is_remembered_by_all_processes(
    kis: KisMarket, sandbox: Sandbox, stranger: Callable[[], KisMarket]
) -> None:
    sandbox.faults.order({"service": "kis", "kind": "token"})
    other = stranger()
    for market in (kis, kis, other):
        began = time.monotonic()
        error = await failure(market.quote(SAMSUNG))
        assert isinstance(error, Throttled)
        assert 60 < error.retry_after <= 65
        assert time.monotonic() - began < 2
    assert requests(sandbox) == {TOKEN: 1}
    await end(other)


async def test_a_short_wait_for_a_token_is_waited_out(
    sandbox: Sandbox, session: aiohttp.ClientSession, redis: Redis
) -> None:
    sandbox.faults.order({"service": "kis", "kind": "token", "count": 1})
    token = SharedToken(session, redis, f"{sandbox.url}/kis", KEY, SECRET, backoff_seconds=0.4, wait_seconds=5)
    began = time.monotonic()
    assert await token.token()
    assert time.monotonic() - began >= 0.4
    assert requests(sandbox) == {TOKEN: 2}


async def test_a_holder_of_the_lock_that_never_ends_is_waited_for_within_bounds(
    sandbox: Sandbox, session: aiohttp.ClientSession, redis: Redis
) -> None:
    token = SharedToken(session, redis, f"{sandbox.url}/kis", KEY, SECRET, wait_seconds=0.3)
    await redis.set(token._lock_key, "another process", px=60_000)
    error = await failure(token.token())
    assert isinstance(error, Throttled)
    assert await redis.get(token._lock_key) == "another process"
    assert not requests(sandbox)


async def test_a_failed_request_for_a_token_frees_the_lock(kis: KisMarket, sandbox: Sandbox, redis: Redis) -> None:
    sandbox.faults.order({"service": "kis", "kind": "hang", "path": "tokenP", "count": 1})
    assert isinstance(await failure(kis.quote(SAMSUNG)), TimedOut)
    assert await redis.keys("*") == []
    await kis.quote(SAMSUNG)


async def test_a_token_that_has_ended_by_the_clock_is_still_asked_for_at_most_once_a_minute(
    session: aiohttp.ClientSession, redis: Redis
) -> None:
    stub = Stub(lambda _: {"output": {"stck_prpr": "1", "aspr_unit": "1"}, "output1": {"askp1": "1", "bidp1": "1"}})
    stub.expiry = datetime(2020, 1, 1, tzinfo=UTC)
    async with stub as url:
        kis = KisMarket(session, redis, url, KEY, SECRET)
        await kis.quote(SAMSUNG)
        await kis.quote(SAMSUNG)
    assert stub.asked[TOKEN] == 1


async def test_without_redis_the_error_names_it(sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
    redis: Redis = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    error = await failure(KisMarket(session, redis, f"{sandbox.url}/kis", KEY, SECRET).quote(SAMSUNG))
    assert isinstance(error, Unreachable)
    assert "REDIS_URL" in str(error)
    await redis.aclose()


async def test_no_span_holds_a_key_or_a_token(sandbox: Sandbox, redis: Redis) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    session = open_session(3.0, tracer_provider=provider)
    kis = KisMarket(session, redis, f"{sandbox.url}/kis", KEY, SECRET)
    await kis.quote(SAMSUNG)
    sandbox.faults.order({"service": "kis", "kind": "close"})
    await failure(kis.quote(SAMSUNG))
    await session.close()
    (name,) = await redis.keys("kis:token:*")
    text = "".join(span.to_json() for span in spans.get_finished_spans())
    assert len(spans.get_finished_spans()) == 4
    for secret in (KEY, SECRET, await redis.get(name), "FID_INPUT_ISCD"):
        assert secret not in text


class Stub:
    """KIS as the sandbox cannot be: it issues tokens and answers every other call with `answer`."""

    def __init__(
        self, answer: Callable[[web.Request], dict[str, Any]], *, status: int = 200, token: bool = True
    ) -> None:
        self.asked: Counter[str] = Counter()
        self.expiry = datetime.now(UTC) + timedelta(days=1)
        self._answer = answer
        self._status = status
        self._issues = token
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app)

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        if self._issues and request.path == TOKEN:
            expiry = f"{self.expiry + timedelta(hours=9):%Y-%m-%d %H:%M:%S}"
            return web.json_response({"access_token": "issued", "access_token_token_expired": expiry})
        body = self._answer(request)
        return web.json_response(body if "error_code" in body else {"rt_cd": "0"} | body, status=self._status)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
