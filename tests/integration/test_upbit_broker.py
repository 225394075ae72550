"""Upbit's broker against the sandbox exchange and the journal: one order for one decision, whatever gets lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.server import Sandbox
from sandbox.venues.upbit_matching import Order
from storage import analyses, orders, runs
from storage.engine import open_engine
from storage.journal import JournalOrder, Origin
from trading.orders import RESTING, client_order_id
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
    TimeInForce,
)
from workers.errors import BadCredentials, Throttled, Unproven, Unreachable
from workers.http import VenueHttp, open_session
from workers.ports import Absence, Broker
from workers.upbit.broker import Looks, UpbitBroker
from workers.upbit.market import UpbitMarket

BTC = "KRW-BTC"
ACCESS, SECRET = "access-key-of-the-test", "secret-key-of-the-test-0123456789abcdef"
CASH, UNITS = Decimal(1_000_000_000), Decimal(7)
SEED = 20_261_122
FAULTS = 200

# (fault, whether the venue created the order)
KINDS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"kind": "hang", "path": "/v1/orders", "seconds": 1}, False),
    ({"kind": "close", "path": "/v1/orders"}, False),
    ({"kind": "error", "path": "/v1/orders", "status": 502}, False),
    ({"kind": "html", "path": "/v1/orders", "status": 503}, False),
    ({"kind": "throttle", "path": "/v1/orders"}, False),
    ({"kind": "throttle", "path": "/v1/orders", "status": 418}, False),
    ({"kind": "order", "variant": "burnt"}, False),
    ({"kind": "order", "variant": "doubled"}, True),
    ({"kind": "order", "variant": "lost_reply", "seconds": 1}, True),
    ({"kind": "order", "variant": "reset"}, True),
    ({"kind": "order", "variant": "error"}, True),
    ({"kind": "order", "variant": "html"}, True),
    ({"kind": "order", "variant": "garbled"}, True),
    ({"kind": "order", "variant": "blocked"}, True),
    ({"kind": "order", "variant": "late", "seconds": 0.04}, True),
    ({"kind": "order", "variant": "resting", "seconds": 0.2}, True),
    ({"kind": "order", "variant": "partial"}, True),
)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    async with aiohttp.ClientSession(sandbox.url) as control:
        balances = {"KRW": str(CASH), "BTC": {"balance": str(UNITS), "avg_buy_price": "140000000"}, "ETH": "0"}
        key = {"access_key": ACCESS, "secret_key": SECRET, "balances": balances}
        assert (await control.post("/control/upbit/accounts", json=key)).status == 201
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(5.0)
    yield http
    await http.close()


@pytest.fixture
def broker(sandbox: Sandbox, http: VenueHttp) -> UpbitBroker:
    return opened(sandbox, http)


@pytest.fixture
async def instrument(sandbox: Sandbox, http: VenueHttp) -> Instrument:
    return await UpbitMarket(http, f"{sandbox.url}/upbit").instrument(BTC)


@pytest.fixture
async def quote(sandbox: Sandbox, http: VenueHttp) -> Quote:
    return await UpbitMarket(http, f"{sandbox.url}/upbit").quote(BTC)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url, pool_size=4, application_name="test")
    yield opened
    await opened.dispose()


def opened(sandbox: Sandbox, http: VenueHttp, **options: Any) -> UpbitBroker:
    """A broker whose patience is a fraction of the real one's."""
    fast: dict[str, Any] = {"order_timeout": 1.0, "ending": Looks(3, 0.02), "absence": Absence(3, 0.06)} | options
    return UpbitBroker(http, f"{sandbox.url}/upbit", ACCESS, SECRET, **fast)


def intent(
    quote: Quote, side: Side = Side.BUY, *, quantity: str = "0.001", attempt: int = 0, leg: int = 1
) -> OrderIntent:
    """An immediate-or-cancel order that crosses."""
    return OrderIntent(
        client_order_id("run", "upbit", BTC, side, leg, attempt),
        "upbit",
        BTC,
        side,
        Decimal(quantity),
        quote.ask if side is Side.BUY else quote.bid,
        "KRW",
    )


