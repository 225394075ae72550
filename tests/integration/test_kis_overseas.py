"""US orders at KIS over real HTTP: whatever becomes of a request, journal and account tell the same afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.venues.kis_overseas_account import FAULTS
from storage import analyses, runs
from storage import orders as journal
from storage.engine import open_engine
from storage.journal import JournalOrder, Origin
from trading.orders import RESTING, UNPROVEN, client_order_id
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
from workers.errors import Ambiguous, BadCredentials, Throttled, TimedOut, UnknownSymbol, Unproven, VenueError
from workers.http import NotSent, VenueHttp, open_session, send_within
from workers.kis.auth import SharedToken
from workers.kis.environment import Environment
from workers.kis.errors import NotOffered, TurnedAway
from workers.kis.holidays import KisHolidays, differences
from workers.kis.overseas_broker import KisOverseasBroker
from workers.kis.overseas_calls import KisCalls
from workers.kis.overseas_client import EXCHANGES, KisOverseasClient
from workers.kis.overseas_known import journal_known_us
from workers.kis.overseas_matching import SentUs
from workers.kis.overseas_trading import KisOverseasTrading
from workers.kis.trading import AccountNumber, KisTrading
from workers.ports import Broker

TSLA, SPY = "TSLA", "SPY"
NASD, _, AMEX = EXCHANGES
KEY, SECRET, CANO = "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
INSTRUMENT = Instrument("yfinance", TSLA, "Tesla", "equity_us", "USD", Decimal(1), Decimal(1), Decimal("0.0025"))
PRICE, BID, ASK = Decimal("400.00"), Decimal("399.99"), Decimal("400.01")
NOT_CREATED = (
    "throttled", "ledger_throttled", "token_expired", "timeout_before", "reset_before", "html_before", "error_before",
)  # fmt: skip
ORDER_FAULTS = tuple(kind for kind in FAULTS if kind != "ignored")
TIMEOUT = 1.0
AT = "/uapi/overseas-stock/v1/trading/"
Connect = Callable[..., KisCalls]


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
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(TIMEOUT)
    yield http
    await http.close()


@pytest.fixture
def connect(http: VenueHttp, redis: Redis, sandbox: Sandbox) -> Connect:
    def connect(environment: str = "real", cano: str = CANO) -> KisCalls:
        url = f"{sandbox.url}/kis"
        token = SharedToken(http, redis, url, KEY, SECRET)
        return KisCalls(http, token, Environment(environment, url), KEY, SECRET, AccountNumber(cano).fields)

    return connect


class Known:
    """What the journal would know, for tests of the broker alone."""

    def __init__(self) -> None:
        self.sent: dict[str, SentUs] = {}

    async def __call__(self, client_order_id: str) -> SentUs | None:
        return self.sent.get(client_order_id)

    def add(self, intent: OrderIntent, *, owned: frozenset[str] = frozenset()) -> OrderIntent:
        self.sent[intent.client_order_id] = SentUs(intent, datetime.now(UTC), None, owned)
        return intent

    def learn(self, client_order_id: str, **told: Any) -> None:
        self.sent[client_order_id] = replace(self.sent[client_order_id], **told)


@pytest.fixture
def known() -> Known:
    return Known()


def open_broker(calls: KisCalls, known: Any) -> KisOverseasBroker:
    # the quotations are asked without an account
    return KisOverseasBroker(KisOverseasTrading(calls), KisOverseasClient(calls), known, looks=2, pause_seconds=0.05)


@pytest.fixture
async def broker(connect: Connect, known: Known, sandbox: Sandbox) -> KisOverseasBroker:
    await open_account(sandbox)
    return open_broker(connect(), known)


async def control(sandbox: Sandbox, path: str, **body: object) -> Any:
    return await asyncio.to_thread(SandboxControl(sandbox.url).post, f"kis_overseas/{path}", body)


async def open_account(sandbox: Sandbox, **changed: object) -> None:
    await control(sandbox, "price", symbol=TSLA, price=str(PRICE))
    await control(sandbox, "accounts", **{"cano": CANO, "cash": "10000000", "holdings": {}, **changed})


async def at_venue(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The orders, without the cancellations, which are rows of their own."""
    accounts = await asyncio.to_thread(SandboxControl(sandbox.url).get, "kis_overseas/accounts")
    return [order for order in accounts[0]["orders"] if not order["original"]]


