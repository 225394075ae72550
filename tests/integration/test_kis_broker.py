"""KIS as a broker: whatever becomes of a request, afterwards the journal and the account tell the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask, tick_size
from sandbox.venues.kis_faults import FAULTS
from storage import analyses, runs
from storage import orders as journal
from storage.engine import open_engine
from storage.journal import JournalOrder, Origin
from trading.orders import UNPROVEN, client_order_id
from trading.types import (
    Analysis,
    Decision,
    Instrument,
    OrderIntent,
    OrderState,
    Placement,
    PriceRange,
    PriceRanges,
    Quote,
    Side,
)
from workers.errors import Ambiguous, Throttled, TimedOut, Unproven, VenueError
from workers.http import open_session
from workers.kis.auth import SharedToken
from workers.kis.broker import KisBroker
from workers.kis.environment import Environment
from workers.kis.known import journal_known
from workers.kis.matching import Sent
from workers.kis.trading import AccountNumber, KisTrading
from workers.ports import Absence, Broker

SAMSUNG, HYNIX = "005930", "000660"
KEY, SECRET, CANO = "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
INSTRUMENT = Instrument("kis", SAMSUNG, "삼성전자", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
NOT_CREATED = (
    "throttled", "ledger_throttled", "token_expired", "timeout_before", "reset_before", "html_before", "error_before",
)  # fmt: skip
TIMEOUT = 0.5
ABSENCE = Absence(looks=3, seconds=0.6)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def trading(redis_server: LocalRedis, sandbox: Sandbox) -> AsyncIterator[KisTrading]:
    redis: Redis = Redis.from_url(redis_server.url, decode_responses=True)
    await redis.flushdb()
    http, url = open_session(TIMEOUT), f"{sandbox.url}/kis"
    token = SharedToken(http, redis, url, KEY, SECRET)
    await control(sandbox, "accounts", cano=CANO, cash="100000000000", holdings={})
    yield KisTrading(http, token, Environment("real", url), KEY, SECRET, AccountNumber(CANO))
    await http.close()
    await redis.aclose()


class Known:
    """What the journal would know, for tests of the broker alone."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}

    async def __call__(self, client_order_id: str) -> Sent | None:
        return self.sent.get(client_order_id)

    def add(self, intent: OrderIntent, *, owned: frozenset[str] = frozenset()) -> OrderIntent:
        self.sent[intent.client_order_id] = Sent(intent, datetime.now(UTC), None, owned)
        return intent


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def broker(trading: KisTrading, known: Known) -> KisBroker:
    return KisBroker(trading, known, absence=ABSENCE, pause_seconds=0.05)


async def control(sandbox: Sandbox, path: str, **body: object) -> Any:
    return await asyncio.to_thread(SandboxControl(sandbox.url).post, f"kis/{path}", body)


async def at_venue(sandbox: Sandbox) -> list[dict[str, Any]]:
    accounts = await asyncio.to_thread(SandboxControl(sandbox.url).get, "kis/accounts")
    found: list[dict[str, Any]] = accounts[0]["orders"]
    return found


def quote(sandbox: Sandbox) -> Quote:
    price = sandbox.book.price("kis", SAMSUNG)
    bid, ask = best_bid_and_ask("kis", price)
    return Quote(SAMSUNG, price, bid, ask, tick_size("kis", price), datetime.now(UTC))


def intent(sandbox: Sandbox, name: str = "a", side: Side = Side.BUY, quantity: int = 2) -> OrderIntent:
    at = quote(sandbox)
    price = at.ask if side is Side.BUY else at.bid
    return OrderIntent(f"kis-{name}", "kis", SAMSUNG, side, Decimal(quantity), price, "KRW")


async def look_for(broker: KisBroker, client_order_id: str) -> Placement | None:
    """What the caller does: as many looks as it takes to believe that there is no such order."""
    for look in range(broker.absence.looks):
        if look:
            await asyncio.sleep(broker.absence.seconds / (broker.absence.looks - 1))
        if placement := await broker.find(client_order_id):
            return placement
    return None


async def test_it_is_a_broker(broker: KisBroker, known: Known) -> None:
    port: Broker = broker
    assert await port.find("never sent") is None
    assert KisBroker(broker._trading, known).absence == Absence(looks=4, seconds=30.0)


async def test_account_and_holdings_are_what_kis_says(sandbox: Sandbox, broker: KisBroker) -> None:
    held = {SAMSUNG: {"quantity": 30, "average_price": "61234.5"}, HYNIX: {"quantity": 0, "average_price": "0"}}
    await control(sandbox, "accounts", cano=CANO, cash="5000000", holdings=held)
    account = await broker.account(INSTRUMENT)
    assert (account.currency, account.cash) == ("KRW", 5_000_000)
    assert (account.position.quantity, account.position.average_price) == (30, Decimal("61234.5"))
    holdings = await broker.holdings()
    assert holdings is not None
    assert (holdings.cash, set(holdings.positions)) == (5_000_000, {SAMSUNG})
    nothing = (await broker.account(replace(INSTRUMENT, symbol=HYNIX))).position
    assert nothing.quantity == 0
    with pytest.raises(VenueError, match="USD"):
        await broker.account(replace(INSTRUMENT, currency="USD"))


