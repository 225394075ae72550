"""Upbit's signed requests over real HTTP: against the sandbox, and against every error body Upbit documents."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask
from trading.types import Side
from workers.errors import BadCredentials, Rejected, Throttled, UnknownSymbol, Unproven, Unreachable, VenueError
from workers.http import VenueHttp, open_session
from workers.upbit.auth import Keys, authorization
from workers.upbit.exchange import UpbitExchange
from workers.upbit.orders import NewOrder, best, limit, market_buy, market_sell

BTC = "KRW-BTC"
ACCESS, SECRET = "access-key-of-the-test", "secret-key-of-the-test-0123456789abcdef"
ORDER_SECONDS = 1.0


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
async def http(spans: InMemorySpanExporter) -> AsyncIterator[VenueHttp]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    http = open_session(5.0, tracer_provider=provider)
    yield http
    await http.close()


@pytest.fixture
async def upbit(sandbox: Sandbox, http: VenueHttp) -> UpbitExchange:
    await account(sandbox, secret_key=SECRET, balances={"KRW": "10000000", "BTC": "1", "ETH": "2"})
    return exchange(sandbox, http)


def exchange(sandbox: Sandbox, http: VenueHttp, secret: str = SECRET, access: str = ACCESS) -> UpbitExchange:
    return UpbitExchange(http, f"{sandbox.url}/upbit", Keys(access, secret), order_timeout=ORDER_SECONDS)


async def account(sandbox: Sandbox, **changes: Any) -> None:
    async with aiohttp.ClientSession(sandbox.url) as control:
        reply = await control.post("/control/upbit/accounts", json={"access_key": ACCESS, **changes})
        assert reply.status == 201, await reply.text()


async def shown(sandbox: Sandbox) -> Any:
    async with (
        aiohttp.ClientSession(sandbox.url) as control,
        control.get("/control/upbit/accounts", params={"access_key": ACCESS}) as reply,
    ):
        return await reply.json()


def quote(sandbox: Sandbox) -> tuple[Decimal, Decimal]:
    return best_bid_and_ask("upbit", sandbox.book.price("upbit", BTC))


def buy(sandbox: Sandbox, volume: str = "0.001", *, steps: int = 0, **terms: Any) -> NewOrder:
    """A limit buy at the ask; every step is 1 % below it, on the grid."""
    ask = quote(sandbox)[1]
    price = ask if not steps else (ask * (100 - steps) / 100 // 1000) * 1000
    return limit(BTC, Side.BUY, Decimal(volume), price, name(), **terms)


def name() -> str:
    return str(uuid4())


async def failure(asked: Awaitable[object]) -> VenueError:
    with pytest.raises(VenueError) as caught:
        await asked
    told = str(caught.value)
    assert "\n" not in told
    for secret in (SECRET, ACCESS, "eyJ", "://", "127.0.0.1"):
        assert secret not in told
    return caught.value


def posts(sandbox: Sandbox) -> int:
    return sum(request["method"] == "POST" and request["path"] == "/v1/orders" for request in sandbox.requests.listed())


# reads


async def test_accounts_chance_and_keys_are_read(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    rows = {row.currency: row for row in await upbit.accounts()}
    assert (rows["KRW"].balance, rows["BTC"].balance) == (Decimal(10_000_000), Decimal(1))
    chance = await upbit.chance(BTC)
    assert (chance.bid_fee, chance.market.bid.min_total) == (Decimal("0.0005"), Decimal(5000))
    assert chance.ask_account.balance == Decimal(1)
    left = await upbit.expires_at() - datetime.now(UTC)
    assert timedelta(days=364) < left <= timedelta(days=365)


async def test_open_and_closed_orders_are_read_over_pages(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    resting = [(await upbit.place(buy(sandbox, steps=1 + step))).uuid for step in range(5)]
    ended = [(await upbit.place(buy(sandbox))).uuid for _ in range(3)]
    assert [row.uuid for row in await upbit.open_orders(page_rows=2)] == resting
    assert [row.uuid for row in await upbit.open_orders(BTC)] == resting
    assert await upbit.open_orders("KRW-ETH") == []
    now = datetime.now(UTC)
    rows = await upbit.closed_orders(now - timedelta(days=7), now, page_rows=1000)
    assert [row.uuid for row in rows] == ended[::-1]
    assert await upbit.closed_orders(now - timedelta(days=7), now - timedelta(days=1)) == []
    with pytest.raises(ValueError, match="7 days at most"):
        await upbit.closed_orders(now - timedelta(days=8), now)


async def test_closed_orders_of_several_seconds_come_over_pages(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    uuids = []
    for age in range(6):
        uuids.append((await upbit.place(buy(sandbox))).uuid)
        order = sandbox.upbit.exchange.keys[ACCESS].account.orders[uuids[-1]]
        order.created_at -= timedelta(seconds=age)
    now = datetime.now(UTC)
    assert [row.uuid for row in await upbit.closed_orders(now - timedelta(days=1), now, page_rows=3)] == uuids


async def test_more_orders_in_a_second_than_a_page_are_not_passed_over(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    for _ in range(3):
        uuid = (await upbit.place(buy(sandbox))).uuid
        order = sandbox.upbit.exchange.keys[ACCESS].account.orders[uuid]
        order.created_at = order.created_at.replace(microsecond=0) - timedelta(seconds=10)
    now = datetime.now(UTC)
    error = await failure(upbit.closed_orders(now - timedelta(days=1), now, page_rows=2))
    assert "more than 2 orders in one second" in str(error)


# orders


async def test_a_limit_order_that_crosses_fills_at_the_quote_and_pays_its_fee(
    upbit: UpbitExchange, sandbox: Sandbox
) -> None:
    placed = await upbit.place(buy(sandbox))
    order = await upbit.order(uuid=placed.uuid)
    ask = quote(sandbox)[1]
    assert (order.state, order.executed_volume) == ("done", Decimal("0.001"))
    assert order.trades is not None
    assert len({trade.uuid for trade in order.trades}) == 2
    assert {trade.price for trade in order.trades} == {ask}
    value = ask * Decimal("0.001")
    assert order.paid_fee == value * Decimal("0.0005")
    rows = {row.currency: row for row in await upbit.accounts()}
    assert rows["KRW"].balance == Decimal(10_000_000) - value - order.paid_fee
    assert (rows["KRW"].locked, rows["BTC"].balance) == (Decimal(0), Decimal("1.001"))


async def test_a_limit_order_below_the_quote_rests_holds_its_money_and_is_cancelled(
    upbit: UpbitExchange, sandbox: Sandbox
) -> None:
    order = buy(sandbox, steps=5)
    placed = await upbit.place(order)
    assert order.price is not None
    rows = {row.currency: row for row in await upbit.accounts()}
    assert rows["KRW"].locked == order.price * Decimal("0.001") * Decimal("1.0005")
    assert (await upbit.order(identifier=order.identifier)).state == "wait"
    async with aiohttp.ClientSession(sandbox.url) as control:
        fill = {"access_key": ACCESS, "uuid": placed.uuid, "volume": "0.0004"}
        assert (await control.post("/control/upbit/fills", json=fill)).status == 201
    assert (await upbit.cancel(identifier=order.identifier)).uuid == placed.uuid
    after = await upbit.order(uuid=placed.uuid)
    assert (after.state, after.executed_volume, after.remaining_volume) == (
        "cancel",
        Decimal("0.0004"),
        Decimal("0.0006"),
    )
    rows = {row.currency: row for row in await upbit.accounts()}
    assert rows["KRW"].locked == 0
    assert rows["KRW"].balance == 10_000_000 - order.price * Decimal("0.0004") * Decimal("1.0005")
    assert isinstance(await failure(upbit.cancel(uuid=placed.uuid)), Rejected)


@pytest.mark.parametrize(
    ("terms", "steps", "state", "executed"),
    [
        ({"time_in_force": "ioc"}, 0, "done", "0.001"),
        ({"time_in_force": "ioc"}, 5, "cancel", "0"),
        ({"time_in_force": "fok"}, 0, "done", "0.001"),
        ({"time_in_force": "fok"}, 5, "cancel", "0"),
        ({"time_in_force": "post_only", "smp_type": "none"}, 0, "cancel", "0"),
        ({"time_in_force": "post_only"}, 5, "wait", "0"),
        ({"smp_type": "reduce"}, 5, "wait", "0"),
    ],
)
async def test_times_in_force(
    upbit: UpbitExchange, sandbox: Sandbox, terms: dict[str, str], steps: int, state: str, executed: str
) -> None:
    placed = await upbit.place(buy(sandbox, steps=steps, **terms))
    order = await upbit.order(uuid=placed.uuid)
    assert (order.state, order.executed_volume) == (state, Decimal(executed))


async def test_orders_by_value_and_at_best(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    bought = await upbit.order(uuid=(await upbit.place(market_buy(BTC, Decimal(100_000), name()))).uuid)
    # the rest that buys no whole unit is given back, which is why the order ends so
    assert (bought.state, bought.volume) == ("cancel", None)
    assert Decimal(99_000) < bought.executed_volume * quote(sandbox)[1] <= Decimal(100_000)
    sold = await upbit.order(uuid=(await upbit.place(market_sell(BTC, Decimal("0.5"), name()))).uuid)
    assert (sold.state, sold.executed_volume) == ("done", Decimal("0.5"))
    for order in (
        best(BTC, Side.BUY, Decimal(6000), name(), "ioc"),
        best(BTC, Side.SELL, Decimal("0.1"), name(), "fok"),
    ):
        assert (await upbit.order(uuid=(await upbit.place(order)).uuid)).executed_volume > 0


async def test_a_test_order_creates_nothing_and_burns_no_identifier(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    order = buy(sandbox)
    await upbit.test(order)
    assert (await shown(sandbox))["orders"] == []
    await upbit.place(order)


# refusals the sandbox comes to by itself


async def test_what_the_venue_refuses_is_rejected_by_its_name(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    bid, ask = quote(sandbox)
    # notional far over balance
    for order, refusal in (
        (limit(BTC, Side.BUY, Decimal(5), ask, name()), "insufficient_funds_bid"),
        (limit(BTC, Side.SELL, Decimal(5), bid, name()), "insufficient_funds_ask"),
        (limit(BTC, Side.BUY, Decimal("0.00000001"), ask, name()), "under_min_total_bid"),
        (market_sell(BTC, Decimal("0.00000001"), name()), "under_min_total_ask"),
        (market_buy(BTC, Decimal(4999), name()), "under_min_total_bid"),
        (limit(BTC, Side.BUY, Decimal(1), ask + 1, name()), "invalid_price_bid"),
        (limit(BTC, Side.SELL, Decimal(1), ask + 1, name()), "invalid_price_ask"),
        (market_buy(BTC, Decimal("1E10"), name()), "over_krw_funds_bid"),
        (NewOrder(BTC, Side.BUY, "best", name(), price=Decimal(6000)), "invalid_time_in_force"),
        (NewOrder(BTC, Side.BUY, "market", name(), volume=Decimal(1)), "create_bid_error"),
    ):
        error = await failure(upbit.place(order))
        assert isinstance(error, Rejected), refusal
        assert error.name == refusal
        # the identifier is burnt, whatever came of it
        again = await failure(upbit.place(limit(BTC, Side.BUY, Decimal("0.001"), ask, order.identifier)))
        assert isinstance(again, Rejected)
        assert again.name == "duplicated_identifier"
    assert isinstance(await failure(upbit.place(market_buy("KRW-NOPE", Decimal(6000), name()))), UnknownSymbol)
    assert (await shown(sandbox))["orders"] == []


async def test_an_order_that_is_not_there_is_said_so(upbit: UpbitExchange) -> None:
    for asked in (upbit.order(uuid=str(uuid4())), upbit.order(identifier="nope"), upbit.cancel(identifier="nope")):
        error = await failure(asked)
        assert isinstance(error, Rejected)
        assert error.name == "order_not_found"
    with pytest.raises(ValueError, match="by one of them"):
        await upbit.order()


# signatures


async def test_a_wrong_signature_is_refused_with_its_cure(
    upbit: UpbitExchange, sandbox: Sandbox, http: VenueHttp
) -> None:
    wrong = exchange(sandbox, http, secret="another-secret-of-the-test-0123456789abcd")
    for asked in (wrong.accounts(), wrong.open_orders(), wrong.place(buy(sandbox)), wrong.cancel(identifier="x")):
        error = await failure(asked)
        assert isinstance(error, BadCredentials)
        assert "jwt_verification" in str(error)
        assert "UPBIT_SECRET_KEY" in str(error)
    unknown = await failure(exchange(sandbox, http, access="no-such-key").accounts())
    assert isinstance(unknown, BadCredentials)
    assert "check UPBIT_ACCESS_KEY" in str(unknown)
    assert (await shown(sandbox))["orders"] == []


async def test_the_sandbox_checks_hash_and_nonce(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    keys = Keys(ACCESS, SECRET)

    async def get(query: str, headers: dict[str, str]) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(sandbox.url) as client,
            client.get(f"/upbit/v1/orders/open{query}", headers=headers) as reply,
        ):
            document = await reply.json()
            return reply.status, "" if isinstance(document, list) else document["error"]["name"]

    signed = authorization(keys, (("market", BTC),))
    assert await get(f"?market={BTC}", signed) == (200, "")
    assert await get(f"?market={BTC}", signed) == (401, "nonce_used")
    for pairs, query in (
        ((("market", BTC),), "?market=KRW-ETH"),
        ((("market", BTC),), ""),
        ((), f"?market={BTC}"),
        ((("limit", "1"), ("market", BTC)), f"?market={BTC}&limit=1"),
    ):
        assert await get(query, authorization(keys, pairs)) == (401, "invalid_query_payload")
    assert await get("", {}) == (401, "no_authorization_token")
    assert await get("", {"Authorization": "Bearer nonsense"}) == (401, "jwt_verification")


@pytest.mark.parametrize(
    ("refuse", "cure"),
    [("no_authorization_ip", "IP address"), ("expired_access_key", "one year"), ("out_of_scope", "permissions")],
)
async def test_a_key_that_may_not_is_bad_credentials(
    upbit: UpbitExchange, sandbox: Sandbox, refuse: str, cure: str
) -> None:
    await account(sandbox, refuse=refuse)
    for asked in (upbit.accounts(), upbit.place(buy(sandbox))):
        error = await failure(asked)
        assert isinstance(error, BadCredentials)
        assert cure in str(error)


async def test_a_key_past_its_year_is_refused(upbit: UpbitExchange, sandbox: Sandbox) -> None:
    await account(sandbox, expires_at=datetime.now(UTC).isoformat())
    assert "expired_access_key" in str(await failure(upbit.accounts()))


# what an answer to an order proves

BUSINESS = (
    *("insufficient_funds_bid", "insufficient_funds_ask", "under_min_total_bid", "under_min_total_ask"),
    *("invalid_price_bid", "invalid_price_ask"),
    "create_ask_error",
    "create_bid_error",
    "over_krw_funds_bid",
    "validation_error",
    "invalid_parameter",
    "invalid_post_only",
    "invalid_time_in_force",
    "duplicated_identifier",
    "pocket_not_found",
    "currency_not_found",
)
CREDENTIALS = (
    "invalid_query_payload",
    "jwt_verification",
    "expired_access_key",
    "invalid_access_key",
    "no_authorization_ip",
    "no_authorization_i_p",
    "no_authorization_token",
)
ANSWERS: list[tuple[int, object, type[VenueError]]] = [
    *((400, fault, Rejected) for fault in BUSINESS),
    *((401, fault, BadCredentials) for fault in CREDENTIALS),
    (403, "out_of_scope", BadCredentials),
    (403, "market_offline", Rejected),
    (404, "pocket_not_found", Rejected),
    (400, "notfoundmarket", UnknownSymbol),
    (429, "too_many_requests", Throttled),
    # the request came a second time: of the first nothing is known
    (401, "nonce_used", Unproven),
    (418, "too_many_requests", Unproven),
    (500, "internal_server_error", Unproven),
    (503, "validation_error", Unproven),
    # not documented as the refusal of an order
    (400, "brand_new_name", Unproven),
    (400, 400, Unproven),
    (408, "validation_error", Unproven),
    (200, "validation_error", Unproven),
    (404, "order_not_found", Unproven),
]


@pytest.mark.parametrize(("status", "fault", "kind"), ANSWERS)
async def test_only_a_documented_refusal_proves_that_no_order_was_created(
    http: VenueHttp, sandbox: Sandbox, status: int, fault: object, kind: type[VenueError]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"error": {"name": fault, "message": "말"}}, status=status)

    async with Stub(answer) as stub:
        error = await failure(UpbitExchange(http, stub.url, Keys(ACCESS, SECRET)).place(buy(sandbox)))
    assert type(error) is kind
    assert getattr(error, "name", fault) == fault
    assert stub.asked == 1


@pytest.mark.parametrize(
    ("status", "body", "content"),
    [
        (201, "{", "application/json"),
        (201, "{}", "application/json"),
        (201, '{"uuid": ""}', "application/json"),
        (201, "[]", "application/json"),
        (201, "", "application/json"),
        (200, "<html></html>", "text/html"),
        (400, "<html></html>", "text/html"),
        (403, "", "text/plain"),
        (400, "{}", "application/json"),
        (502, "<html></html>", "text/html"),
        (302, "{}", "application/json"),
    ],
)
async def test_an_answer_that_is_none_proves_nothing(
    http: VenueHttp, sandbox: Sandbox, status: int, body: str, content: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type=content, status=status)

    async with Stub(answer) as stub:
        error = await failure(UpbitExchange(http, stub.url, Keys(ACCESS, SECRET)).place(buy(sandbox)))
    assert type(error) is Unproven
    assert stub.asked == 1


async def test_an_answer_with_an_id_is_an_order_whatever_else_it_holds(http: VenueHttp, sandbox: Sandbox) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"uuid": "u", "state": None, "volume": "none"}, status=201)

    async with Stub(answer) as stub:
        assert (await UpbitExchange(http, stub.url, Keys(ACCESS, SECRET)).place(buy(sandbox))).uuid == "u"


async def test_a_connection_that_was_never_made_created_nothing(http: VenueHttp, sandbox: Sandbox) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    upbit = UpbitExchange(http, f"http://127.0.0.1:{port}", Keys(ACCESS, SECRET))
    assert type(await failure(upbit.place(buy(sandbox)))) is Unreachable


@pytest.mark.parametrize(
    ("fault", "kind", "created"),
    [
        ({"kind": "hang", "path": "/v1/orders"}, Unproven, 0),
        ({"kind": "close", "path": "/v1/orders"}, Unproven, 0),
        ({"kind": "error", "path": "/v1/orders"}, Unproven, 0),
        ({"kind": "html", "path": "/v1/orders"}, Unproven, 0),
        ({"kind": "throttle", "path": "/v1/orders"}, Throttled, 0),
        ({"kind": "throttle", "status": 418, "path": "/v1/orders"}, Unproven, 0),
        ({"kind": "order", "variant": "burnt"}, Rejected, 0),
        ({"kind": "order", "variant": "doubled"}, Rejected, 1),
        ({"kind": "order", "variant": "lost_reply", "seconds": 2}, Unproven, 1),
        ({"kind": "order", "variant": "reset"}, Unproven, 1),
        ({"kind": "order", "variant": "error"}, Unproven, 1),
        ({"kind": "order", "variant": "html"}, Unproven, 1),
        ({"kind": "order", "variant": "garbled"}, Unproven, 1),
        ({"kind": "order", "variant": "blocked"}, Unproven, 1),
        ({"kind": "order", "variant": "late"}, Unproven, 1),
    ],
)
async def test_every_fault_is_its_class_after_one_request(
    upbit: UpbitExchange, sandbox: Sandbox, fault: dict[str, Any], kind: type[VenueError], created: int
) -> None:
    await upbit.accounts()
    sandbox.faults.order({"service": "upbit", "count": 1, **fault})
    assert type(await failure(upbit.place(buy(sandbox)))) is kind
    assert posts(sandbox) == 1
    assert len((await shown(sandbox))["orders"]) == created


CANCELLATIONS: list[tuple[int, object, type[VenueError]]] = [
    *((401, fault, BadCredentials) for fault in CREDENTIALS),
    (403, "out_of_scope", BadCredentials),
    (404, "order_not_found", Rejected),
    (400, "invalid_parameter", Rejected),
    (403, "market_offline", Rejected),
    (400, "brand_new_name", Rejected),
    (429, "too_many_requests", Throttled),
    (401, "nonce_used", Unproven),
    (418, "too_many_requests", Unproven),
    (500, "order_not_found", Unproven),
    (200, "order_not_found", Unproven),
]


@pytest.mark.parametrize(("status", "fault", "kind"), CANCELLATIONS)
async def test_what_an_answer_to_a_cancellation_proves(
    http: VenueHttp, status: int, fault: object, kind: type[VenueError]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"error": {"name": fault, "message": "말"}}, status=status)

    async with Stub(answer) as stub:
        error = await failure(UpbitExchange(http, stub.url, Keys(ACCESS, SECRET)).cancel(identifier="id"))
    assert type(error) is kind
    assert stub.asked == 1


@pytest.mark.parametrize(
    ("fault", "kind", "state"),
    [
        ({"kind": "hang", "path": "/v1/order"}, Unproven, "wait"),
        ({"kind": "close", "path": "/v1/order"}, Unproven, "wait"),
        ({"kind": "error", "path": "/v1/order"}, Unproven, "wait"),
        ({"kind": "throttle", "path": "/v1/order"}, Throttled, "wait"),
        ({"kind": "cancel", "variant": "lost_reply", "seconds": 2}, Unproven, "cancel"),
        ({"kind": "cancel", "variant": "reset"}, Unproven, "cancel"),
        ({"kind": "cancel", "variant": "error"}, Unproven, "cancel"),
        ({"kind": "cancel", "variant": "html"}, Unproven, "cancel"),
        ({"kind": "cancel", "variant": "garbled"}, Unproven, "cancel"),
        ({"kind": "cancel", "variant": "blocked"}, Unproven, "cancel"),
        ({"kind": "cancel", "variant": "filled"}, Rejected, "done"),
    ],
)
async def test_every_fault_of_a_cancellation_is_its_class_after_one_request(
    upbit: UpbitExchange, sandbox: Sandbox, fault: dict[str, Any], kind: type[VenueError], state: str
) -> None:
    uuid = (await upbit.place(buy(sandbox, steps=5))).uuid
    ordered = sandbox.faults.order({"service": "upbit", "count": 1, **fault})
    if fault["kind"] == "cancel":
        # reading the order at the same path is not what the fault is for
        assert (await upbit.order(uuid=uuid)).state == "wait"
        assert (ordered.hits, ordered.left) == (0, 1)
    assert type(await failure(upbit.cancel(uuid=uuid))) is kind
    assert sum(request["method"] == "DELETE" for request in sandbox.requests.listed()) == 1
    assert (await upbit.order(uuid=uuid)).state == state


async def test_a_cancellation_that_was_never_connected_cancelled_nothing(http: VenueHttp) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    upbit = UpbitExchange(http, f"http://127.0.0.1:{port}", Keys(ACCESS, SECRET))
    assert type(await failure(upbit.cancel(uuid="u"))) is Unreachable


@pytest.mark.parametrize(("side", "away"), [(Side.BUY, -1), (Side.SELL, 1)])
async def test_a_resting_order_trades_at_its_own_price_when_the_market_comes_to_it(
    upbit: UpbitExchange, sandbox: Sandbox, side: Side, away: int
) -> None:
    last = sandbox.book.price("upbit", BTC)
    price = (last * (100 + 5 * away) / 100 // 1000) * 1000
    uuid = (await upbit.place(limit(BTC, side, Decimal("0.001"), price, name(), time_in_force="post_only"))).uuid

    async def moved(to: Decimal) -> str:
        async with aiohttp.ClientSession(sandbox.url) as control:
            reply = await control.post("/control/upbit/price", json={"symbol": BTC, "price": str(to)})
            assert reply.status == 201
        return (await upbit.order(uuid=uuid)).state

    assert await moved(price - away * 1000) == "wait"
    # it went through, and came back before anybody looked
    async with aiohttp.ClientSession(sandbox.url) as control:
        for to in (price + away * 500_000, last):
            await control.post("/control/upbit/price", json={"symbol": BTC, "price": str(to)})
    order = await upbit.order(uuid=uuid)
    assert order.state == "done"
    assert {trade.price for trade in order.trades or ()} == {price}
    assert order.paid_fee == price * Decimal("0.001") * Decimal("0.0005")


async def test_no_span_shows_a_key(upbit: UpbitExchange, sandbox: Sandbox, spans: InMemorySpanExporter) -> None:
    order = buy(sandbox)
    await upbit.place(order)
    await upbit.order(identifier=order.identifier)
    await failure(upbit.order(identifier="nope"))
    sandbox.faults.order({"service": "upbit", "kind": "order", "variant": "lost_reply", "count": 1, "seconds": 2})
    await failure(upbit.place(buy(sandbox)))
    told = " ".join(span.to_json() for span in spans.get_finished_spans())
    assert "/upbit/v1/orders" in told
    for secret in (SECRET, ACCESS, "eyJ", order.identifier):
        assert secret not in told


class Stub:
    """A server that answers every request alike and counts them, for what the sandbox never says."""

    def __init__(self, answer: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        self.asked = 0
        self.url = ""
        self._answer = answer
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._counted)
        self._runner = web.AppRunner(app)

    async def _counted(self, request: web.Request) -> web.Response:
        self.asked += 1
        return await self._answer(request)

    async def __aenter__(self) -> Stub:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
