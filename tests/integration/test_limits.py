"""Rate limits over a real Redis, real HTTP and real processes, against venues that count."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from storage.redis import open_redis
from telemetry import instruments
from workers.calls import Call
from workers.errors import Throttled
from workers.http import VenueHttp, get_json, open_session, request_json
from workers.kis.market import KisMarket
from workers.limits import BlockingGate, Bucket, Limiter, bucket_of
from workers.limits.limiter import REDIS_AGAIN_SECONDS
from workers.upbit.client import UpbitClient
from workers.upbit.errors import judge
from workers.yfinance.market import YahooMarket

BTC = "KRW-BTC"
CANDLES = Call("upbit", "candles_days", BTC)
CANCEL_ALL = Call("upbit", "cancel_all")
PLACE = Call("upbit", "place_order", BTC)
WAY_SECONDS = 0.5


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_server.url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(enforce_limits=True)
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def http(redis: Redis) -> AsyncIterator[VenueHttp]:
    http = open_session(5.0, limiter=Limiter(redis))
    yield http
    await http.close()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """The data points of an instrument of the limiter, by its name."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(instruments, "limiter_wait", meter.create_histogram("wait", "ms"))
    monkeypatch.setattr(instruments, "limiter_refused", meter.create_counter("refused"))
    monkeypatch.setattr(instruments, "venue_throttled", meter.create_counter("throttled"))
    monkeypatch.setattr(instruments, "api_calls", meter.create_counter("calls"))
    monkeypatch.setattr(instruments, "api_call_duration", meter.create_histogram("duration", "ms"))

    def read(name: str) -> list[Any]:
        data = reader.get_metrics_data()
        if data is None:
            return []
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

    return read


def bucket(call: Call, url: str = "https://api.upbit.com/") -> Bucket:
    found = bucket_of(call, url)
    assert found is not None
    return found


def fullest(times: list[float], window: float) -> int:
    """The most of `times` in any half-open window of that many seconds."""
    ordered = sorted(times)
    return max(sum(1 for other in ordered if time <= other < time + window) for time in ordered)


def _take(redis_url: str, count: int, times: Any) -> None:
    async def take() -> list[float]:
        redis = open_redis(redis_url)
        limiter = Limiter(redis)

        async def one() -> float:
            await limiter.enter(bucket(CANDLES), CANDLES, max_wait=10)
            return time.monotonic()

        taken = await asyncio.gather(*(one() for _ in range(count)))
        await redis.aclose()
        return taken

    times.put(asyncio.run(take()))


async def test_two_processes_together_never_exceed_the_limit(redis: Redis, redis_server: LocalRedis) -> None:
    context = multiprocessing.get_context("spawn")
    times = context.Queue()
    processes = [context.Process(target=_take, args=(redis_server.url, 20, times)) for _ in range(2)]
    for process in processes:
        process.start()
    taken = [await asyncio.to_thread(times.get, True, 30) for _ in processes]
    for process in processes:
        process.join()
    together = [moment for part in taken for moment in part]
    assert len(together) == 40
    assert fullest(together, 1.0) <= 10
    # three whole windows after the first ten, and not much more
    assert 3.0 < max(together) - min(together) < 4.5


async def test_the_venue_sees_no_excess_however_many_ask_at_once(sandbox: Sandbox, http: VenueHttp) -> None:
    client = UpbitClient(http, f"{sandbox.url}/upbit")
    await asyncio.gather(*(client.ticker(BTC) for _ in range(25)), *(client.orderbook(BTC) for _ in range(12)))
    assert sandbox.limits is not None
    counts = sandbox.limits.summary()
    assert (counts["upbit/ticker"]["served"], counts["upbit/orderbook"]["served"]) == (25, 12)
    assert sum(group["refused"] for group in counts.values()) == 0


