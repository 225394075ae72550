"""An order goes out in its time or not at all, and nothing else is held to it: over HTTP, and at the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from house import House

from notifications.trades import TradeNotifier
from sandbox.client import SandboxControl
from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask, tick_size
from storage import orders as journal
from storage.exits import begin
from storage.journal import JournalOrder, Origin
from tasks import placing
from tasks.placing import Desk, place
from trading.exits import Exit, ExitKind
from trading.types import Instrument, OrderIntent, OrderState, Quote, Side
from workers.calls import Call
from workers.errors import Unreachable, VenueError
from workers.http import NotSent, VenueHttp, open_session, request_json, send_within
from workers.kis.auth import SharedToken
from workers.kis.broker import KisBroker
from workers.kis.environment import Environment
from workers.kis.known import journal_known
from workers.kis.trading import AccountNumber, KisTrading
from workers.limits import Admission, Bucket, Limiter
from workers.ports import Absence, Broker
from workers.runtime import Runtime
from workers.upbit.broker import UpbitBroker
from workers.upbit.market import UpbitMarket

ORDER = Call("upbit", "place_order", "KRW-BTC")
READ = Call("upbit", "accounts")
TOKEN = Call("kis", "token")
SECONDS = 0.2
LATE = 0.4


class Venue:
    """Counts what arrives."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.arrived.append(request.path.lstrip("/"))
        return web.json_response({})


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    venue, app = Venue(), web.Application()
    app.router.add_route("*", "/{name}", venue.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}"
    yield venue
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(5.0)
    yield http
    await http.close()


def never(_: Call, __: int, ___: Any) -> VenueError | None:
    return None


async def order(http: VenueHttp, venue: Venue, name: str = "order") -> None:
    await request_json(http, ORDER, "POST", f"{venue.url}/{name}", judge=never, body={}, fail_closed=True)


async def read(http: VenueHttp, venue: Venue) -> None:
    await request_json(http, READ, "GET", f"{venue.url}/read", judge=never)


async def token(http: VenueHttp, venue: Venue) -> None:
    await request_json(http, TOKEN, "POST", f"{venue.url}/token", judge=never, body={})


# the requests


async def test_an_order_in_its_time_is_sent(http: VenueHttp, venue: Venue) -> None:
    with send_within(10.0):
        await order(http, venue)
    assert venue.arrived == ["order"]


async def test_an_order_that_would_go_out_late_is_never_sent(http: VenueHttp, venue: Venue) -> None:
    with send_within(SECONDS):
        await asyncio.sleep(LATE)
        with pytest.raises(Unreachable, match=r"not sent, it was to go out 0\.\d s earlier"):
            await order(http, venue)
    assert venue.arrived == []


async def test_an_order_outside_the_block_is_held_to_nothing(http: VenueHttp, venue: Venue) -> None:
    with send_within(SECONDS):
        await asyncio.sleep(LATE)
    await order(http, venue)
    assert venue.arrived == ["order"]


async def test_other_requests_are_neither_held_to_it_nor_use_it_up(http: VenueHttp, venue: Venue) -> None:
    with send_within(SECONDS):
        await token(http, venue)
        await read(http, venue)
        await asyncio.sleep(LATE)
        await token(http, venue)
        await read(http, venue)
        with pytest.raises(Unreachable):
            await order(http, venue)
    assert venue.arrived == ["token", "read", "token", "read"]


async def test_only_the_first_order_request_is_bound(http: VenueHttp, venue: Venue) -> None:
    with send_within(SECONDS):
        await order(http, venue, "order")
        await asyncio.sleep(LATE)
        # such as the cancellation of what the order left
        await order(http, venue, "cancellation")
    assert venue.arrived == ["order", "cancellation"]


async def test_a_block_inside_another_has_a_time_of_its_own(http: VenueHttp, venue: Venue) -> None:
    with send_within(SECONDS):
        await asyncio.sleep(LATE)
        with send_within(10.0):
            await order(http, venue, "inner")
        with pytest.raises(Unreachable):
            await order(http, venue, "outer")
    assert venue.arrived == ["inner"]


async def test_a_block_that_fails_leaves_nothing_behind(http: VenueHttp, venue: Venue) -> None:
    with pytest.raises(ZeroDivisionError), send_within(SECONDS):
        raise ZeroDivisionError
    await asyncio.sleep(LATE)
    await order(http, venue)
    assert venue.arrived == ["order"]


async def test_tasks_of_other_orders_have_their_own_time(http: VenueHttp, venue: Venue) -> None:
    async def late(name: str) -> None:
        with send_within(SECONDS):
            await asyncio.sleep(LATE)
            with pytest.raises(Unreachable):
                await order(http, venue, name)

    async def in_time(name: str) -> None:
        with send_within(10.0):
            await asyncio.sleep(LATE)
            await order(http, venue, name)

    async def unbound(name: str) -> None:
        await asyncio.sleep(LATE)
        await order(http, venue, name)

    await asyncio.gather(late("late-1"), in_time("in-time-1"), unbound("unbound"), in_time("in-time-2"), late("late-2"))
    assert sorted(venue.arrived) == ["in-time-1", "in-time-2", "unbound"]


async def test_an_order_sent_from_a_task_of_the_block_is_bound_too(http: VenueHttp, venue: Venue) -> None:
    async def later() -> None:
        await asyncio.sleep(LATE)
        await order(http, venue)

    with send_within(SECONDS), pytest.raises(Unreachable):
        await asyncio.gather(later())
    assert venue.arrived == []