def resting(quote: Quote, side: Side = Side.BUY, *, percent: int = 5, **terms: Any) -> OrderIntent:
    """An order that may rest, `percent` away from the quote."""
    factor = Decimal(100 - percent if side is Side.BUY else 100 + percent) / 100
    price = (quote.price * factor // 1000) * 1000
    return replace(intent(quote, side, **terms), price=price, time_in_force=TimeInForce.GTC)


async def looked(broker: Broker, identifier: str) -> Placement | None:
    """What the caller of `find` does: it looks until one look finds the order, or all of `absence` found none."""
    started, looks = time.monotonic(), 0
    while (found := await broker.find(identifier)) is None:
        looks += 1
        if looks >= broker.absence.looks and time.monotonic() - started >= broker.absence.seconds:
            return None
        await asyncio.sleep(broker.absence.seconds / broker.absence.looks)
    return found


async def move(sandbox: Sandbox, price: Decimal) -> None:
    async with aiohttp.ClientSession(sandbox.url) as control:
        reply = await control.post("/control/upbit/price", json={"symbol": BTC, "price": str(price)})
        assert reply.status == 201, await reply.text()


def order_fault(sandbox: Sandbox, fault: Mapping[str, Any]) -> None:
    sandbox.faults.order({"service": "upbit", "count": 1, **fault})


async def shown(sandbox: Sandbox) -> Any:
    async with (
        aiohttp.ClientSession(sandbox.url) as control,
        control.get("/control/upbit/accounts", params={"access_key": ACCESS}) as reply,
    ):
        return await reply.json()


def cancels(sandbox: Sandbox) -> int:
    return sum(request["method"] == "DELETE" for request in sandbox.requests.listed())


def posts(sandbox: Sandbox) -> int:
    return sum(request["method"] == "POST" and request["path"] == "/v1/orders" for request in sandbox.requests.listed())


# what it reads and places


async def test_the_account_is_free_cash_and_the_whole_position(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument
) -> None:
    account = await broker.account(instrument)
    assert (account.currency, account.cash) == ("KRW", CASH)
    assert (account.position.quantity, account.position.average_price) == (UNITS, Decimal(140_000_000))
    holdings = await broker.holdings()
    assert holdings is not None
    assert (holdings.cash, set(holdings.positions)) == (CASH, {BTC})


@pytest.mark.parametrize("side", list(Side))
async def test_an_order_that_crosses_comes_back_filled(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote, side: Side
) -> None:
    wanted = intent(quote, side)
    placed = await broker.place(wanted, instrument, quote)
    assert placed.state is OrderState.FILLED
    value = sum(fill.quantity * fill.price for fill in placed.fills)
    fee = sum(fill.fee for fill in placed.fills)
    assert sum(fill.quantity for fill in placed.fills) == wanted.quantity
    assert fee == value * Decimal("0.0005")
    account = await broker.account(instrument)
    assert account.cash == CASH - fee + (-value if side is Side.BUY else value)
    assert await broker.find(wanted.client_order_id) == placed
    # sent again, it is the first order that is told
    assert await broker.place(wanted, instrument, quote) == placed
    assert len((await shown(sandbox))["orders"]) == 1


async def test_an_order_that_does_not_cross_is_cancelled(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    placed = await broker.place(replace(intent(quote), price=quote.bid), instrument, quote)
    assert (placed.state, placed.fills) == (OrderState.CANCELLED, ())
    assert placed.reason is not None
    assert placed.reason.startswith("not_crossed")


async def test_what_the_venue_would_refuse_is_not_sent(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    good = intent(quote)
    for wrong, reason in (
        (replace(good, price=quote.ask + 1), f"off_tick: price {quote.ask + 1} is no multiple of 1000"),
        (replace(good, quantity=Decimal("0.000000001")), "off_step: quantity 0.000000001 is no multiple of 0.00000001"),
        (replace(good, quantity=Decimal("0.00000001")), "at least 5000 KRW needed"),
        (replace(good, quantity=Decimal("NaN")), "bad_quantity: NaN"),
        (replace(good, price=Decimal(-1)), "bad_price: -1"),
    ):
        placed = await broker.place(wrong, instrument, quote)
        assert placed.state is OrderState.REJECTED
        assert reason in str(placed.reason)
    with pytest.raises(ValueError, match="KRW-ETH"):
        await broker.place(replace(good, symbol="KRW-ETH"), instrument, quote)
    assert posts(sandbox) == 0


async def test_a_refusal_of_the_venue_names_the_figures(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    placed = await broker.place(intent(quote, Side.SELL, quantity="7.5"), instrument, quote)
    assert placed.state is OrderState.REJECTED
    assert str(placed.reason).startswith(f"insufficient_funds_ask: sell 7.5 at {quote.bid} KRW, value ")
    assert "부족합니다" in str(placed.reason)


async def test_an_accepted_order_whose_end_is_not_told_yet_is_accepted_and_found_later(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    order_fault(sandbox, {"kind": "order", "variant": "resting", "seconds": 1})
    wanted = intent(quote)
    placed = await broker.place(wanted, instrument, quote)
    assert (placed.state, placed.fills) == (OrderState.ACCEPTED, ())
    found: Placement | None = placed
    while found == placed:
        await asyncio.sleep(0.1)
        found = await broker.find(wanted.client_order_id)
    assert found is not None
    assert (found.venue_order_id, found.state) == (placed.venue_order_id, OrderState.FILLED)


async def test_an_immediate_order_that_trades_in_part_ends_cancelled_with_its_fills(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    order_fault(sandbox, {"kind": "order", "variant": "partial"})
    placed = await broker.place(intent(quote), instrument, quote)
    assert placed.state is OrderState.CANCELLED
    assert sum(fill.quantity for fill in placed.fills) == Decimal("0.0005")
    assert placed.reason == "partly_filled: 0.0005 of 0.001 traded, the rest is cancelled"


@pytest.mark.parametrize("fault", [{"kind": "close"}, {"kind": "html"}, {"kind": "throttle"}, {"kind": "error"}])
async def test_an_accepted_order_is_accepted_also_when_reading_it_fails(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote, fault: dict[str, Any]
) -> None:
    # the first one takes the order, so the other hits what is read after it
    order_fault(sandbox, {"kind": "order", "variant": "partial"})
    order_fault(sandbox, {"path": "/v1/order", **fault})
    wanted = intent(quote)
    placed = await broker.place(wanted, instrument, quote)
    assert (placed.state, placed.fills) == (OrderState.ACCEPTED, ())
    found = await broker.find(wanted.client_order_id)
    assert found is not None
    assert (found.venue_order_id, found.state) == (placed.venue_order_id, OrderState.CANCELLED)
    assert found.fills


# orders that rest


@pytest.mark.parametrize("side", list(Side))
async def test_an_order_that_may_rest_rests_and_the_account_is_worth_the_same(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote, side: Side
) -> None:
    wanted = resting(quote, side)
    before = await broker.holdings()
    placed = await broker.place(wanted, instrument, quote)
    assert (placed.state, placed.fills, placed.reason) == (OrderState.ACCEPTED, (), None)
    # it is not waited for
    assert [request["path"] for request in sandbox.requests.listed()][-2:] == ["/v1/orders", "/v1/order"]
    assert await broker.find(wanted.client_order_id) == placed
    assert await broker.place(wanted, instrument, quote) == placed
    account = await broker.account(instrument)
    held = wanted.price * wanted.quantity * Decimal("1.0005") if side is Side.BUY else Decimal(0)
    assert account.cash == CASH - held
    assert account.position.quantity == UNITS - (wanted.quantity if side is Side.SELL else 0)
    assert await broker.holdings() == before
    (row,) = (await shown(sandbox))["orders"]
    assert (row["state"], row.get("time_in_force")) == ("wait", None)


@pytest.mark.parametrize("side", list(Side))
async def test_a_resting_order_fills_in_two_parts_and_no_fill_changes(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote, side: Side
) -> None:
    order_fault(sandbox, {"kind": "order", "variant": "partial"})
    wanted = resting(quote, side, quantity="0.00123457")
    assert (await broker.place(wanted, instrument, quote)).state is OrderState.ACCEPTED
    through = wanted.price - 2000 if side is Side.BUY else wanted.price + 2000
    await move(sandbox, through)
    half = await broker.find(wanted.client_order_id)
    assert half is not None
    assert half.state is OrderState.PARTLY_FILLED
    assert 0 < sum(fill.quantity for fill in half.fills) < wanted.quantity
    assert await broker.find(wanted.client_order_id) == half
    (resting_one,) = await broker.open_orders(BTC)
    assert resting_one.filled == sum(fill.quantity for fill in half.fills)
    await move(sandbox, through - 3000 if side is Side.BUY else through + 3000)
    whole = await broker.find(wanted.client_order_id)
    assert whole is not None
    assert whole.state is OrderState.FILLED
    assert whole.fills[: len(half.fills)] == half.fills
    assert sum(fill.quantity for fill in whole.fills) == wanted.quantity
    assert {fill.price for fill in whole.fills} == {wanted.price}
    value, fee = wanted.quantity * wanted.price, sum(fill.fee for fill in whole.fills)
    assert fee == value * Decimal("0.0005")
    assert (await broker.account(instrument)).cash == CASH - fee + (-value if side is Side.BUY else value)


async def test_an_order_cancelled_with_a_part_filled_keeps_its_fills_and_frees_the_rest(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    order_fault(sandbox, {"kind": "order", "variant": "partial"})
    wanted = replace(intent(quote), time_in_force=TimeInForce.GTC)
    placed = await broker.place(wanted, instrument, quote)
    assert placed.state is OrderState.PARTLY_FILLED
    ended = await broker.cancel(wanted.client_order_id)
    assert (ended.state, ended.venue_order_id, ended.fills) == (
        OrderState.CANCELLED,
        placed.venue_order_id,
        placed.fills,
    )
    assert str(ended.reason).startswith("partly_filled: 0.0005 of 0.001 traded")
    # once more is no error, and neither is by Upbit's own id
    assert await broker.cancel(wanted.client_order_id) == ended
    assert await broker.cancel("another name", placed.venue_order_id) == ended
    account = await broker.account(instrument)
    assert account.cash == CASH - sum(fill.quantity * fill.price + fill.fee for fill in ended.fills)
    assert await broker.open_orders() == []


async def test_a_cancellation_that_comes_after_the_fill_tells_the_fill(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    wanted = resting(quote)
    await broker.place(wanted, instrument, quote)
    order_fault(sandbox, {"kind": "cancel", "variant": "filled"})
    ended = await broker.cancel(wanted.client_order_id)
    assert ended.state is OrderState.FILLED
    assert sum(fill.quantity for fill in ended.fills) == wanted.quantity


async def test_a_cancellation_that_was_taken_may_still_lose_to_a_fill(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    wanted = resting(quote)
    await broker.place(wanted, instrument, quote)
    order_fault(sandbox, {"kind": "cancel", "variant": "slow", "seconds": 60})
    assert (await broker.cancel(wanted.client_order_id)).state is OrderState.ACCEPTED
    await move(sandbox, wanted.price - 5000)
    assert (await broker.cancel(wanted.client_order_id)).state is OrderState.FILLED


async def test_a_cancellation_that_takes_a_moment_is_waited_for(
    sandbox: Sandbox, http: VenueHttp, instrument: Instrument, quote: Quote
) -> None:
    broker = opened(sandbox, http, ending=Looks(50, 10.0))
    wanted = resting(quote)
    await broker.place(wanted, instrument, quote)
    order_fault(sandbox, {"kind": "cancel", "variant": "slow", "seconds": 0.5})
    ended = await broker.cancel(wanted.client_order_id)
    assert (ended.state, ended.fills) == (OrderState.CANCELLED, ())
    assert str(ended.reason).startswith("not_traded: ")


@pytest.mark.parametrize("variant", ["lost_reply", "reset", "error", "html", "garbled", "blocked"])
async def test_a_cancellation_whose_reply_is_lost_is_told_by_the_order(
    sandbox: Sandbox, http: VenueHttp, instrument: Instrument, quote: Quote, variant: str
) -> None:
    broker = opened(sandbox, http)
    wanted = resting(quote)
    await broker.place(wanted, instrument, quote)
    order_fault(sandbox, {"kind": "cancel", "variant": variant, "seconds": 2})
    assert (await broker.cancel(wanted.client_order_id)).state is OrderState.CANCELLED
    assert cancels(sandbox) == 1


@pytest.mark.parametrize("fault", [{"kind": "close"}, {"kind": "html"}, {"kind": "error", "status": 502}])
async def test_a_cancellation_that_did_not_arrive_tells_that_the_order_rests(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote, fault: dict[str, Any]
) -> None:
    wanted = resting(quote)
    placed = await broker.place(wanted, instrument, quote)
    order_fault(sandbox, {"path": "/v1/order", **fault})
    assert await broker.cancel(wanted.client_order_id) == placed
    # and if the order cannot be read either, nothing is proven
    order_fault(sandbox, {"path": "/v1/order", **fault, "count": 2})
    with pytest.raises(Unproven, match="cancel it again"):
        await broker.cancel(wanted.client_order_id)
    assert (await broker.cancel(wanted.client_order_id)).state is OrderState.CANCELLED


async def test_what_proves_that_nothing_was_cancelled_is_raised(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    wanted = resting(quote)
    placed = await broker.place(wanted, instrument, quote)
    order_fault(sandbox, {"kind": "throttle", "path": "/v1/order"})
    with pytest.raises(Throttled):
        await broker.cancel(wanted.client_order_id)
    sandbox.upbit.exchange.keys[ACCESS].refuse = "out_of_scope"
    with pytest.raises(BadCredentials):
        await broker.cancel(wanted.client_order_id)
    sandbox.upbit.exchange.keys[ACCESS].refuse = ""
    assert await broker.find(wanted.client_order_id) == placed
    with pytest.raises(Unproven):
        await broker.cancel("nope")


async def test_open_orders_are_all_that_rest_whoever_sent_them(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    ours = resting(quote)
    placed = await broker.place(ours, instrument, quote)
    # placed by hand: without an id of ours, and in another market too
    sold = by_hand(sandbox, BTC, "ask", "0.5", quote.price + 1_000_000)
    other = by_hand(sandbox, "KRW-ETH", "bid", "0.1", Decimal(1_000_000))
    rows = await broker.open_orders(BTC)
    assert [(row.venue_order_id, row.client_order_id) for row in rows] == [
        (placed.venue_order_id, ours.client_order_id),
        (sold, None),
    ]
    assert (rows[0].symbol, rows[0].side, rows[0].currency) == (BTC, Side.BUY, "KRW")
    assert (rows[0].quantity, rows[0].price, rows[0].filled) == (ours.quantity, ours.price, Decimal(0))
    assert rows[1].side is Side.SELL
    assert abs(datetime.now(UTC) - rows[0].at) < timedelta(minutes=1)
    assert {row.venue_order_id for row in await broker.open_orders()} == {placed.venue_order_id, sold, other}
    # it has no id of ours, so it is found and cancelled by Upbit's
    found = await broker.find("adopted", sold)
    assert found is not None
    assert (found.state, found.venue_order_id) == (OrderState.ACCEPTED, sold)
    assert (await broker.cancel("adopted", sold)).state is OrderState.CANCELLED
    assert {row.venue_order_id for row in await broker.open_orders()} == {placed.venue_order_id, other}


# what it proves


@pytest.mark.parametrize(("fault", "created"), KINDS)
async def test_after_every_fault_find_tells_the_truth(
    broker: UpbitBroker,
    sandbox: Sandbox,
    instrument: Instrument,
    quote: Quote,
    fault: dict[str, Any],
    created: bool,
) -> None:
    order_fault(sandbox, fault)
    wanted = intent(quote)
    try:
        placed: Placement | None = await broker.place(wanted, instrument, quote)
    except Throttled:
        assert not created
        placed = None
    except Unproven:
        placed = await looked(broker, wanted.client_order_id)
    while placed is not None and placed.state is OrderState.ACCEPTED:
        await asyncio.sleep(0.05)
        placed = await broker.find(wanted.client_order_id)
    assert posts(sandbox) == 1
    (*rows,) = (await shown(sandbox))["orders"]
    assert len(rows) == created
    if created:
        assert placed is not None
        assert placed.venue_order_id == rows[0]["uuid"]
        assert {fill.trade_id for fill in placed.fills} == {trade["uuid"] for trade in rows[0]["trades"]}
        half = fault.get("variant") == "partial"
        assert placed.state is (OrderState.CANCELLED if half else OrderState.FILLED)
    else:
        assert placed is None


async def test_a_look_for_an_order_that_is_not_there_is_three_requests_and_no_waiting(
    sandbox: Sandbox, http: VenueHttp
) -> None:
    async def never(_: float) -> None:
        raise AssertionError("it waited")

    broker = opened(sandbox, http, sleep=never)
    assert await broker.find("nope") is None
    paths = [request["path"] for request in sandbox.requests.listed()]
    assert paths == ["/v1/order", "/v1/orders/open", "/v1/orders/closed"]
    assert await broker.find("nope", "8d0c4c1e-0000-4000-8000-000000000001") is None
    # what it takes to believe it is for the caller to count
    assert UpbitBroker(http, sandbox.url, ACCESS, SECRET).absence == Absence(3, 30.0)


async def test_a_late_order_is_absent_in_one_look_and_found_by_another(
    broker: UpbitBroker, sandbox: Sandbox, instrument: Instrument, quote: Quote
) -> None:
    order_fault(sandbox, {"kind": "order", "variant": "late", "seconds": 60})
    wanted = intent(quote)
    with pytest.raises(Unproven):
        await broker.place(wanted, instrument, quote)
    assert await broker.find(wanted.client_order_id) is None
    (order,) = sandbox.upbit.exchange.keys[ACCESS].account.orders.values()
    order.visible_at = order.created_at
    found = await broker.find(wanted.client_order_id)
    assert found is not None
    assert (found.venue_order_id, found.state) == (order.uuid, OrderState.FILLED)


async def test_an_order_the_lists_know_is_not_absent(
    sandbox: Sandbox, http: VenueHttp, instrument: Instrument, quote: Quote
) -> None:
    broker = opened(sandbox, http)
    wanted = intent(quote)
    placed = await broker.place(wanted, instrument, quote)
    # reads by identifier do not know it, its uuid and the lists do
    account = sandbox.upbit.exchange.keys[ACCESS].account
    find = account.find
    account.find = lambda uuid, identifier: find(uuid, identifier) if uuid else None  # type: ignore[method-assign]
    assert await broker.find(wanted.client_order_id) == placed
    # and if it cannot be read at all, nothing is proven
    account.find = lambda uuid, identifier: None  # type: ignore[method-assign]
    with pytest.raises(Unproven, match="still open"):
        await broker.find(wanted.client_order_id)


@pytest.mark.parametrize("path", ["/v1/order", "/v1/orders/open", "/v1/orders/closed"])
@pytest.mark.parametrize(
    "fault", [{"kind": "close"}, {"kind": "html"}, {"kind": "error"}, {"kind": "html", "status": 404}]
)
async def test_a_look_that_fails_proves_no_absence(
    broker: UpbitBroker, sandbox: Sandbox, path: str, fault: dict[str, Any]
) -> None:
    order_fault(sandbox, {"path": path, **fault})
    with pytest.raises(Unproven):
        await broker.find("nope")


async def test_a_refused_key_or_rate_proves_no_absence(broker: UpbitBroker, sandbox: Sandbox) -> None:
    order_fault(sandbox, {"kind": "throttle"})
    with pytest.raises(Throttled):
        await broker.find("nope")
    sandbox.upbit.exchange.keys[ACCESS].refuse = "no_authorization_ip"
    with pytest.raises(BadCredentials, match="IP address"):
        await broker.find("nope")


# with the journal


async def test_of_200_faults_none_doubles_or_loses_an_order(
    sandbox: Sandbox, http: VenueHttp, instrument: Instrument, quote: Quote, engine: AsyncEngine
) -> None:
    broker = opened(sandbox, http, order_timeout=0.5)
    origin = await _analysis(engine)
    chosen = random.Random(SEED)
    times_in_force = list(TimeInForce)
    wanted = [(chosen.choice(list(Side)), chosen.choice(times_in_force), chosen.choice(KINDS)) for _ in range(FAULTS)]
    assert {index for index in range(len(KINDS)) if any(kind == KINDS[index] for *_, kind in wanted)} == set(
        range(len(KINDS))
    )
    finals: list[JournalOrder] = []
    sent = 0
    for number, (side, in_force, (fault, created)) in enumerate(wanted):
        quantity = f"0.{chosen.randint(10_000, 9_999_999):08d}"
        order_fault(sandbox, fault)
        order_fault(sandbox, {"kind": "cancel", "variant": chosen.choice(("error", "html", "filled", "garbled"))})
        for attempt in range(3):
            identifier = client_order_id(f"{origin.run_id}-{number}", "upbit", BTC, side, 1, attempt)
            asked = replace(intent(quote, side, quantity=quantity), client_order_id=identifier, time_in_force=in_force)
            planned = await orders.plan(engine, asked, origin=origin)
            assert await orders.claim(engine, planned.id)
            sent += 1
            order = await _send(engine, broker, planned, instrument, quote)
            if order.state not in (OrderState.NOT_CREATED, OrderState.THROTTLED):
                break
            # the fault hit the first attempt only, so nothing that was created is taken for not created
            assert (attempt, created) == (0, False)
        finals.append(order)
        sandbox.faults.clear()

    told = await shown(sandbox)
    rows = {row["identifier"]: row for row in told["orders"]}
    # every decision is one order at the venue, and the journal knows every order there is
    assert len(told["orders"]) == len(rows) == len(finals) == FAULTS
    assert posts(sandbox) == sent
    for order in finals:
        row = rows[order.intent.client_order_id]
        assert order.state in (OrderState.FILLED, OrderState.CANCELLED)
        assert order.venue_order_id == row["uuid"]
        assert {fill.trade_id for fill in order.fills} == {trade["uuid"] for trade in row["trades"]}
        assert order.filled_quantity == Decimal(row["executed_volume"]) > 0
        assert sum(fill.fee for fill in order.fills) == Decimal(row["paid_fee"])
    cash, units = CASH, UNITS
    for order in finals:
        sign = 1 if order.intent.side is Side.BUY else -1
        for fill in order.fills:
            cash -= sign * fill.quantity * fill.price + fill.fee
            units += sign * fill.quantity
    balances = {row["currency"]: row for row in told["balances"]}
    assert Decimal(balances["KRW"]["balance"]) == cash
    assert Decimal(balances["BTC"]["balance"]) == units
    assert {row["locked"] for row in balances.values()} == {"0"}
    assert await orders.unproven(engine, "upbit") == await orders.resting(engine, "upbit") == []


async def _send(
    engine: AsyncEngine, broker: UpbitBroker, planned: JournalOrder, instrument: Instrument, quote: Quote
) -> JournalOrder:
    """Send a claimed order and settle it: what the tasks do, for one order at once."""
    try:
        return await _settled(engine, broker, planned, await broker.place(planned.intent, instrument, quote))
    except Throttled:
        await orders.set_state(engine, planned.id, OrderState.THROTTLED, expected=OrderState.SENDING)
    except (Unproven, Unreachable):
        await orders.set_state(engine, planned.id, OrderState.UNKNOWN, expected=OrderState.SENDING)
        found = await looked(broker, planned.intent.client_order_id)
        if found is not None:
            return await _settled(engine, broker, planned, found)
        await orders.set_state(engine, planned.id, OrderState.NOT_CREATED, expected=OrderState.UNKNOWN)
    return await orders.get(engine, planned.id)


async def _settled(engine: AsyncEngine, broker: UpbitBroker, planned: JournalOrder, word: Placement) -> JournalOrder:
    """The order at its end: what rests of one that traded in part is cancelled."""
    order = await orders.record(engine, planned.id, word)
    while order.state in RESTING:
        if order.state is OrderState.PARTLY_FILLED:
            found: Placement | None = await broker.cancel(order.intent.client_order_id, order.venue_order_id)
        else:
            await asyncio.sleep(0.05)
            found = await broker.find(order.intent.client_order_id, order.venue_order_id)
        assert found is not None
        order = await orders.record(engine, planned.id, found)
    return order


async def _analysis(engine: AsyncEngine) -> Origin:
    now = datetime.now(UTC)
    run = await runs.open_run(engine, market="upbit", slot=now, task_id="t", symbols=(BTC,))
    any_price = PriceRange(Decimal(1), Decimal(2))
    proposed = Analysis(
        decision=Decision.BUY,
        confidence=80,
        reasons=("test",),
        ranges=PriceRanges(any_price, any_price, any_price, any_price),
        model="rules",
        price=Decimal(1),
        at=now - timedelta(seconds=1),
    )
    stored = await analyses.store(
        engine, run_id=run.id, market="upbit", symbol=BTC, analysis=proposed, indicators={}, trace_id="trace"
    )
    return Origin(analysis_id=stored.id, run_id=run.id)


def by_hand(sandbox: Sandbox, symbol: str, side: str, volume: str, price: Decimal) -> str:
    """Rest an order as the venue's own app places it, without an identifier; returns its id."""
    now = datetime.now(UTC)
    order = Order(
        market=symbol,
        side=side,
        ord_type="limit",
        volume=Decimal(volume),
        price=price,
        identifier=None,
        time_in_force=None,
        smp_type="cancel_maker",
        created_at=now,
        visible_at=now,
        matched_at=now,
    )
    sandbox.upbit.exchange.keys[ACCESS].account.open(order)
    return order.uuid
