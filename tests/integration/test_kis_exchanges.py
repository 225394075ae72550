"""Orders that a person sent to another exchange in KIS's app, and orders that no list shows any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask
from storage import orders as journal
from storage.engine import open_engine
from storage.journal import JournalOrder
from trading.types import OrderState, Side
from workers.errors import BadReply, Unproven, VenueError
from workers.http import open_session
from workers.kis.auth import SharedToken
from workers.kis.broker import KisBroker
from workers.kis.environment import Environment
from workers.kis.known import journal_known
from workers.kis.trading import AccountNumber, KisTrading
from workers.kis.wire import KST

SAMSUNG, HYNIX = "005930", "000660"
KEY, SECRET, CANO = "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
Connect = Callable[..., KisTrading]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def connect(redis_server: LocalRedis, sandbox: Sandbox) -> AsyncIterator[Connect]:
    redis: Redis = Redis.from_url(redis_server.url, decode_responses=True)
    await redis.flushdb()
    http, url = open_session(5.0), f"{sandbox.url}/kis"
    await open_account(sandbox)
    token = SharedToken(http, redis, url, KEY, SECRET)

    def made(environment: str = "real", clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> KisTrading:
        return KisTrading(http, token, Environment(environment, url), KEY, SECRET, AccountNumber(CANO), clock=clock)

    yield made
    await http.close()
    await redis.aclose()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url, pool_size=4, application_name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
def broker(connect: Connect, engine: AsyncEngine) -> KisBroker:
    return KisBroker(connect(), journal_known(engine), pause_seconds=0.05)


async def control(sandbox: Sandbox, path: str, **body: object) -> Any:
    return await asyncio.to_thread(SandboxControl(sandbox.url).post, f"kis/{path}", body)


async def open_account(sandbox: Sandbox, **changed: object) -> None:
    held = {SAMSUNG: {"quantity": 10, "average_price": "70000"}}
    await control(sandbox, "accounts", **{"cano": CANO, "cash": "100000000", "holdings": held, **changed})


async def by_hand(sandbox: Sandbox, exchange: str) -> str:
    """Put a sale into the book as KIS's app does, where it rests; its number."""
    ask = best_bid_and_ask("kis", sandbox.book.price("kis", SAMSUNG))[1]
    order = {"symbol": SAMSUNG, "side": "sell", "quantity": 10, "price": str(ask), "exchange": exchange}
    return str((await control(sandbox, "orders", cano=CANO, **order))["odno"])


async def adopted(broker: KisBroker, engine: AsyncEngine) -> JournalOrder:
    (found,) = await broker.open_orders(SAMSUNG)
    order = await journal.adopt(engine, "kis", found)
    assert order is not None
    return order


def sent(sandbox: Sandbox, path: str) -> int:
    return sum(request["path"].endswith(path) for request in sandbox.requests.listed())


@pytest.mark.parametrize("exchange", ["SOR", "NXT", "KRX"])
async def test_an_order_by_hand_at_another_exchange_is_followed_and_taken_out(
    sandbox: Sandbox, broker: KisBroker, engine: AsyncEngine, exchange: str
) -> None:
    odno = await by_hand(sandbox, exchange)
    order = await adopted(broker, engine)
    await control(sandbox, "trades", cano=CANO, odno=odno, quantity=4)
    found = await broker.find(order.intent.client_order_id, order.venue_order_id)
    assert found is not None
    assert (found.state, sum(fill.quantity for fill in found.fills)) == (OrderState.PARTLY_FILLED, 4)
    # an exit of the symbol sends nothing until this is gone
    done = await broker.cancel(order.intent.client_order_id, order.venue_order_id)
    assert (done.state, sum(fill.quantity for fill in done.fills)) == (OrderState.CANCELLED, 4)
    assert await broker.open_orders(SAMSUNG) == []
    assert sent(sandbox, "/order-rvsecncl") == 1