async def test_kis_sees_no_excess_per_app_key(sandbox: Sandbox, http: VenueHttp, redis: Redis) -> None:
    kis = KisMarket(http, redis, f"{sandbox.url}/kis", "key-of-kis", "secret")
    await asyncio.gather(*(kis.quote("005930") for _ in range(15)))
    assert sandbox.limits is not None
    assert sandbox.limits.summary()["kis/rest"]["refused"] == 0
    assert sandbox.limits.summary()["kis/rest"]["served"] == 30


async def test_without_a_limiter_the_sandbox_refuses_and_shows_it(sandbox: Sandbox) -> None:
    bare = open_session(5.0)
    client = UpbitClient(bare, f"{sandbox.url}/upbit")
    results = await asyncio.gather(*(client.ticker(BTC) for _ in range(15)), return_exceptions=True)
    assert sum(isinstance(result, Throttled) for result in results) == 5
    await bare.close()
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox.url}/control/summary") as reply:
        assert (await reply.json())["limits"]["upbit/ticker"] == {"served": 10, "refused": 5, "most": 11}


async def test_a_late_sender_does_not_crowd_the_window(redis: Redis) -> None:
    limiter = Limiter(redis)
    times: list[float] = []

    async def one() -> None:
        await limiter.enter(bucket(CANDLES), CANDLES, max_wait=10)
        times.append(time.monotonic())

    tasks = [asyncio.create_task(one()) for _ in range(25)]
    await asyncio.sleep(0.95)
    # the loop oversleeps the second window's slots
    time.sleep(0.5)  # noqa: ASYNC251
    await asyncio.gather(*tasks)
    assert fullest(times, 1.0) <= 10


async def test_a_request_that_reached_the_venue_late_holds_up_its_successor(sandbox: Sandbox, http: VenueHttp) -> None:
    client = UpbitClient(http, f"{sandbox.url}/upbit")
    call = Call("upbit", "market_all")
    limiter = http.limiter
    assert limiter is not None
    market = bucket(call, f"{sandbox.url}/upbit")
    for _ in range(9):
        await limiter.enter(market, call, max_wait=5)
    sandbox.faults.order({"service": "upbit", "kind": "slow", "path": "/market/all", "seconds": 0.5, "count": 1})
    started = time.monotonic()
    await client.market_all()
    waits = [(await limiter.enter(market, call, max_wait=5), time.monotonic() - started)[1] for _ in range(10)]
    assert waits[8] < 1.4
    # a second after the answer, for who knows when it arrived
    assert waits[9] > 1.5


async def test_who_would_wait_too_long_is_told_at_once_and_takes_no_slot(
    redis: Redis, recorded: Callable[[str], list[Any]]
) -> None:
    limiter = Limiter(redis)
    await limiter.enter(bucket(CANCEL_ALL), CANCEL_ALL, max_wait=5)
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(Throttled, match="has no slot") as caught:
            await limiter.enter(bucket(CANCEL_ALL), CANCEL_ALL, max_wait=1)
        assert 1.5 < caught.value.retry_after <= 2.1
    assert time.monotonic() - started < 0.5
    (point,) = recorded("refused")
    assert (point.value, dict(point.attributes)) == (
        3,
        {"service": "upbit", "group": "order-cancel-all", "reason": "full"},
    )
    # the next free slot is still the second one
    assert (await limiter.enter(bucket(CANCEL_ALL), CANCEL_ALL, max_wait=5)).waited < 2.3


async def test_a_429_closes_its_group_for_all_processes_also_for_those_who_wait(
    sandbox: Sandbox, http: VenueHttp, redis: Redis, recorded: Callable[[str], list[Any]]
) -> None:
    url = f"{sandbox.url}/upbit"
    other = Limiter(redis)
    candles = bucket(CANDLES, url)
    times: list[float] = []

    async def wait() -> None:
        await other.enter(candles, CANDLES, max_wait=5)
        times.append(time.monotonic())

    sandbox.faults.order({"service": "upbit", "kind": "throttle", "path": "/candles", "count": 1})
    refused = asyncio.create_task(UpbitClient(http, url).candles_days(BTC, 1))
    waiting = [asyncio.create_task(wait()) for _ in range(11)]
    with pytest.raises(Throttled, match="over the rate limit"):
        await refused
    closed = time.monotonic()
    with pytest.raises(Throttled, match="not sent"):
        await other.enter(candles, CANDLES, max_wait=0.3)
    # another group is open
    await other.enter(bucket(Call("upbit", "ticker"), url), "ticker", max_wait=0.3)
    await asyncio.gather(*waiting)
    # some had gone before; of the rest nobody goes before the gate opens
    later = [moment - closed for moment in times if moment > closed + 0.01]
    assert len(later) >= 5
    assert min(later) > 0.95
    points = {tuple(point.attributes.values()): point.value for point in recorded("throttled") if point.value}
    assert points == {("upbit", "candle", "429"): 1}