def posts(sandbox: Sandbox, path: str) -> int:
    return Counter(request["path"] for request in sandbox.requests.listed())[f"{AT}{path}"]


def quote() -> Quote:
    return Quote(TSLA, PRICE, BID, ASK, Decimal("0.01"), datetime.now(UTC))


def intent(name: str = "a", side: Side = Side.BUY, quantity: int = 2, **changed: Any) -> OrderIntent:
    price = ASK if side is Side.BUY else BID
    made = OrderIntent(f"us-{name}", "yfinance", TSLA, side, Decimal(quantity), price, "USD")
    return replace(made, **changed)


def resting(name: str = "r", **changed: Any) -> OrderIntent:
    return intent(name, **{"price": BID, "time_in_force": TimeInForce.GTC, **changed})


async def test_it_is_a_broker(broker: KisOverseasBroker) -> None:
    port: Broker = broker
    assert await port.find("never sent") is None
    assert (port.market, port.absence.looks, port.absence.seconds) == ("yfinance", 4, 30.0)
    with pytest.raises(Unproven):
        await port.cancel("never sent")


@pytest.mark.parametrize("environment", ["real", "mock"])
async def test_account_and_holdings_are_what_kis_says(
    sandbox: Sandbox, connect: Connect, known: Known, environment: str
) -> None:
    held = {name: {"quantity": 3, "average_price": "350.5"} for name in (TSLA, SPY)}
    held["AAPL"] = {"quantity": 0, "average_price": "0"}
    await open_account(sandbox, environment=environment, cash="5000", holdings=held)
    broker = open_broker(connect(environment), known)
    placed = await broker.place(known.add(resting(quantity=1)), INSTRUMENT, quote())
    assert placed.state is OrderState.ACCEPTED
    account = await broker.account(INSTRUMENT)
    assert (account.currency, account.cash) == ("USD", 5000 - BID)
    assert (account.position.quantity, account.position.average_price) == (3, Decimal("350.5"))
    assert (await broker.account(replace(INSTRUMENT, symbol="AAPL"))).position.quantity == 0
    holdings = await broker.holdings()
    assert holdings is not None
    # an order that rests has changed nothing yet
    assert (holdings.cash, set(holdings.positions)) == (5000, {TSLA, SPY})
    (order,) = await broker.open_orders(TSLA)
    assert (order.venue_order_id, order.symbol, order.side) == (placed.venue_order_id, TSLA, Side.BUY)
    assert (order.quantity, order.filled, order.price, order.client_order_id) == (1, 0, BID, None)
    assert await broker.open_orders("AAPL") == []


async def test_the_exchange_is_found_once_and_never_guessed(
    sandbox: Sandbox, connect: Connect, broker: KisOverseasBroker
) -> None:
    client = KisOverseasClient(connect())
    assert [await client.exchange_of(symbol) for symbol in (TSLA, SPY, TSLA)] == [NASD, AMEX, NASD]
    assert (
        Counter(request["path"] for request in sandbox.requests.listed())["/uapi/overseas-price/v1/quotations/price"]
        == 6
    )
    for symbol in ("NOSUCH", "not a ticker"):
        with pytest.raises(UnknownSymbol):
            await client.exchange_of(symbol)
    with pytest.raises(UnknownSymbol):
        await broker.place(
            intent(symbol="NOSUCH"), replace(INSTRUMENT, symbol="NOSUCH"), replace(quote(), symbol="NOSUCH")
        )
    assert posts(sandbox, "order") == 0