async def test_a_list_that_leaves_out_the_exchange_is_made_up_for_by_that_of_what_rests(
    sandbox: Sandbox, broker: KisBroker, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = broker._trading.daily_fills

    async def without(*arguments: Any, **named: Any) -> Any:
        return [row.model_copy(update={"exchange": ""}) for row in await read(*arguments, **named)]

    monkeypatch.setattr(broker._trading, "daily_fills", without)
    await by_hand(sandbox, "NXT")
    order = await adopted(broker, engine)
    assert (await broker.cancel(order.intent.client_order_id, order.venue_order_id)).state is OrderState.CANCELLED


async def test_a_number_that_two_exchanges_have_is_an_error_of_that_order_alone(
    sandbox: Sandbox, broker: KisBroker, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await by_hand(sandbox, "NXT")
    order = await adopted(broker, engine)
    read = broker._trading._read

    async def twice(call: Any, params: Any, **named: Any) -> Any:
        document = await read(call, params, **named)
        if call.operation == "daily_fills":
            document["output1"] += [{**row, "excg_id_dvsn_cd": "KRX", "rmn_qty": "9"} for row in document["output1"]]
        return document

    monkeypatch.setattr(broker._trading, "_read", twice)
    today = broker._trading.today()
    assert len(await broker._trading.daily_fills(today, today)) == 2
    with pytest.raises(BadReply, match="NXT and KRX have an order"):
        await broker.find(order.intent.client_order_id, order.venue_order_id)


async def test_mock_trading_is_asked_for_the_exchange_it_knows(sandbox: Sandbox, connect: Connect) -> None:
    await open_account(sandbox, environment="mock")
    trading = connect("mock")
    bid = best_bid_and_ask("kis", sandbox.book.price("kis", SAMSUNG))[0]
    placed = await trading.order(Side.BUY, SAMSUNG, Decimal(1), bid, "00")
    (row,) = await trading.daily_fills(trading.today(), trading.today())
    assert (row.odno, row.exchange) == (placed.ODNO, "KRX")


# what no list shows


def next_day(hour: int) -> Callable[[], datetime]:
    tomorrow = datetime.now(UTC).astimezone(KST).date() + timedelta(days=1)
    at = datetime.combine(tomorrow, time(hour), KST).astimezone(UTC)
    return lambda: at


async def later(sandbox: Sandbox, connect: Connect, engine: AsyncEngine, clock: Callable[[], datetime]) -> KisBroker:
    sandbox.book.now = clock
    return KisBroker(connect(clock=clock), journal_known(engine), clock=clock, pause_seconds=0.05)


@pytest.fixture
async def lost(sandbox: Sandbox, broker: KisBroker, engine: AsyncEngine) -> JournalOrder:
    """An order that rested, and of which the venue shows nothing any more."""
    await by_hand(sandbox, "KRX")
    order = await adopted(broker, engine)
    await open_account(sandbox)
    return order


async def test_an_order_of_an_earlier_day_that_no_list_shows_is_over_and_says_what_is_not_known(
    sandbox: Sandbox, connect: Connect, engine: AsyncEngine, lost: JournalOrder
) -> None:
    broker = await later(sandbox, connect, engine, next_day(9))
    for ask in (broker.cancel, broker.find):
        placement = await ask(lost.intent.client_order_id, lost.venue_order_id)
        assert placement is not None
        assert (placement.state, placement.fills) == (OrderState.CANCELLED, ())
        assert str(placement.reason).startswith("day_is_over: ")
        assert "what it traded is not known" in str(placement.reason)
    # the journal takes that word, and nothing is in the way of an exit any more
    await journal.record(engine, lost.id, placement)
    assert await journal.resting(engine, "kis", SAMSUNG) == []
    assert sent(sandbox, "/order-rvsecncl") == 0


async def test_on_its_own_day_and_in_the_night_after_a_missing_order_proves_nothing(
    sandbox: Sandbox, connect: Connect, broker: KisBroker, engine: AsyncEngine, lost: JournalOrder
) -> None:
    found = await broker.find(lost.intent.client_order_id, lost.venue_order_id)
    assert found is not None
    assert found.state is OrderState.ACCEPTED
    with pytest.raises(Unproven, match="does not show it"):
        await broker.cancel(lost.intent.client_order_id, lost.venue_order_id)
    asked = await later(sandbox, connect, engine, next_day(6))
    for ask in (asked.cancel, asked.find):
        with pytest.raises(Unproven, match="final at 07:00 KST"):
            await ask(lost.intent.client_order_id, lost.venue_order_id)


async def test_a_list_that_cannot_be_read_or_is_older_than_kis_keeps_it_proves_nothing(
    sandbox: Sandbox, connect: Connect, engine: AsyncEngine, lost: JournalOrder
) -> None:
    broker = await later(sandbox, connect, engine, next_day(9))
    fault = sandbox.faults.order({"service": "kis", "kind": "html", "path": "inquire-daily-ccld"})
    for ask in (broker.cancel, broker.find):
        with pytest.raises(VenueError):
            await ask(lost.intent.client_order_id, lost.venue_order_id)
    sandbox.faults.clear(fault.id)
    long_after = next_day(9)() + timedelta(days=100)
    old = await later(sandbox, connect, engine, lambda: long_after)
    with pytest.raises(Unproven, match="compare it by hand"):
        await old.find(lost.intent.client_order_id, lost.venue_order_id)


async def test_an_order_that_its_day_lists_otherwise_is_for_a_human(
    sandbox: Sandbox, connect: Connect, engine: AsyncEngine, broker: KisBroker
) -> None:
    await by_hand(sandbox, "KRX")
    order = await adopted(broker, engine)
    asked = await later(sandbox, connect, engine, next_day(9))
    read = asked._trading.daily_fills

    async def of_another(*days: Any, **narrowed: Any) -> Any:
        rows = [row.model_copy(update={"pdno": HYNIX}) for row in await read(*days)]
        return [row for row in rows if narrowed.get("symbol", HYNIX) == row.pdno]

    asked._trading.daily_fills = of_another  # type: ignore[method-assign]
    with pytest.raises(Unproven, match="listed as one for 000660"):
        await asked.find(order.intent.client_order_id, order.venue_order_id)
