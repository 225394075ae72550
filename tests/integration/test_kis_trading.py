"""KIS's trading calls over real HTTP against the sandbox account, the token in a real Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask
from trading.types import Side
from workers.errors import BadCredentials, BadReply, Rejected, Throttled, Unproven, Unreachable, VenueError
from workers.http import VenueHttp, open_session
from workers.kis.auth import SharedToken
from workers.kis.environment import Environment
from workers.kis.errors import NotOffered, TurnedAway
from workers.kis.trading import AccountNumber, KisTrading

SAMSUNG, HYNIX = "005930", "000660"
KEY, SECRET, CANO = "PSappkey0123456789", "appsecret0123456789/+=", "81012345"
AT = "/uapi/domestic-stock/v1/trading/"
IOC, LIMIT = "11", "00"
Connect = Callable[..., KisTrading]


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_server.url, decode_responses=True)
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
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(3.0)
    yield http
    await http.close()


@pytest.fixture
def connect(http: VenueHttp, redis: Redis, sandbox: Sandbox) -> Connect:
    def connect(environment: str = "real", url: str = "", cano: str = CANO) -> KisTrading:
        at = url or f"{sandbox.url}/kis"
        token = SharedToken(http, redis, at, KEY, SECRET)
        return KisTrading(http, token, Environment(environment, at), KEY, SECRET, AccountNumber(cano))

    return connect


async def control(sandbox: Sandbox, path: str, **body: object) -> Any:
    return await asyncio.to_thread(SandboxControl(sandbox.url).post, f"kis/{path}", body)


async def open_account(sandbox: Sandbox, **changed: object) -> None:
    holdings = {SAMSUNG: {"quantity": 30, "average_price": "61234.5"}, HYNIX: {"quantity": 0, "average_price": "0"}}
    await control(sandbox, "accounts", **{"cano": CANO, "cash": "100000000", "holdings": holdings, **changed})


async def orders(sandbox: Sandbox) -> list[dict[str, Any]]:
    accounts = await asyncio.to_thread(SandboxControl(sandbox.url).get, "kis/accounts")
    found: list[dict[str, Any]] = accounts[0]["orders"]
    return found


def posts(sandbox: Sandbox) -> int:
    return Counter(request["path"] for request in sandbox.requests.listed())[f"{AT}order-cash"]


def book(sandbox: Sandbox, symbol: str = SAMSUNG) -> tuple[Decimal, Decimal]:
    return best_bid_and_ask("kis", sandbox.book.price("kis", symbol))


def harmless(error: VenueError) -> None:
    for secret in ("://", "127.0.0.1", KEY, SECRET, CANO, "eyJ", "\n"):
        assert secret not in str(error)


@pytest.mark.parametrize("environment", ["real", "mock"])
async def test_the_account_is_read_in_both_environments(sandbox: Sandbox, connect: Connect, environment: str) -> None:
    await open_account(sandbox, environment=environment)
    trading = connect(environment)
    rows, sums = await trading.balance()
    held = {row.pdno: (row.hldg_qty, row.ord_psbl_qty, row.pchs_avg_pric) for row in rows}
    assert held == {SAMSUNG: (30, 30, Decimal("61234.5")), HYNIX: (0, 0, 0)}
    assert sums.dnca_tot_amt == sums.prvs_rcdl_excc_amt == 100_000_000
    _, ask = book(sandbox)
    buyable = await trading.buyable(SAMSUNG, ask, "01")
    assert buyable.nrcvb_buy_qty == 100_000_000 // (ask * Decimal("1.00015"))
    assert await trading.daily_fills(trading.today(), trading.today()) == []


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 50])
async def test_pages_are_read_to_the_end(sandbox: Sandbox, connect: Connect, rows: int) -> None:
    held = {f"{number:06}": {"quantity": 1, "average_price": "1000"} for number in range(1, 7)}
    book_price = sandbox.book.price
    sandbox.book.price = lambda market, symbol: Decimal(1000)  # type: ignore[method-assign]
    await open_account(sandbox, holdings=held, page_rows=rows)
    trading = connect()
    assert sorted(row.pdno for row in (await trading.balance())[0]) == sorted(held)
    sandbox.book.price = book_price  # type: ignore[method-assign]
    bid, _ = book(sandbox)
    sent = [await trading.order(Side.BUY, SAMSUNG, Decimal(1), bid, LIMIT) for _ in range(5)]
    listed = await trading.daily_fills(trading.today(), trading.today(), side=Side.BUY, symbol=SAMSUNG)
    assert [row.odno for row in listed] == [ordered.ODNO for ordered in sent]
    assert [row.odno for row in await trading.cancellable()] == [ordered.ODNO for ordered in sent]
    assert (await trading.daily_fills(trading.today(), trading.today(), odno=sent[2].ODNO))[0].odno == sent[2].ODNO


async def test_an_immediate_order_fills_at_the_book_or_is_cancelled(sandbox: Sandbox, connect: Connect) -> None:
    await open_account(sandbox, depth=4)
    trading = connect()
    bid, ask = book(sandbox)
    bought = await trading.order(Side.BUY, SAMSUNG, Decimal(10), ask, IOC)
    missed = await trading.order(Side.BUY, SAMSUNG, Decimal(10), bid, IOC)
    sold = await trading.order(Side.SELL, SAMSUNG, Decimal(3), bid, IOC)
    rows = {row.odno: row for row in await trading.daily_fills(trading.today(), trading.today())}
    assert bought.KRX_FWDG_ORD_ORGNO == "06010"
    row = rows[bought.ODNO]
    assert (row.tot_ccld_qty, row.tot_ccld_amt, row.rmn_qty, row.cncl_cfrm_qty, row.cncl_yn) == (4, 4 * ask, 0, 6, "Y")
    assert (rows[missed.ODNO].tot_ccld_qty, rows[missed.ODNO].cncl_yn) == (0, "Y")
    assert (rows[sold.ODNO].tot_ccld_qty, rows[sold.ODNO].side) == (3, Side.SELL)


async def test_a_resting_order_is_changed_and_cancelled_by_number_and_branch(
    sandbox: Sandbox, connect: Connect
) -> None:
    await open_account(sandbox)
    trading = connect()
    bid, _ = book(sandbox)
    ordered = await trading.order(Side.BUY, SAMSUNG, Decimal(10), bid, LIMIT)
    moved = await trading.modify(ordered.KRX_FWDG_ORD_ORGNO, ordered.ODNO, LIMIT, Decimal(4), bid)
    cancelled = await trading.cancel(ordered.KRX_FWDG_ORD_ORGNO, ordered.ODNO, LIMIT)
    rows = {row.odno: row for row in await trading.daily_fills(trading.today(), trading.today())}
    assert (rows[ordered.ODNO].rmn_qty, rows[ordered.ODNO].cncl_cfrm_qty) == (0, 10)
    assert rows[moved.ODNO].orgn_odno == rows[cancelled.ODNO].orgn_odno == ordered.ODNO
    assert [row.odno for row in await trading.cancellable()] == [moved.ODNO]
    with pytest.raises(Rejected) as caught:
        await trading.cancel(ordered.KRX_FWDG_ORD_ORGNO, ordered.ODNO, LIMIT)
    harmless(caught.value)


async def test_a_refusal_keeps_its_code_and_text(sandbox: Sandbox, connect: Connect) -> None:
    await open_account(sandbox)
    trading = connect()
    _, ask = book(sandbox)
    for side, quantity, price, name in (
        (Side.BUY, 10_000_000, ask, "APBK0952"),
        (Side.SELL, 31, ask, "APBK0400"),
        (Side.BUY, 1, ask + 1, "APBK0004"),
    ):
        with pytest.raises(Rejected) as caught:
            await trading.order(side, SAMSUNG, Decimal(quantity), price, IOC)
        assert caught.value.name == name
        harmless(caught.value)
    with pytest.raises(Rejected, match="주문가능금액을 초과"):
        await trading.order(Side.BUY, SAMSUNG, Decimal(10_000_000), ask, IOC)
    assert await orders(sandbox) == []


async def test_calls_that_mock_trading_does_not_have_are_not_sent(sandbox: Sandbox, connect: Connect) -> None:
    await open_account(sandbox, environment="mock")
    trading = connect("mock")
    with pytest.raises(NotOffered, match="cancellable"):
        await trading.cancellable()
    with pytest.raises(NotOffered, match="holidays"):
        await trading.holidays(date(2026, 11, 20))
    assert not sandbox.requests.listed()


@pytest.mark.parametrize(("account", "environment"), [("mock", "real"), ("real", "mock")])
async def test_an_account_of_the_other_environment_is_a_matter_of_keys(
    sandbox: Sandbox, connect: Connect, account: str, environment: str
) -> None:
    await open_account(sandbox, environment=account)
    trading = connect(environment)
    for call in (trading.balance(), trading.order(Side.BUY, SAMSUNG, Decimal(1), book(sandbox)[1], IOC)):
        with pytest.raises(BadCredentials, match="EGW02006") as caught:
            await call
        harmless(caught.value)
    assert await orders(sandbox) == []


async def test_days_say_whether_stocks_are_traded(connect: Connect) -> None:
    days = await connect().holidays(date(2026, 11, 20))
    assert [(day.bass_dt.day, day.opens) for day in days[:4]] == [(20, True), (21, False), (22, False), (23, True)]


# an order is one POST, whatever becomes of it

NOT_CREATED = {
    "throttled": Throttled, "ledger_throttled": Throttled, "token_expired": TurnedAway, "timeout_before": Unproven,
    "reset_before": Unproven, "html_before": Unproven, "error_before": Unproven,
}  # fmt: skip
CREATED = ("timeout_after", "reset_mid_reply", "late", "html_after", "error_after", "garbled_after", "routing_after")


@pytest.mark.parametrize("fault", [*NOT_CREATED, *CREATED])
async def test_an_order_is_posted_once_and_its_error_says_no_more_than_is_proven(
    sandbox: Sandbox, connect: Connect, fault: str
) -> None:
    await open_account(sandbox)
    trading = connect()
    await control(sandbox, "faults", kind=fault, seconds=3.5)
    with pytest.raises(VenueError) as caught:
        await trading.order(Side.BUY, SAMSUNG, Decimal(2), book(sandbox)[1], IOC)
    assert type(caught.value) is NOT_CREATED.get(fault, Unproven)
    harmless(caught.value)
    assert posts(sandbox) == 1
    assert len(await orders(sandbox)) == (0 if fault in NOT_CREATED else 1)


async def test_an_ended_token_is_replaced_for_the_next_attempt_only(
    sandbox: Sandbox, connect: Connect, redis: Redis
) -> None:
    await open_account(sandbox)
    trading = connect()
    await trading.balance()
    (key,) = [key async for key in redis.scan_iter("kis:token:*")]
    await redis.set(key, "ended", ex=1000)
    _, ask = book(sandbox)
    with pytest.raises(TurnedAway, match="EGW00121"):
        await trading.order(Side.BUY, SAMSUNG, Decimal(2), ask, IOC)
    assert posts(sandbox) == 1
    await trading.order(Side.BUY, SAMSUNG, Decimal(2), ask, IOC)
    assert (posts(sandbox), len(await orders(sandbox))) == (2, 1)


async def test_without_a_token_nothing_is_sent(sandbox: Sandbox, connect: Connect) -> None:
    await open_account(sandbox)
    sandbox.faults.order({"service": "kis", "kind": "close", "path": "/oauth2/tokenP"})
    with pytest.raises(TurnedAway, match="not sent"):
        await connect().order(Side.BUY, SAMSUNG, Decimal(2), book(sandbox)[1], IOC)
    assert posts(sandbox) == 0


@pytest.mark.parametrize(("kind", "error"), [("html", BadReply), ("throttle", Throttled), ("close", Unreachable)])
async def test_a_read_that_fails_is_no_empty_account(
    sandbox: Sandbox, connect: Connect, kind: str, error: type[VenueError]
) -> None:
    await open_account(sandbox)
    sandbox.faults.order({"service": "kis", "kind": kind, "path": "inquire-"})
    trading = connect()
    for read in (trading.balance(), trading.daily_fills(trading.today(), trading.today()), trading.cancellable()):
        with pytest.raises(error) as caught:
            await read
        harmless(caught.value)


# documented bodies, and broken ones, from a server that says only that

REJECTED_BUY = {
    "ctx_area_fk100": "12345678^01^20220103^20220103^ ^00^00^".ljust(100), "ctx_area_nk100": " " * 100,
    "output1": [{
        "ord_dt": "20220103", "ord_gno_brno": "06010", "odno": "0001568197", "orgn_odno": "",
        "sll_buy_dvsn_cd": "02", "pdno": "009150", "ord_qty": "10", "ord_unpr": "150000", "ord_tmd": "170100",
        "tot_ccld_qty": "0", "avg_prvs": "0", "cncl_yn": "", "tot_ccld_amt": "0", "cncl_cfrm_qty": "0",
        "rmn_qty": "0", "rjct_qty": "10",
    }],
    "rt_cd": "0",
}  # fmt: skip
ORDERED = {
    "rt_cd": "0", "msg_cd": "APBK0013", "msg1": "주문 전송 완료 되었습니다.",
    "output": {"KRX_FWDG_ORD_ORGNO": "06010", "ODNO": "0001569157", "ORD_TMD": "155211"},
}  # fmt: skip


class Stub:
    """A server on 127.0.0.1 that gives tokens, and to every other request the next of its replies."""

    def __init__(self, *replies: tuple[int, Any]) -> None:
        self._replies = list(replies)
        self.queries: list[dict[str, str]] = []

    async def __aenter__(self) -> Stub:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path == "/oauth2/tokenP":
            expiry = "2099-01-01 00:00:00"
            return web.json_response({"access_token": "eyJ.x", "access_token_token_expired": expiry})
        self.queries.append({**request.query, "tr_cont": request.headers.get("tr_cont", "")})
        status, body = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        return web.json_response(body, status=status)


async def test_the_documented_replies_are_understood(connect: Connect) -> None:
    async with Stub((200, ORDERED)) as stub:
        ordered = await connect(url=stub.url).order(Side.BUY, SAMSUNG, Decimal(1), Decimal(60_000), IOC)
    assert (ordered.ODNO, ordered.KRX_FWDG_ORD_ORGNO, f"{ordered.ORD_TMD}") == ("0001569157", "06010", "15:52:11")
    async with Stub((200, REJECTED_BUY)) as stub:
        (row,) = await connect(url=stub.url).daily_fills(date(2022, 1, 3), date(2022, 1, 3))
    assert (row.venue_order_id, row.side, row.rjct_qty) == ("20220103-0001568197", Side.BUY, 10)


async def test_pages_that_lead_nowhere_are_no_answer(connect: Connect) -> None:
    endless = {**REJECTED_BUY, "ctx_area_nk100": "1".ljust(100)}
    async with Stub((200, endless)) as stub:
        with pytest.raises(BadReply, match="nothing new"):
            await connect(url=stub.url).daily_fills(date(2022, 1, 3), date(2022, 1, 3))
        assert [query["tr_cont"] for query in stub.queries] == ["", "N"]
        assert stub.queries[1]["CTX_AREA_NK100"] == "1".ljust(100)


async def test_rows_that_moved_are_read_again_from_the_start(connect: Connect) -> None:
    moved = {"rt_cd": "1", "msg_cd": "SYDB0050", "msg1": "조회이후 자료변경"}
    async with Stub((200, moved), (200, REJECTED_BUY)) as stub:
        assert len(await connect(url=stub.url).daily_fills(date(2022, 1, 3), date(2022, 1, 3))) == 1
    async with Stub((500, moved)) as stub:
        with pytest.raises(BadReply, match="change"):
            await connect(url=stub.url).daily_fills(date(2022, 1, 3), date(2022, 1, 3))


@pytest.mark.parametrize(
    "reply",
    [(200, {}), (200, []), (200, {**ORDERED, "output": None}), (200, {**ORDERED, "output": {"ODNO": "1"}}),
     (500, ORDERED), (302, ORDERED), (200, {"rt_cd": "1"}), (429, {}), (404, {"error": "x"})],
)  # fmt: skip
async def test_a_reply_to_an_order_that_proves_nothing_is_unproven(connect: Connect, reply: tuple[int, Any]) -> None:
    async with Stub(reply) as stub:
        with pytest.raises(Unproven) as caught:
            await connect(url=stub.url).order(Side.BUY, SAMSUNG, Decimal(1), Decimal(60_000), IOC)
        assert len(stub.queries) == 1
    harmless(caught.value)