async def test_a_418_closes_the_whole_venue_until_its_time(sandbox: Sandbox, http: VenueHttp, redis: Redis) -> None:
    url = f"{sandbox.url}/upbit"
    client = UpbitClient(http, url)
    sandbox.faults.order({"service": "upbit", "kind": "throttle", "status": 418, "retry_after": 30, "count": 1})
    with pytest.raises(Throttled, match="blocked"):
        await client.ticker(BTC)
    before = len(sandbox.requests.listed())
    for read in (client.orderbook(BTC), client.candles_days(BTC, 1), client.ticker(BTC)):
        with pytest.raises(Throttled, match="closed after a refusal") as caught:
            await read
        assert 28 < caught.value.retry_after <= 30
    assert len(sandbox.requests.listed()) == before
    # another process, and an order
    with pytest.raises(Throttled):
        await Limiter(redis).enter(bucket(PLACE, url), PLACE, max_wait=5)


async def test_a_gate_that_closed_while_redis_was_away_is_closed_for_all_when_it_is_back(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/upbit"
    with LocalRedis() as server:
        redis = open_redis(server.url)
        http = open_session(5.0, limiter=Limiter(redis))
        client = UpbitClient(http, url)
        await client.ticker(BTC)
        server.stop(abruptly=True)
        sandbox.faults.order({"service": "upbit", "kind": "throttle", "status": 418, "retry_after": 60, "count": 1})
        with pytest.raises(Throttled, match="blocked"):
            await client.ticker(BTC)
        asked = len(sandbox.requests.listed())
        server.start()
        await asyncio.sleep(REDIS_AGAIN_SECONDS + 0.1)
        for read in (client.ticker(BTC), client.candles_days(BTC, 1)):
            with pytest.raises(Throttled, match="closed after a refusal") as caught:
                await read
            assert 0 < caught.value.retry_after <= 60
        # another process hears of it from Redis, and an order is held back too
        with pytest.raises(Throttled, match="closed after a refusal"):
            await Limiter(redis).enter(bucket(PLACE, url), PLACE, max_wait=5, fail_closed=True)
        assert len(sandbox.requests.listed()) == asked
        await http.close()
        await redis.aclose()


async def test_kis_refusing_by_code_closes_the_app_keys_gate(sandbox: Sandbox, http: VenueHttp, redis: Redis) -> None:
    kis = KisMarket(http, redis, f"{sandbox.url}/kis", "key-of-kis", "secret")
    await kis.quote("005930")
    sandbox.faults.order({"service": "kis", "kind": "throttle", "path": "inquire-price", "count": 1})
    with pytest.raises(Throttled, match="EGW00201"):
        await kis.quote("005930")
    refused = time.monotonic()
    await kis.quote("005930")
    assert time.monotonic() - refused >= 0.95


async def test_a_cancelled_waiter_loses_its_slot_and_nothing_more(redis: Redis) -> None:
    limiter = Limiter(redis)
    await limiter.enter(bucket(CANCEL_ALL), CANCEL_ALL, max_wait=5)
    started = time.monotonic()
    cancelled = asyncio.create_task(limiter.enter(bucket(CANCEL_ALL), CANCEL_ALL, max_wait=5))
    await asyncio.sleep(0.1)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    await limiter.enter(bucket(CANCEL_ALL), CANCEL_ALL, max_wait=5)
    assert 3.9 < time.monotonic() - started < 4.5


async def test_what_is_not_limited_does_not_wait(redis: Redis, sandbox: Sandbox, http: VenueHttp) -> None:
    started = time.monotonic()
    call = Call("news", "page")
    await asyncio.gather(
        *(get_json(http, call, f"{sandbox.url}/control/symbols", judge=lambda *_: None) for _ in range(40))
    )
    # at ten a second, as the slowest group of a venue lets them, they would take three
    assert time.monotonic() - started < 3
    assert not await redis.keys("autotrader:limits:*")


async def test_without_redis_reads_go_on_slowly_orders_do_not_and_it_is_said_once(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalRedis() as server:
        redis = open_redis(server.url)
        http = open_session(5.0, limiter=Limiter(redis))
        client = UpbitClient(http, f"{sandbox.url}/upbit")
        await client.ticker(BTC)
        server.stop(abruptly=True)
        started = time.monotonic()
        with caplog.at_level(logging.INFO):
            await asyncio.gather(*(client.ticker(BTC) for _ in range(7)))
            # 5 a second in place of 10, and not held up by a Redis that is away
            assert 1.2 < time.monotonic() - started < 3.5
            with pytest.raises(Throttled, match="Redis"):
                await request_json(
                    http, PLACE, "POST", f"{sandbox.url}/upbit/v1/orders", judge=judge, body={}, fail_closed=True
                )
            assert sum("not shared" in record.message for record in caplog.records) == 1
            server.start()
            await asyncio.sleep(REDIS_AGAIN_SECONDS + 0.1)
            await client.ticker(BTC)
            assert caplog.records[-1].message == "rate limits are shared through Redis again"
        assert not [request for request in sandbox.requests.listed() if request["method"] == "POST"]
        assert sandbox.limits is not None
        assert sandbox.limits.summary()["upbit/ticker"]["refused"] == 0
        await http.close()
        await redis.aclose()


async def test_the_wait_has_its_own_metric_and_is_on_the_span(
    sandbox: Sandbox, redis: Redis, recorded: Callable[[str], list[Any]]
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    http = open_session(5.0, limiter=Limiter(redis), tracer_provider=provider)
    client = UpbitClient(http, f"{sandbox.url}/upbit")
    await asyncio.gather(*(client.ticker(BTC) for _ in range(11)))
    await http.close()
    (wait,) = recorded("wait")
    assert (wait.count, dict(wait.attributes)) == (11, {"service": "upbit", "group": "ticker"})
    assert wait.max > 1000
    (duration,) = recorded("duration")
    assert (duration.count, duration.max < 900) == (11, True)
    waits = [(span.attributes or {})["limiter.wait_ms"] for span in spans.get_finished_spans()]
    assert len(waits) == 11
    assert max(float(str(value)) for value in waits) > 1000


async def test_yahoo_waits_in_its_threads_and_a_429_stops_all_of_them(sandbox: Sandbox, redis: Redis) -> None:
    limiter = Limiter(redis)
    url = f"{sandbox.url}/yahoo"
    yahoo = YahooMarket(url, 5.0, gate=BlockingGate(limiter, asyncio.get_running_loop()))
    await asyncio.gather(*(yahoo.candles("AAPL", 5) for _ in range(8)))
    times = [request["at"] for request in sandbox.requests.listed()]
    # told by their arrival, and on a busy machine the first of a second may be long on its way
    assert fullest(times, 1.0 - WAY_SECONDS) <= 5
    sandbox.faults.order({"service": "yahoo", "kind": "throttle", "path": "/chart/", "count": 1})
    with pytest.raises(Throttled):
        await yahoo.candles("AAPL", 5)
    before = len(sandbox.requests.listed())
    with pytest.raises(Throttled) as caught:
        await yahoo.candles("MSFT", 5)
    assert caught.value.retry_after > 50
    assert len(sandbox.requests.listed()) == before
    await yahoo.close()