async def test_without_a_known_exchange_nothing_is_sent_and_that_is_proven(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    fault = sandbox.faults.order({"service": "kis", "kind": "html", "path": "quotations/price"})
    with pytest.raises(TurnedAway, match="not sent"):
        await broker.place(known.add(intent()), INSTRUMENT, quote())
    assert posts(sandbox, "order") == 0
    sandbox.faults.clear(fault.id)
    # so it may be tried again
    assert (await broker.place(intent(), INSTRUMENT, quote())).state is OrderState.FILLED


@pytest.mark.parametrize(
    ("environment", "side"), [("real", "buy"), ("real", "sell"), ("mock", "buy"), ("mock", "sell")]
)
async def test_an_order_that_crosses_is_filled_once_with_a_key_of_its_own(
    sandbox: Sandbox, connect: Connect, known: Known, environment: str, side: str
) -> None:
    held = {TSLA: {"quantity": 5, "average_price": "300"}}
    await open_account(sandbox, environment=environment, holdings=held)
    broker = open_broker(connect(environment), known)
    wanted = known.add(intent(side=Side(side)))
    placement = await broker.place(wanted, INSTRUMENT, quote())
    (order,) = await at_venue(sandbox)
    day = f"{datetime.now(UTC) + timedelta(hours=9):%Y%m%d}"
    assert placement.venue_order_id == f"{day}-{order['odno']}"
    assert placement.state is OrderState.FILLED
    (fill,) = placement.fills
    assert (fill.trade_id, fill.quantity, fill.price) == (f"{placement.venue_order_id}-0-2", 2, wanted.price)
    assert fill.fee == 2 * wanted.price * Decimal("0.0025")
    # the same id again sends nothing
    again = await broker.place(wanted, INSTRUMENT, quote())
    assert (again.state, again.venue_order_id) == (placement.state, placement.venue_order_id)
    assert len(await at_venue(sandbox)) == posts(sandbox, "order") == 1


async def test_keys_and_accounts_of_the_other_environment_place_nothing(
    sandbox: Sandbox, connect: Connect, known: Known
) -> None:
    for environment, other in (("real", "mock"), ("mock", "real")):
        await open_account(sandbox, environment=environment)
        with pytest.raises(BadCredentials):
            await open_broker(connect(other), known).place(known.add(intent(other)), INSTRUMENT, quote())
        assert await at_venue(sandbox) == []
    with pytest.raises(NotOffered):
        await KisOverseasTrading(connect("mock")).open()


async def test_what_does_not_cross_at_once_is_cancelled(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    missed = await broker.place(known.add(intent(price=BID)), INSTRUMENT, quote())
    assert (missed.state, missed.fills) == (OrderState.CANCELLED, ())
    await open_account(sandbox, depth=3)
    partly = await broker.place(known.add(intent("deep", quantity=10)), INSTRUMENT, quote())
    assert partly.state is OrderState.CANCELLED
    assert partly.reason == "partly_filled: 3 of 10 traded, the rest is cancelled"
    assert [fill.quantity for fill in partly.fills] == [3]
    (order,) = await at_venue(sandbox)
    assert (order["filled"], order["cancelled"]) == (3, 7)


async def test_an_order_rests_is_filled_in_two_steps_and_each_step_is_a_fill_of_its_own(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    await open_account(sandbox, depth=3)
    wanted = known.add(resting(quantity=5))
    placed = await broker.place(wanted, INSTRUMENT, quote())
    assert (placed.state, placed.fills) == (OrderState.ACCEPTED, ())
    known.learn("us-r", venue_order_id=placed.venue_order_id)
    await control(sandbox, "price", symbol=TSLA, price="399.00")
    first = await broker.find("us-r")
    assert first is not None
    assert (first.state, [fill.trade_id for fill in first.fills]) == (
        OrderState.PARTLY_FILLED, [f"{placed.venue_order_id}-0-3"],
    )  # fmt: skip
    known.learn("us-r", fills=first.fills)
    await control(sandbox, "price", symbol=TSLA, price="398.00")
    second = await broker.find("us-r")
    assert second is not None
    assert (second.state, second.fills[0]) == (OrderState.FILLED, first.fills[0])
    assert [(fill.trade_id, fill.quantity, fill.price) for fill in second.fills[1:]] == [
        (f"{placed.venue_order_id}-3-5", 2, Decimal("398.01"))
    ]
    assert (await broker.cancel("us-r")).state is OrderState.FILLED
    assert posts(sandbox, "order-rvsecncl") == 0


async def test_cancel_takes_the_rest_out_and_keeps_the_fills(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    await open_account(sandbox, depth=3)
    await broker.place(known.add(resting(quantity=5)), INSTRUMENT, quote())
    await control(sandbox, "price", symbol=TSLA, price="399.00")
    # without a number, as after a lost answer: it is found by its facts
    ended = await broker.cancel("us-r")
    assert (ended.state, [fill.quantity for fill in ended.fills]) == (OrderState.CANCELLED, [3])
    known.learn("us-r", fills=ended.fills)
    assert await broker.cancel("us-r") == ended
    assert posts(sandbox, "order-rvsecncl") == 1
    assert await broker.open_orders() == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_after_every_fault_a_cancellation_is_told_as_it_is(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known, fault: str
) -> None:
    await broker.place(known.add(resting()), INSTRUMENT, quote())
    await control(sandbox, "faults", kind=fault, seconds=TIMEOUT + 0.3, looks=2)
    with contextlib.suppress(Unproven, Throttled):
        told = await broker.cancel("us-r")
        (order,) = await at_venue(sandbox)
        assert (told.state is OrderState.CANCELLED) == (order["cancelled"] == 2)
    # asking again is harmless, and at the latest then it is out
    for _ in range(3):
        with contextlib.suppress(Unproven):
            if (await broker.cancel("us-r")).state is OrderState.CANCELLED:
                break
    (order,) = await at_venue(sandbox)
    assert (order["cancelled"], await broker.open_orders()) == (2, [])


async def test_the_rest_of_an_immediate_order_is_taken_out_when_it_is_asked_for(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    # the order is taken, its cancellation goes astray, and so it rests
    await control(sandbox, "faults", kind="")
    await control(sandbox, "faults", kind="error_before")
    placed = await broker.place(known.add(intent(price=BID)), INSTRUMENT, quote())
    assert placed.state is OrderState.ACCEPTED
    assert len(await broker.open_orders()) == 1
    found = await broker.find("us-a", placed.venue_order_id)
    assert found is not None
    assert found.state is OrderState.CANCELLED
    assert await broker.open_orders() == []


async def test_a_refusal_is_a_placement_with_the_venues_words(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    wanted = known.add(intent(quantity=1_000_000))
    placement = await broker.place(wanted, INSTRUMENT, quote())
    assert (placement.state, placement.venue_order_id) == (OrderState.REJECTED, None)
    assert "APBK0952: 주문가능금액을 초과" in str(placement.reason)
    assert await broker.place(wanted, INSTRUMENT, quote()) == placement
    off = await broker.place(intent("off", price=ASK + Decimal("0.001")), INSTRUMENT, quote())
    assert "off_tick" in str(off.reason)
    with pytest.raises(ValueError, match="instrument"):
        await broker.place(wanted, replace(INSTRUMENT, symbol=SPY), quote())


@pytest.mark.parametrize("fault", ORDER_FAULTS)
async def test_after_every_fault_the_venue_tells_the_truth(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known, fault: str
) -> None:
    # orders of ours that look the same are not mistaken for it
    first = await broker.place(known.add(intent("first")), INSTRUMENT, quote())
    wanted = known.add(intent("second"), owned=frozenset({str(first.venue_order_id)}))
    await control(sandbox, "faults", kind=fault, seconds=TIMEOUT + 0.3, looks=2)
    with pytest.raises((Unproven, Throttled)) as caught:
        await broker.place(wanted, INSTRUMENT, quote())
    looks = [await broker.find(wanted.client_order_id) for _ in range(3)]
    orders = await at_venue(sandbox)
    if fault in NOT_CREATED:
        assert looks == [None] * 3
        assert len(orders) == 1
    else:
        assert isinstance(caught.value, Unproven)
        found = looks[-1]
        assert found is not None
        assert found.state is OrderState.FILLED
        assert str(found.venue_order_id).endswith(orders[1]["odno"])
        assert len(orders) == 2
    # a message names neither address nor key nor account
    for secret in ("://", "127.0.0.1", KEY, SECRET, CANO, "eyJ", "\n"):
        assert secret not in str(caught.value)


async def test_two_that_could_be_it_are_for_a_human(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known, connect: Connect
) -> None:
    wanted = known.add(intent())
    for _ in range(2):
        await KisOverseasTrading(connect()).order(wanted.side, NASD, TSLA, wanted.quantity, wanted.price)
    for asked in (broker.find, broker.cancel):
        with pytest.raises(Ambiguous, match="by hand"):
            await asked(wanted.client_order_id)


async def test_an_order_whose_time_is_over_is_proven_not_to_be_sent_and_may_be_sent_again(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    wanted = known.add(intent())
    with send_within(-1.0), pytest.raises(NotSent):
        await broker.place(wanted, INSTRUMENT, quote())
    assert await at_venue(sandbox) == []
    assert (await broker.place(wanted, INSTRUMENT, quote())).state is OrderState.FILLED


async def test_a_look_that_fails_proves_nothing(sandbox: Sandbox, broker: KisOverseasBroker, known: Known) -> None:
    wanted = known.add(intent())
    sandbox.faults.order({"service": "kis", "kind": "hang", "path": "inquire-ccnl", "count": 1, "seconds": 3})
    with pytest.raises(TimedOut):
        await broker.find(wanted.client_order_id)


async def test_an_order_is_accepted_while_the_list_cannot_be_read(
    sandbox: Sandbox, broker: KisOverseasBroker, known: Known
) -> None:
    wanted = known.add(intent())
    fault = sandbox.faults.order({"service": "kis", "kind": "html", "path": "inquire-ccnl"})
    placement = await broker.place(wanted, INSTRUMENT, quote())
    assert placement.state is OrderState.ACCEPTED
    sandbox.faults.clear(fault.id)
    settled = await broker.find(wanted.client_order_id, placement.venue_order_id)
    assert settled is not None
    assert settled.state is OrderState.FILLED


@pytest.mark.parametrize("rows", [1, 2, 5, 20])
async def test_pages_are_read_to_the_end(sandbox: Sandbox, connect: Connect, rows: int) -> None:
    held = {name: {"quantity": 1, "average_price": "100"} for name in ("AAPL", "MSFT", "NVDA", SPY, TSLA)}
    await open_account(sandbox, page_rows=rows, holdings=held)
    trading = KisOverseasTrading(connect())
    assert sorted(row.ovrs_pdno for row in await trading.balance()) == sorted(held)
    sent = [await trading.order(Side.BUY, NASD, TSLA, Decimal(1), BID) for _ in range(5)]
    day = trading.calls.today()
    found = await trading.fills(day - timedelta(days=1), day)
    assert [row.odno for row in found] == [ordered.ODNO for ordered in sent]
    assert sorted(row.odno for row in await trading.open()) == [ordered.ODNO for ordered in sent]


async def test_the_calendar_is_asked_for_once_a_day_by_all_processes(
    sandbox: Sandbox, connect: Connect, redis: Redis, http: VenueHttp
) -> None:
    await asyncio.to_thread(SandboxControl(sandbox.url).post, "kis/accounts", {"cano": CANO, "cash": "1"})
    url = f"{sandbox.url}/kis"

    def calendar(environment: str = "real") -> KisHolidays:
        token = SharedToken(http, redis, url, KEY, SECRET)
        trading = KisTrading(http, token, Environment(environment, url), KEY, SECRET, AccountNumber(CANO))
        return KisHolidays(trading, redis)

    first = await calendar().open_days()
    assert await calendar().open_days() == first
    paths = Counter(request["path"] for request in sandbox.requests.listed())
    assert paths["/uapi/domestic-stock/v1/quotations/chk-holiday"] == 1
    today = calendar().today()

    def weekdays(day: date) -> bool:
        return day.weekday() < 5

    assert differences(first, weekdays, today) == []
    await redis.flushdb()
    with pytest.raises(NotOffered):
        await calendar("mock").open_days()
    await redis.flushdb()
    fault = sandbox.faults.order({"service": "kis", "kind": "html", "path": "chk-holiday"})
    with pytest.raises(VenueError):
        await calendar().open_days()
    sandbox.faults.clear(fault.id)
    with pytest.raises(Throttled, match="within the hour"):
        await calendar().open_days()


# with the journal in a real PostgreSQL

ROUNDS = 50


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url, pool_size=4, application_name="test")
    yield opened
    await opened.dispose()


async def planned(engine: AsyncEngine, number: int) -> Origin:
    run = await runs.open_run(
        engine, market="yfinance", slot=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        task_id=str(uuid4()), symbols=(TSLA,),
    )  # fmt: skip
    around = PriceRange(BID, ASK)
    ranges = PriceRanges(around, around, around, around)
    wanted = Analysis(Decision.BUY, 70, ("test",), ranges, "rules", PRICE, datetime.now(UTC))
    stored = await analyses.store(
        engine, run_id=run.id, market="yfinance", symbol=TSLA, analysis=wanted, indicators={}, trace_id=None
    )
    return Origin(stored.id, run.id)


async def attempt(engine: AsyncEngine, broker: KisOverseasBroker, order: JournalOrder) -> None:
    """One task: claim, send, write down; it may die of any error on the way."""
    assert await journal.claim(engine, order.id)
    try:
        placement = await broker.place(order.intent, INSTRUMENT, quote())
    except Throttled:
        # proven, so there is nothing to look for: an equal order could be taken for it
        await journal.set_state(engine, order.id, OrderState.THROTTLED, expected=OrderState.SENDING)
        return
    await journal.record(engine, order.id, placement)


async def settle(engine: AsyncEngine, broker: KisOverseasBroker, order: JournalOrder) -> JournalOrder:
    """The next tasks: ask the venue, count the looks that found none, and believe only what it proves."""
    if order.state is OrderState.SENDING:
        await journal.set_state(engine, order.id, OrderState.UNKNOWN, expected=OrderState.SENDING)
    for _ in range(4):
        try:
            placement = await broker.find(order.intent.client_order_id)
        except Ambiguous:
            raise
        except VenueError:
            continue
        if placement is not None:
            return await journal.record(engine, order.id, placement)
    await journal.set_state(engine, order.id, OrderState.NOT_CREATED, expected=OrderState.UNKNOWN, reason="absent")
    return await journal.get(engine, order.id)


@pytest.mark.timeout(280)
async def test_in_50_seeded_faults_no_order_is_doubled_and_none_is_lost(
    sandbox: Sandbox, connect: Connect, engine: AsyncEngine
) -> None:
    seeded = random.Random(20261122)
    await open_account(sandbox, cash="100000000")
    calls = connect()
    placed: list[JournalOrder] = []
    for number in range(ROUNDS):
        fault = seeded.choice(ORDER_FAULTS)
        rests = seeded.random() < 0.5
        origin = await planned(engine, number)
        await control(sandbox, "faults", kind=fault, seconds=TIMEOUT + 0.1, looks=2)
        for again in range(2):
            made = client_order_id(str(origin.run_id), "yfinance", TSLA, Side.BUY, 1, again + 1)
            # half of them find nothing to trade with, and have to be out of the book again
            wanted = intent(price=BID if rests else ASK, client_order_id=made)
            order = await journal.plan(engine, wanted, origin=origin)
            with contextlib.suppress(VenueError):
                # a new broker each time, as after a crash: it remembers nothing
                await attempt(engine, open_broker(calls, journal_known_us(engine)), order)
            order = await journal.get(engine, order.id)
            if order.state in UNPROVEN | RESTING:
                order = await settle(engine, open_broker(calls, journal_known_us(engine)), order)
            if order.state not in (OrderState.NOT_CREATED, OrderState.THROTTLED):
                break
        placed.append(order)
        assert order.state is (OrderState.CANCELLED if rests else OrderState.FILLED), fault
        # round by round: a doubled order here and a lost one there would make the sum right again
        assert len(await at_venue(sandbox)) == number + 1, fault
    orders = await at_venue(sandbox)
    # one order a round, each known by its number to exactly one intent, and none of them rests
    assert len({order.venue_order_id for order in placed}) == len(orders) == ROUNDS
    assert {str(order.venue_order_id).partition("-")[2] for order in placed} == {order["odno"] for order in orders}
    assert sum(order.filled_quantity for order in placed) == sum(int(order["filled"]) for order in orders)
    assert all(int(order["filled"]) + int(order["cancelled"]) == 2 for order in orders)
    assert await journal.unproven(engine, "yfinance") == []
    assert await journal.resting(engine, "yfinance") == []


async def test_the_journal_hands_back_the_fills_and_the_numbers_of_others(
    sandbox: Sandbox, connect: Connect, engine: AsyncEngine
) -> None:
    await open_account(sandbox, depth=3)
    known = journal_known_us(engine)
    assert await known("never planned") is None
    broker = open_broker(connect(), known)
    filled = await journal.plan(engine, intent("filled"), origin=await planned(engine, 0))
    await attempt(engine, broker, filled)
    order = await journal.plan(engine, resting("r", quantity=5), origin=await planned(engine, 1))
    assert await known("us-r") is None
    await attempt(engine, broker, order)
    for price, state in (("399.00", OrderState.PARTLY_FILLED), ("398.00", OrderState.FILLED)):
        await control(sandbox, "price", symbol=TSLA, price=price)
        placement = await broker.find("us-r")
        assert placement is not None
        for _ in range(2):
            # written down twice, as by two deliveries of a message: still the same fills
            assert (await journal.record(engine, order.id, placement)).state is state
    sent = await known("us-r")
    assert sent is not None
    assert sent.intent == order.intent
    assert (sent.filled, sent.value) == (5, 3 * Decimal("399.01") + 2 * Decimal("398.01"))
    assert sent.owned == {(await journal.get(engine, filled.id)).venue_order_id}