async def test_an_order_that_crosses_is_filled_once_with_a_key_of_its_own(
    sandbox: Sandbox, broker: KisBroker, known: Known
) -> None:
    wanted = known.add(intent(sandbox))
    placement = await broker.place(wanted, INSTRUMENT, quote(sandbox))
    (order,) = await at_venue(sandbox)
    day = f"{datetime.now(UTC) + timedelta(hours=9):%Y%m%d}"
    assert placement.venue_order_id == f"{day}-{order['odno']}"
    assert placement.state is OrderState.FILLED
    (fill,) = placement.fills
    assert (fill.trade_id, fill.quantity, fill.price) == (f"{placement.venue_order_id}-0-2", 2, wanted.price)
    assert fill.fee == 2 * wanted.price * Decimal("0.00015")
    # the same id again sends nothing
    assert await broker.place(wanted, INSTRUMENT, quote(sandbox)) == placement
    assert await broker.find(wanted.client_order_id) == placement
    assert len(await at_venue(sandbox)) == 1


async def test_what_does_not_cross_is_cancelled_and_so_is_the_rest_of_what_is_not_there(
    sandbox: Sandbox, broker: KisBroker, known: Known
) -> None:
    missed = known.add(replace(intent(sandbox, "missed"), price=quote(sandbox).bid))
    assert (await broker.place(missed, INSTRUMENT, quote(sandbox))).state is OrderState.CANCELLED
    await control(sandbox, "accounts", cano=CANO, cash="100000000", holdings={}, depth=3)
    deep = known.add(intent(sandbox, "deep", quantity=5))
    placement = await broker.place(deep, INSTRUMENT, quote(sandbox))
    assert placement.state is OrderState.CANCELLED
    assert placement.reason == "partly_filled: 3 of 5 traded, the rest is cancelled"
    assert [fill.quantity for fill in placement.fills] == [3]


async def test_a_refusal_is_a_placement_with_the_venues_words(
    sandbox: Sandbox, broker: KisBroker, known: Known
) -> None:
    wanted = known.add(intent(sandbox, quantity=100_000_000))
    placement = await broker.place(wanted, INSTRUMENT, quote(sandbox))
    assert (placement.state, placement.venue_order_id) == (OrderState.REJECTED, None)
    assert "APBK0952: 주문가능금액을 초과" in str(placement.reason)
    assert await broker.place(wanted, INSTRUMENT, quote(sandbox)) == placement
    off = replace(intent(sandbox, "off"), price=wanted.price + 1)
    assert "off_tick" in str((await broker.place(off, INSTRUMENT, quote(sandbox))).reason)
    with pytest.raises(ValueError, match="instrument"):
        await broker.place(wanted, replace(INSTRUMENT, symbol=HYNIX), quote(sandbox))


@pytest.mark.parametrize("fault", FAULTS)
async def test_after_every_fault_the_venue_tells_the_truth(
    sandbox: Sandbox, broker: KisBroker, known: Known, fault: str
) -> None:
    # orders of ours that look the same are not mistaken for it
    first = await broker.place(known.add(intent(sandbox, "first")), INSTRUMENT, quote(sandbox))
    wanted = known.add(intent(sandbox, "second"), owned=frozenset({str(first.venue_order_id)}))
    await control(sandbox, "faults", kind=fault, seconds=TIMEOUT + 0.3, looks=2)
    with pytest.raises((Unproven, Throttled)) as caught:
        await broker.place(wanted, INSTRUMENT, quote(sandbox))
    found = await look_for(broker, wanted.client_order_id)
    orders = await at_venue(sandbox)
    if fault in NOT_CREATED:
        assert found is None
        assert len(orders) == 1
    else:
        assert isinstance(caught.value, Unproven)
        assert found is not None
        assert found.state is OrderState.FILLED
        assert str(found.venue_order_id).endswith(orders[1]["odno"])
        assert len(orders) == 2


async def test_two_that_could_be_it_are_for_a_human(sandbox: Sandbox, broker: KisBroker, known: Known) -> None:
    wanted = known.add(intent(sandbox))
    for _ in range(2):
        await broker._trading.order(wanted.side, wanted.symbol, wanted.quantity, wanted.price, "11")
    with pytest.raises(Ambiguous, match="by hand"):
        await broker.find(wanted.client_order_id)


async def test_a_look_that_fails_proves_nothing(sandbox: Sandbox, broker: KisBroker, known: Known) -> None:
    wanted = known.add(intent(sandbox))
    sandbox.faults.order({"service": "kis", "kind": "hang", "path": "inquire-daily-ccld", "count": 1, "seconds": 2})
    with pytest.raises(TimedOut):
        await broker.find(wanted.client_order_id)


