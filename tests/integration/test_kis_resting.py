"""Orders that rest at KIS: fills as they come, cancellations, and what the journal has of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask, tick_size
from storage import analyses, runs
from storage import orders as journal
from storage.engine import open_engine
from storage.journal import JournalOrder, Origin
from trading.orders import client_order_id
from trading.types import (
    Analysis,
    Decision,
    Instrument,
    OrderIntent,
    OrderState,
    PriceRange,
    PriceRanges,
    Quote,
    Side,
    TimeInForce,
)
from workers.errors import Ambiguous, BadReply, Throttled, Unproven, VenueError
from workers.http import open_session
from workers.kis.auth import SharedToken
from workers.kis.broker import KisBroker
from workers.kis.environment import Environment
from workers.kis.known import journal_known
from workers.kis.trading import AccountNumber, KisTrading

SAMSUNG, HYNIX = "005930", "000660"
KEY, SECRET, CANO = "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
INSTRUMENT = Instrument("kis", SAMSUNG, "삼성전자", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
CASH = 100_000_000
TIMEOUT = 1.0


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


@pytest.fixture
async def trading(redis: Redis, sandbox: Sandbox) -> AsyncIterator[KisTrading]:
    http, url = open_session(TIMEOUT), f"{sandbox.url}/kis"
    await open_account(sandbox)
    token = SharedToken(http, redis, url, KEY, SECRET)
    yield KisTrading(http, token, Environment("real", url), KEY, SECRET, AccountNumber(CANO))
    await http.close()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url, pool_size=4, application_name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
def broker(trading: KisTrading, engine: AsyncEngine) -> KisBroker:
    return KisBroker(trading, journal_known(engine), pause_seconds=0.05)


async def control(sandbox: Sandbox, path: str, **body: object) -> Any:
    return await asyncio.to_thread(SandboxControl(sandbox.url).post, f"kis/{path}", body)


async def open_account(sandbox: Sandbox, **changed: object) -> None:
    await control(sandbox, "accounts", **{"cano": CANO, "cash": str(CASH), "holdings": {}, **changed})


async def at_venue(sandbox: Sandbox) -> list[dict[str, Any]]:
    accounts = await asyncio.to_thread(SandboxControl(sandbox.url).get, "kis/accounts")
    found: list[dict[str, Any]] = accounts[0]["orders"]
    return found


def posts(sandbox: Sandbox) -> list[str]:
    return [request["path"].rpartition("/")[2] for request in sandbox.requests.listed() if request["method"] == "POST"]


def quote(sandbox: Sandbox) -> Quote:
    price = sandbox.book.price("kis", SAMSUNG)
    bid, ask = best_bid_and_ask("kis", price)
    return Quote(SAMSUNG, price, bid, ask, tick_size("kis", price), datetime.now(UTC))


class Caller:
    """The one who keeps the journal: plans, claims, sends, and writes down every word."""

    def __init__(self, engine: AsyncEngine, broker: KisBroker, sandbox: Sandbox) -> None:
        self.engine, self.broker, self.sandbox = engine, broker, sandbox
        self._slots = 0

    async def plan(
        self, quantity: int, price: Decimal, side: Side = Side.BUY, how: TimeInForce = TimeInForce.GTC
    ) -> JournalOrder:
        at = quote(self.sandbox)
        self._slots += 1
        run = await runs.open_run(
            self.engine, market="kis", slot=at.at + timedelta(minutes=self._slots), task_id=str(uuid4()),
            symbols=(SAMSUNG,),
        )  # fmt: skip
        around = PriceRange(at.bid, at.ask)
        analysis = Analysis(
            Decision.BUY, 70, ("test",), PriceRanges(around, around, around, around), "rules", at.price, at.at
        )
        stored = await analyses.store(
            self.engine, run_id=run.id, market="kis", symbol=SAMSUNG, analysis=analysis, indicators={}, trace_id=None
        )
        made = client_order_id(str(run.id), "kis", SAMSUNG, side, 1, 1)
        intent = OrderIntent(made, "kis", SAMSUNG, side, Decimal(quantity), price, "KRW", how)
        order = await journal.plan(self.engine, intent, origin=Origin(stored.id, run.id))
        assert await journal.claim(self.engine, order.id)
        return order

    async def place(
        self, quantity: int, price: Decimal, side: Side = Side.BUY, how: TimeInForce = TimeInForce.GTC
    ) -> JournalOrder:
        order = await self.plan(quantity, price, side, how)
        placement = await self.broker.place(order.intent, INSTRUMENT, quote(self.sandbox))
        return await journal.record(self.engine, order.id, placement)

    async def look(self, order: JournalOrder) -> JournalOrder:
        placement = await self.broker.find(order.intent.client_order_id, order.venue_order_id)
        assert placement is not None
        return await journal.record(self.engine, order.id, placement)

    async def cancel(self, order: JournalOrder) -> JournalOrder:
        placement = await self.broker.cancel(order.intent.client_order_id, order.venue_order_id)
        return await journal.record(self.engine, order.id, placement)


@pytest.fixture
def caller(engine: AsyncEngine, broker: KisBroker, sandbox: Sandbox) -> Caller:
    return Caller(engine, broker, sandbox)


def told(order: JournalOrder) -> list[tuple[str, int, Decimal]]:
    """Key behind the number, quantity and price of each fill."""
    return [
        (fill.trade_id.removeprefix(f"{order.venue_order_id}-"), int(fill.quantity), fill.price) for fill in order.fills
    ]


async def test_an_order_below_the_market_rests_and_reserves_its_money(
    caller: Caller, broker: KisBroker, sandbox: Sandbox
) -> None:
    price = quote(sandbox).bid
    order = await caller.place(10, price)
    assert (order.state, order.fills) == (OrderState.ACCEPTED, ())
    (at_kis,) = await at_venue(sandbox)
    assert (at_kis["kind"], at_kis["odno"]) == ("00", str(order.venue_order_id).partition("-")[2])
    assert (await caller.look(order)).state is OrderState.ACCEPTED
    # what can be spent shrinks, what is owned does not
    assert (await broker.account(INSTRUMENT)).cash == int(CASH - 10 * price * Decimal("1.00015"))
    holdings = await broker.holdings()
    assert holdings is not None
    assert holdings.cash == CASH
    # the same id again sends nothing
    again = await broker.place(order.intent, INSTRUMENT, quote(sandbox))
    assert (again.venue_order_id, again.state) == (order.venue_order_id, OrderState.ACCEPTED)
    assert posts(sandbox).count("order-cash") == 1


async def test_a_resting_sale_takes_its_shares_from_what_can_be_sold(
    caller: Caller, broker: KisBroker, sandbox: Sandbox
) -> None:
    await open_account(sandbox, holdings={SAMSUNG: {"quantity": 30, "average_price": "61234.5"}})
    order = await caller.place(20, quote(sandbox).ask, Side.SELL)
    assert (await broker.account(INSTRUMENT)).position.quantity == 10
    holdings = await broker.holdings()
    assert holdings is not None
    assert holdings.positions[SAMSUNG].quantity == 30
    assert (await caller.cancel(order)).state is OrderState.CANCELLED
    assert (await broker.account(INSTRUMENT)).position.quantity == 30


async def test_what_trades_in_two_parts_is_two_fills_at_their_own_prices(caller: Caller, sandbox: Sandbox) -> None:
    await open_account(sandbox, depth=4)
    at = quote(sandbox)
    limit = at.ask + at.tick_size
    order = await caller.place(10, limit)
    assert (order.state, told(order)) == (OrderState.PARTLY_FILLED, [("0-4", 4, at.ask)])
    # a look that finds nothing new adds nothing
    assert await caller.look(order) == order
    await control(sandbox, "price", symbol=SAMSUNG, price=str(at.bid))
    order = await caller.look(order)
    assert (order.state, told(order)) == (OrderState.PARTLY_FILLED, [("0-4", 4, at.ask), ("4-8", 4, limit)])
    odno = str(order.venue_order_id).partition("-")[2]
    await control(sandbox, "trades", cano=CANO, odno=odno, price=str(at.bid))
    order = await caller.look(order)
    assert order.state is OrderState.FILLED
    assert told(order)[2:] == [("8-10", 2, at.bid)]
    assert order.filled_quantity == 10
    (at_kis,) = await at_venue(sandbox)
    assert sum(fill.quantity * fill.price for fill in order.fills) == Decimal(at_kis["amount"])


async def test_a_word_that_was_lost_before_it_was_written_down_is_told_again_and_not_twice(
    caller: Caller, sandbox: Sandbox
) -> None:
    await open_account(sandbox, depth=4)
    at = quote(sandbox)
    order = await caller.place(10, at.ask)
    odno = str(order.venue_order_id).partition("-")[2]
    await control(sandbox, "trades", cano=CANO, odno=odno, quantity=1)
    lost = await caller.broker.find(order.intent.client_order_id)
    await control(sandbox, "trades", cano=CANO, odno=odno, quantity=2)
    order = await caller.look(order)
    assert lost is not None
    assert [int(fill.quantity) for fill in lost.fills] == [1]
    assert told(order) == [("0-4", 4, at.ask), ("4-7", 3, at.ask)]


async def test_a_venue_that_says_less_than_is_proven_is_not_believed(
    caller: Caller, sandbox: Sandbox, trading: KisTrading, engine: AsyncEngine
) -> None:
    await open_account(sandbox, depth=4)
    order = await caller.place(10, quote(sandbox).ask)
    known = journal_known(engine)

    async def more(client_order_id: str) -> Any:
        found = await known(client_order_id)
        assert found is not None
        assert (found.filled, found.filled_value) == (4, 4 * order.intent.price)
        return replace(found, filled=Decimal(5))

    with pytest.raises(BadReply, match="journal"):
        await KisBroker(trading, more).find(order.intent.client_order_id)


# cancelling


async def test_a_cancelled_order_keeps_the_part_that_was_filled(
    caller: Caller, broker: KisBroker, sandbox: Sandbox
) -> None:
    await open_account(sandbox, depth=3)
    at = quote(sandbox)
    order = await caller.cancel(await caller.place(10, at.ask))
    assert (order.state, told(order)) == (OrderState.CANCELLED, [("0-3", 3, at.ask)])
    assert order.reason == "partly_filled: 3 of 10 traded, the rest is cancelled"
    assert posts(sandbox).count("order-rvsecncl") == 1
    # again: it has ended, so nothing is sent and nothing added
    assert await caller.cancel(order) == order
    assert posts(sandbox).count("order-rvsecncl") == 1
    assert await broker.open_orders() == []


async def test_a_cancellation_that_a_fill_outruns_finds_the_order_filled(caller: Caller, sandbox: Sandbox) -> None:
    price = quote(sandbox).bid
    order = await caller.place(10, price)
    await control(sandbox, "faults", kind="filled_first")
    order = await caller.cancel(order)
    assert (order.state, told(order)) == (OrderState.FILLED, [("0-10", 10, price)])


async def test_a_part_that_trades_before_the_cancellation_is_told_with_it(caller: Caller, sandbox: Sandbox) -> None:
    price = quote(sandbox).bid
    order = await caller.place(10, price)
    odno = str(order.venue_order_id).partition("-")[2]
    await control(sandbox, "trades", cano=CANO, odno=odno, quantity=4)
    order = await caller.cancel(order)
    assert (order.state, told(order)) == (OrderState.CANCELLED, [("0-4", 4, price)])


async def test_a_cancellation_that_takes_its_time_leaves_the_order_open_until_it_is_done(
    caller: Caller, sandbox: Sandbox
) -> None:
    order = await caller.place(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind="slow_cancel", looks=4)
    order = await caller.cancel(order)
    assert order.state is OrderState.ACCEPTED
    # meanwhile asking again is harmless
    assert (await caller.broker.cancel(order.intent.client_order_id)).state in (
        OrderState.ACCEPTED, OrderState.CANCELLED
    )  # fmt: skip
    assert (await caller.look(order)).state is OrderState.CANCELLED


@pytest.mark.parametrize("fault", ["timeout_after", "reset_mid_reply", "html_after", "error_after", "routing_after"])
async def test_a_cancellation_whose_reply_is_lost_is_read_from_the_list(
    caller: Caller, sandbox: Sandbox, fault: str
) -> None:
    order = await caller.place(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind=fault, seconds=TIMEOUT + 0.5)
    order = await caller.cancel(order)
    assert (order.state, order.reason) == (OrderState.CANCELLED, "cancelled: 0 of 10 traded")
    assert posts(sandbox).count("order-rvsecncl") == 1


@pytest.mark.parametrize("fault", ["reset_before", "html_before", "error_before"])
async def test_a_cancellation_that_never_arrived_leaves_the_order_open_and_can_be_sent_again(
    caller: Caller, sandbox: Sandbox, fault: str
) -> None:
    order = await caller.place(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind=fault)
    placement = await caller.broker.cancel(order.intent.client_order_id)
    assert placement.state is OrderState.ACCEPTED
    assert str(placement.reason).startswith("still_resting: ")
    assert (await caller.cancel(order)).state is OrderState.CANCELLED


async def test_where_nothing_tells_a_cancellation_is_unproven(caller: Caller, sandbox: Sandbox) -> None:
    order = await caller.place(10, quote(sandbox).bid)
    ask = caller.broker._trading.cancel

    async def cancel(branch: str, odno: str, order_type: str, exchange: str) -> Any:
        sandbox.faults.order({"service": "kis", "kind": "html", "path": "inquire-daily-ccld"})
        return await ask(branch, odno, order_type, exchange)

    caller.broker._trading.cancel = cancel  # type: ignore[method-assign]
    with pytest.raises(Unproven, match="cannot be read"):
        await caller.broker.cancel(order.intent.client_order_id)
    sandbox.faults.clear()
    assert (await caller.look(order)).state is OrderState.CANCELLED


async def test_a_cancellation_that_was_not_sent_says_so(caller: Caller, sandbox: Sandbox) -> None:
    order = await caller.place(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind="throttled")
    with pytest.raises(Throttled):
        await caller.broker.cancel(order.intent.client_order_id)
    with pytest.raises(Unproven, match="journal"):
        await caller.broker.cancel("never sent")
    assert (await caller.look(order)).state is OrderState.ACCEPTED


async def test_an_unproven_order_is_cancelled_where_the_list_shows_it(caller: Caller, sandbox: Sandbox) -> None:
    order = await caller.plan(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind="error_after")
    with pytest.raises(Unproven):
        await caller.broker.place(order.intent, INSTRUMENT, quote(sandbox))
    order = await caller.cancel(order)
    assert (order.state, order.venue_order_id is None) == (OrderState.CANCELLED, False)


# one look


async def test_one_look_finds_an_order_only_when_the_list_shows_it(caller: Caller, sandbox: Sandbox) -> None:
    order = await caller.plan(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind="late", looks=2)
    with pytest.raises(Unproven):
        await caller.broker.place(order.intent, INSTRUMENT, quote(sandbox))
    started = asyncio.get_running_loop().time()
    assert await caller.broker.find(order.intent.client_order_id) is None
    assert await caller.broker.find(order.intent.client_order_id) is None
    assert asyncio.get_running_loop().time() - started < 5
    order = await caller.look(order)
    assert order.state is OrderState.ACCEPTED


async def test_an_equal_order_by_hand_makes_a_look_ambiguous(caller: Caller, sandbox: Sandbox) -> None:
    order = await caller.plan(10, quote(sandbox).bid)
    await control(sandbox, "faults", kind="error_after")
    with pytest.raises(VenueError):
        await caller.broker.place(order.intent, INSTRUMENT, quote(sandbox))
    await caller.broker._trading.order(Side.BUY, SAMSUNG, Decimal(10), order.intent.price, "00")
    for ask in (caller.broker.find, caller.broker.cancel):
        with pytest.raises(Ambiguous, match="by hand"):
            await ask(order.intent.client_order_id)


# what rests


@pytest.mark.parametrize("environment", ["real", "mock"])
async def test_what_rests_is_shown_whoever_sent_it(
    sandbox: Sandbox, redis: Redis, engine: AsyncEngine, environment: str
) -> None:
    await open_account(sandbox, environment=environment, depth=3)
    http, url = open_session(TIMEOUT), f"{sandbox.url}/kis"
    token = SharedToken(http, redis, url, KEY, SECRET)
    trading = KisTrading(http, token, Environment(environment, url), KEY, SECRET, AccountNumber(CANO))
    broker = KisBroker(trading, journal_known(engine), pause_seconds=0.05)
    at = quote(sandbox)
    by_hand = await trading.order(Side.BUY, SAMSUNG, Decimal(10), at.ask, "00")
    other = best_bid_and_ask("kis", sandbox.book.price("kis", HYNIX))[0]
    await trading.order(Side.BUY, HYNIX, Decimal(1), other, "00")
    await trading.order(Side.BUY, SAMSUNG, Decimal(2), at.bid, "11")
    (found,) = await broker.open_orders(SAMSUNG)
    day = f"{datetime.now(UTC) + timedelta(hours=9):%Y%m%d}"
    assert (found.venue_order_id, found.client_order_id) == (f"{day}-{by_hand.ODNO}", None)
    assert (found.side, found.quantity, found.filled, found.price) == (Side.BUY, 10, 3, at.ask)
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [order.symbol for order in await broker.open_orders()] == [SAMSUNG, HYNIX]
    # an order found so is taken into the journal, followed and cancelled like one of ours
    adopted = await journal.adopt(engine, "kis", found)
    assert adopted is not None
    caller = Caller(engine, broker, sandbox)
    adopted = await caller.look(adopted)
    assert (adopted.state, told(adopted)) == (OrderState.PARTLY_FILLED, [("0-3", 3, at.ask)])
    assert (await caller.cancel(adopted)).state is OrderState.CANCELLED
    await http.close()


async def test_what_is_left_at_the_end_of_the_session_is_cancelled(caller: Caller, sandbox: Sandbox) -> None:
    at = quote(sandbox)
    order = await caller.place(10, at.bid)
    await control(sandbox, "trades", cano=CANO, odno=str(order.venue_order_id).partition("-")[2], quantity=4)
    await control(sandbox, "session_end")
    later = datetime.now(UTC) + timedelta(minutes=2)
    asked = KisBroker(caller.broker._trading, journal_known(caller.engine), clock=lambda: later)
    placement = await asked.find(order.intent.client_order_id)
    assert placement is not None
    order = await journal.record(caller.engine, order.id, placement)
    assert (order.state, told(order)) == (OrderState.CANCELLED, [("0-4", 4, at.bid)])


async def test_an_order_of_yesterday_is_looked_up_on_its_own_day(
    caller: Caller, sandbox: Sandbox, redis: Redis, engine: AsyncEngine
) -> None:
    order = await caller.place(10, quote(sandbox).bid)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    sandbox.book.now = lambda: tomorrow
    http, url = open_session(TIMEOUT), f"{sandbox.url}/kis"
    await redis.flushdb()
    token = SharedToken(http, redis, url, KEY, SECRET)
    trading = KisTrading(
        http, token, Environment("real", url), KEY, SECRET, AccountNumber(CANO), clock=lambda: tomorrow
    )
    broker = KisBroker(trading, journal_known(engine), clock=lambda: tomorrow, pause_seconds=0.05)
    # cancelling finds that it has ended with its day, and sends nothing
    placement = await broker.cancel(order.intent.client_order_id)
    assert (placement.state, placement.venue_order_id) == (OrderState.CANCELLED, order.venue_order_id)
    assert str(placement.reason).startswith("session_ended: 0 of 10")
    assert await broker.find(order.intent.client_order_id) == placement
    assert "order-rvsecncl" not in posts(sandbox)
    await http.close()


# all of it together

ROUNDS = 25
PLACING = (
    "", "", "", "throttled", "reset_before", "error_before", "late", "reset_mid_reply", "html_after", "error_after",
    "garbled_after", "routing_after",
)  # fmt: skip
CANCELLING = ("", "", "throttled", "reset_before", "reset_mid_reply", "error_after", "filled_first", "slow_cancel")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_fails_in_between_the_journal_ends_with_what_the_venue_traded(
    trading: KisTrading, caller: Caller, sandbox: Sandbox, seed: int
) -> None:
    chance = Random(seed)
    await open_account(sandbox, cash="100000000000", depth=3)
    at = quote(sandbox)
    for number in range(1, ROUNDS + 1):
        # a new broker each time, as after a crash: it remembers nothing
        caller.broker = KisBroker(trading, journal_known(caller.engine), pause_seconds=0.02)
        before = len(await at_venue(sandbox))
        order = await caller.plan(chance.randint(4, 12), chance.choice((at.bid, at.ask)))
        if fault := chance.choice(PLACING):
            await control(sandbox, "faults", kind=fault, looks=1)
        placement = None
        try:
            placement = await caller.broker.place(order.intent, INSTRUMENT, at)
        except VenueError:
            for _ in range(3):
                placement = placement or await caller.broker.find(order.intent.client_order_id)
        own = (await at_venue(sandbox))[before:]
        assert len(own) == (placement is not None), (number, fault)
        if placement is None:
            await journal.set_state(caller.engine, order.id, OrderState.UNKNOWN, expected=OrderState.SENDING)
            await journal.set_state(caller.engine, order.id, OrderState.NOT_CREATED, expected=OrderState.UNKNOWN)
            continue
        order = await journal.record(caller.engine, order.id, placement)
        for _ in range(chance.randint(0, 3)):
            left = order.remaining
            if left:
                quantity, price = chance.randint(1, int(left)), at.bid + chance.randint(0, 1) * at.tick_size
                await control(
                    sandbox, "trades", cano=CANO, odno=own[0]["odno"], quantity=quantity, price=str(price)
                )  # fmt: skip
            if chance.random() < 0.7 or left:
                order = await caller.look(order)
        if order.remaining and (fault := chance.choice(CANCELLING)):
            await control(sandbox, "faults", kind=fault, looks=2)
        for _ in range(4):
            try:
                order = await caller.cancel(order)
            except VenueError:
                continue
            if order.state in (OrderState.CANCELLED, OrderState.FILLED):
                break
        (at_kis,) = [each for each in await at_venue(sandbox) if each["odno"] == own[0]["odno"]]
        assert order.state is (OrderState.FILLED if order.remaining == 0 else OrderState.CANCELLED), (number, fault)
        assert order.filled_quantity == at_kis["filled"]
        value = sum(fill.quantity * fill.price for fill in order.fills)
        assert abs(value - Decimal(at_kis["amount"])) < Decimal("0.00001")
        assert await caller.broker.open_orders() == []