# the brokers


class Held(Limiter):
    """The real limiter, in front of which an order is held up as in a process that was stopped."""

    seconds = 0.0

    async def enter(self, bucket: Bucket, what: object, *, max_wait: float, fail_closed: bool = False) -> Admission:
        if fail_closed:
            await asyncio.sleep(self.seconds)
        return await super().enter(bucket, what, max_wait=max_wait, fail_closed=fail_closed)


@dataclass
class Counter:
    """The desk of a market at the sandbox, with the real journal, and what arrives there."""

    desk: Desk
    quote: Quote
    intent: OrderIntent
    limiter: Held
    sandbox: Sandbox
    path: str
    exits: list[UUID] = field(default_factory=list)

    @property
    def posts(self) -> int:
        """Order requests that arrived."""
        return sum(
            request["method"] == "POST" and request["path"].endswith(self.path)
            for request in self.sandbox.requests.listed()
        )

    async def place(self) -> JournalOrder:
        what = Exit(ExitKind.STOP_LOSS, Decimal(1), self.quote.price, self.quote.price, Decimal(0), "test")
        engine, instrument = self.desk.runtime.engine, self.desk.instrument
        of = await begin(
            engine, market=instrument.market, symbol=instrument.symbol, exit=what, average_price=self.quote.price
        )
        self.exits.append(of.id)
        return await place(self.desk, self.intent, self.quote, origin=Origin(exit_id=of.id), leg=1)

    async def state(self) -> OrderState:
        """Of the order of the first exit."""
        (order,) = await journal.for_exit(self.desk.runtime.engine, self.exits[0])
        return order.state


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture(params=["upbit", "kis"])
async def counter(
    request: pytest.FixtureRequest, house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counter]:
    limiter = Held(house.redis)
    http = open_session(5.0, limiter=limiter)
    opened = await {"upbit": upbit, "kis": kis}[request.param](house, sandbox, http)
    broker, instrument, quote, path = opened
    intent = OrderIntent(
        f"{instrument.market}-late",
        instrument.market,
        instrument.symbol,
        Side.BUY,
        instrument.quantity_step * (100_000 if instrument.market == "upbit" else 2),
        quote.ask,
        "KRW",
    )
    notifier = TradeNotifier(house.redis, "ko")
    # enough for an order in its time, also on a slow machine
    monkeypatch.setattr(placing, "SEND_SECONDS", 2.0)
    yield Counter(Desk(cast(Runtime, house), broker, notifier, instrument), quote, intent, limiter, sandbox, path)
    await http.close()


async def upbit(house: House, sandbox: Sandbox, http: VenueHttp) -> tuple[Broker, Instrument, Quote, str]:
    access, secret = "access-key-of-the-test", "secret-key-of-the-test-0123456789abcdef"
    async with aiohttp.ClientSession(sandbox.url) as control:
        account = {"access_key": access, "secret_key": secret, "balances": {"KRW": "1000000000"}}
        assert (await control.post("/control/upbit/accounts", json=account)).status == 201
    market = UpbitMarket(http, f"{sandbox.url}/upbit")
    broker = UpbitBroker(http, f"{sandbox.url}/upbit", access, secret, absence=Absence(1, 0.0))
    return broker, await market.instrument("KRW-BTC"), await market.quote("KRW-BTC"), "/v1/orders"


async def kis(house: House, sandbox: Sandbox, http: VenueHttp) -> tuple[Broker, Instrument, Quote, str]:
    url, key, secret, cano = f"{sandbox.url}/kis", "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
    account = {"cano": cano, "cash": "100000000000", "holdings": {}}
    await asyncio.to_thread(SandboxControl(sandbox.url).post, "kis/accounts", account)
    shared = SharedToken(http, house.redis, url, key, secret)
    trading = KisTrading(http, shared, Environment("real", url), key, secret, AccountNumber(cano))
    broker = KisBroker(trading, journal_known(house.engine), absence=Absence(1, 0.0), pause_seconds=0.05)
    symbol, price = "005930", sandbox.book.price("kis", "005930")
    instrument = Instrument("kis", symbol, "삼성전자", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
    bid, ask = best_bid_and_ask("kis", price)
    return broker, instrument, Quote(symbol, price, bid, ask, tick_size("kis", price), datetime.now(UTC)), "/order-cash"


async def test_a_broker_sends_an_order_that_is_in_its_time(counter: Counter) -> None:
    assert (await counter.place()).state is OrderState.FILLED
    assert counter.posts == 1


async def test_a_broker_never_sends_an_order_that_is_late(counter: Counter) -> None:
    counter.limiter.seconds = 2.3
    with pytest.raises(NotSent):
        await counter.place()
    # that it was not sent is proven: nobody has to ask for it, and a new attempt may be made at once
    assert await counter.state() is OrderState.NOT_CREATED
    assert await journal.unproven(counter.desk.runtime.engine, counter.desk.market) == []
    assert counter.posts == 0
    assert await counter.desk.broker.find(counter.intent.client_order_id) is None


async def test_a_late_order_leaves_the_next_one_its_time(counter: Counter) -> None:
    counter.limiter.seconds = 2.3
    with pytest.raises(NotSent):
        await counter.place()
    counter.limiter.seconds = 0.0
    counter.intent = replace(counter.intent, client_order_id=f"{counter.desk.market}-next")
    assert (await counter.place()).state is OrderState.FILLED
    assert counter.posts == 1