async def test_an_order_is_accepted_while_the_list_cannot_be_read(
    sandbox: Sandbox, broker: KisBroker, known: Known
) -> None:
    wanted = known.add(intent(sandbox))
    fault = sandbox.faults.order({"service": "kis", "kind": "html", "path": "inquire-daily-ccld"})
    placement = await broker.place(wanted, INSTRUMENT, quote(sandbox))
    assert placement.state is OrderState.ACCEPTED
    sandbox.faults.clear(fault.id)
    settled = await broker.find(wanted.client_order_id, placement.venue_order_id)
    assert settled is not None
    assert settled.state is OrderState.FILLED


# with the journal in a real PostgreSQL

ROUNDS = 200
QUICK = Absence(looks=3, seconds=0.3)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url, pool_size=4, application_name="test")
    yield opened
    await opened.dispose()


def analysis(at: Quote) -> Analysis:
    around = PriceRange(at.bid, at.ask)
    ranges = PriceRanges(around, around, around, around)
    return Analysis(Decision.BUY, 70, ("test",), ranges, "rules", at.price, at.at)


async def attempt(engine: AsyncEngine, broker: KisBroker, sandbox: Sandbox, order: JournalOrder) -> None:
    """One task: claim, send, write down; it may die of any error on the way."""
    assert await journal.claim(engine, order.id)
    try:
        placement = await broker.place(order.intent, INSTRUMENT, quote(sandbox))
    except Throttled:
        # proven, so there is nothing to look for: an equal order could be taken for it
        await journal.set_state(engine, order.id, OrderState.THROTTLED, expected=OrderState.SENDING)
        return
    await journal.record(engine, order.id, placement)


async def settle(engine: AsyncEngine, broker: KisBroker, order: JournalOrder) -> JournalOrder:
    """The next task: ask the venue, and believe only what it proves."""
    if order.state is OrderState.SENDING:
        await journal.set_state(engine, order.id, OrderState.UNKNOWN, expected=OrderState.SENDING)
    placement: Placement | None
    for look in range(5):
        try:
            placement = await look_for(broker, order.intent.client_order_id)
            break
        except (Ambiguous, AssertionError):
            raise
        except VenueError:
            assert look < 4
    if placement is None:
        await journal.set_state(engine, order.id, OrderState.NOT_CREATED, expected=OrderState.UNKNOWN, reason="absent")
        return await journal.get(engine, order.id)
    return await journal.record(engine, order.id, placement)


@pytest.mark.timeout(420)
async def test_in_200_faults_no_order_is_doubled_and_none_is_lost(
    sandbox: Sandbox, trading: KisTrading, engine: AsyncEngine
) -> None:
    at = quote(sandbox)
    placed: list[JournalOrder] = []
    for number, fault in enumerate(islice(cycle(FAULTS), ROUNDS)):
        run = await runs.open_run(
            engine, market="kis", slot=at.at + timedelta(minutes=number), task_id=str(uuid4()), symbols=(SAMSUNG,)
        )
        stored = await analyses.store(
            engine, run_id=run.id, market="kis", symbol=SAMSUNG, analysis=analysis(at), indicators={}, trace_id=None
        )
        await control(sandbox, "faults", kind=fault, seconds=TIMEOUT + 0.1, looks=2)
        for again in range(2):
            # a new broker each time, as after a crash: it remembers nothing
            broker = KisBroker(trading, journal_known(engine), absence=QUICK, pause_seconds=0.02)
            made = client_order_id(str(run.id), "kis", SAMSUNG, Side.BUY, 1, again + 1)
            wanted = replace(intent(sandbox), client_order_id=made)
            order = await journal.plan(engine, wanted, origin=Origin(stored.id, run.id))
            with contextlib.suppress(VenueError):
                await attempt(engine, broker, sandbox, order)
            order = await journal.get(engine, order.id)
            if order.state in UNPROVEN | {OrderState.ACCEPTED}:
                asked = KisBroker(trading, journal_known(engine), absence=QUICK, pause_seconds=0.02)
                order = await settle(engine, asked, order)
            if order.state not in (OrderState.NOT_CREATED, OrderState.THROTTLED):
                break
        placed.append(order)
        # round by round: a doubled order here and a lost one there would make the sum right again
        assert len(await at_venue(sandbox)) == number + 1, fault
    orders = await at_venue(sandbox)
    # one order a round, each filled, each known by its number to exactly one intent
    assert {order.state for order in placed} == {OrderState.FILLED}
    assert len({order.venue_order_id for order in placed}) == len(orders) == ROUNDS
    assert {str(order.venue_order_id).partition("-")[2] for order in placed} == {order["odno"] for order in orders}
    assert sum(order.filled_quantity for order in placed) == sum(int(order["filled"]) for order in orders)
    assert await journal.unproven(engine, "kis") == []
