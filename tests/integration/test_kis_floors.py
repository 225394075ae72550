"""An exit on a day on which a stock falls as far as it may: the Korea Exchange takes no order below the day's lowest
price, so an immediate sale is sent at that price, and found by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from storage.engine import open_engine
from storage.redis import open_redis
from trading.types import Instrument, OrderIntent, OrderState, Quote, Side, TimeInForce
from workers.errors import Unproven, Unreachable
from workers.http import VenueHttp, open_session
from workers.kis.access import KisAccess
from workers.kis.broker import KisBroker
from workers.kis.floors import DayFloors
from workers.kis.market import KisMarket
from workers.kis.matching import Sent

SAMSUNG = "005930"
KEY, SECRET, CANO = "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
INSTRUMENT = Instrument("kis", SAMSUNG, "삼성전자", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
PRICE, LOWEST = Decimal(60_000), Decimal(59_700)
# one per cent under the best bid, and under the lowest price of the day
BELOW = Decimal(59_300)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    held = {SAMSUNG: {"quantity": 100, "average_price": "70000"}}
    await control(sandbox, "accounts", cano=CANO, cash="100000000", holdings=held)
    await control(sandbox, "price", symbol=SAMSUNG, price=str(PRICE), lowest=str(LOWEST))
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_server.url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(5.0)
    yield http
    await http.close()


@pytest.fixture
def access(sandbox: Sandbox, redis: Redis, http: VenueHttp) -> KisAccess:
    settings = SimpleNamespace(
        kis_base_url=f"{sandbox.url}/kis",
        kis_app_key=SecretStr(KEY),
        kis_app_secret=SecretStr(SECRET),
        kis_environment="real",
        kis_account=SecretStr(f"{CANO}-01"),
    )
    return KisAccess(http, redis, settings)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url, pool_size=2, application_name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
async def quote(sandbox: Sandbox, redis: Redis, http: VenueHttp) -> Quote:
    return await KisMarket(http, redis, f"{sandbox.url}/kis", KEY, SECRET).quote(SAMSUNG)


async def control(sandbox: Sandbox, path: str, **body: object) -> Any:
    return await asyncio.to_thread(SandboxControl(sandbox.url).post, f"kis/{path}", body)


async def at_venue(sandbox: Sandbox) -> list[Decimal]:
    """The prices of the orders that were taken."""
    accounts = await asyncio.to_thread(SandboxControl(sandbox.url).get, "kis/accounts")
    return [Decimal(order["price"]) for order in accounts[0]["orders"]]


def sale(price: Decimal = BELOW, how: TimeInForce = TimeInForce.IOC, side: Side = Side.SELL) -> OrderIntent:
    return OrderIntent(f"kis-{side}-{how}", "kis", SAMSUNG, side, Decimal(10), price, "KRW", how)


def given(bid: Decimal) -> Quote:
    return Quote(SAMSUNG, bid, bid, bid + 100, Decimal(100), datetime.now(UTC))


async def test_an_exit_near_the_days_lowest_price_is_filled_by_the_buyers_that_are_there(
    sandbox: Sandbox, access: KisAccess, engine: AsyncEngine, quote: Quote
) -> None:
    assert BELOW < LOWEST < quote.bid
    placed = await access.broker(engine).place(sale(), INSTRUMENT, quote)
    assert placed.state is OrderState.FILLED
    assert [fill.price for fill in placed.fills] == [quote.bid]
    assert await at_venue(sandbox) == [LOWEST]


async def test_where_the_lowest_price_is_not_known_the_order_goes_out_as_it_is_and_the_venue_refuses_it(
    sandbox: Sandbox, access: KisAccess, redis: Redis, engine: AsyncEngine, quote: Quote
) -> None:
    await redis.flushdb()
    placed = await access.broker(engine).place(sale(), INSTRUMENT, quote)
    assert placed.state is OrderState.REJECTED
    assert "하한가" in str(placed.reason)
    assert await at_venue(sandbox) == []


async def test_an_exit_whose_answer_was_lost_is_found_by_the_price_it_was_sent_at(
    sandbox: Sandbox, access: KisAccess, redis: Redis, quote: Quote
) -> None:
    intent = sale()

    async def known(_: str) -> Sent:
        return Sent(intent, datetime.now(UTC), None, frozenset())

    await control(sandbox, "faults", kind="error_after")
    with pytest.raises(Unproven):
        await KisBroker(access.trading(), known, floors=DayFloors(redis)).place(intent, INSTRUMENT, quote)
    # another process looks for it
    found = await KisBroker(access.trading(), known, floors=DayFloors(redis)).find(intent.client_order_id)
    assert found is not None
    assert found.state is OrderState.FILLED


async def test_orders_that_rest_and_purchases_keep_their_price(access: KisAccess, redis: Redis, quote: Quote) -> None:
    floors = DayFloors(redis)
    for intent in (sale(how=TimeInForce.GTC), sale(side=Side.BUY), sale(quote.bid), sale(LOWEST)):
        assert await floors.price_to_send(intent, quote) == intent.price
        assert await floors.raised_price(intent) is None


async def test_a_price_is_never_raised_above_the_best_bid_nor_lowered(redis: Redis) -> None:
    floors = DayFloors(redis)
    for lowest, bid, sent in (
        (59_700, 60_000, 59_700), (59_700, 59_700, 59_700), (59_700, 59_600, 59_300), (59_000, 60_000, 59_300),
    ):  # fmt: skip
        await floors.keep(SAMSUNG, Decimal(lowest))
        assert await floors.price_to_send(sale(), given(Decimal(bid))) == sent


@pytest.mark.parametrize("spoilt", [None, Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
async def test_a_lowest_price_that_cannot_be_is_not_noted(redis: Redis, spoilt: Decimal | None) -> None:
    await DayFloors(redis).keep(SAMSUNG, spoilt)
    assert await redis.keys("*") == []


async def test_without_redis_an_exit_goes_out_at_its_own_price_and_a_look_proves_nothing() -> None:
    with LocalRedis() as server:
        redis = open_redis(server.url)
        floors = DayFloors(redis)
        await floors.keep(SAMSUNG, LOWEST)
        server.stop(abruptly=True)
        await floors.keep(SAMSUNG, LOWEST)
        assert await floors.price_to_send(sale(), given(PRICE)) == BELOW
        with pytest.raises(Unreachable, match="REDIS_URL"):
            await floors.raised_price(sale())
        await redis.aclose()
