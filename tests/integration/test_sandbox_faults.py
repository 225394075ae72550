"""Every kind of fault, as a client on the other side of the connection meets it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.server import Sandbox

TICKER = "/upbit/v1/ticker?markets=KRW-BTC"
DAYS = "/upbit/v1/candles/days?market=KRW-BTC&count=50"
MESSAGE = {"chat_id": 7, "text": "hello"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sandbox.url) as session:
        yield session


async def _order(http: aiohttp.ClientSession, **fault: Any) -> int:
    async with http.post("/control/faults", json=fault) as reply:
        assert reply.status == 201, await reply.text()
        body: dict[str, int] = await reply.json()
        return body["id"]


async def _get(http: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with http.get(path) as reply:
        return reply.status, await reply.json()


async def test_a_hang_holds_the_request_open_and_then_drops_it(http: aiohttp.ClientSession) -> None:
    await _order(http, service="upbit", kind="hang", seconds=0.4)
    started = time.monotonic()
    with pytest.raises(aiohttp.ClientError):
        await _get(http, TICKER)
    assert 0.3 < time.monotonic() - started < 2

    with pytest.raises(TimeoutError):
        async with http.get(TICKER, timeout=aiohttp.ClientTimeout(total=0.1)):
            pass


async def test_stopping_does_not_wait_for_a_hang(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await _order(http, service="upbit", kind="hang")
    hung = asyncio.create_task(_get(http, TICKER))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await sandbox.stop()
    assert time.monotonic() - started < 2
    with pytest.raises(aiohttp.ClientError):
        await hung


async def test_slow_answers_well_but_late(http: aiohttp.ClientSession) -> None:
    await _order(http, service="upbit", kind="slow", seconds=0.3)
    started = time.monotonic()
    status, body = await _get(http, TICKER)
    assert time.monotonic() - started >= 0.3
    assert (status, body[0]["market"]) == (200, "KRW-BTC")


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("upbit", TICKER),
        ("kis", "/kis/uapi/domestic-stock/v1/quotations/inquire-price"),
        ("yahoo", "/yahoo/v8/finance/chart/AAPL"),
        ("telegram", "/telegram/bot1:T/getMe"),
    ],
)
async def test_an_error_is_the_status_asked_for_with_a_json_body(
    http: aiohttp.ClientSession, service: str, path: str
) -> None:
    await _order(http, service=service, kind="error", count=1)
    await _order(http, service=service, kind="error", status=503, count=1)
    assert (await _get(http, path))[0] == 500
    status, body = await _get(http, path)
    assert status == 503
    assert body


async def test_each_service_refuses_for_rate_in_its_own_words(http: aiohttp.ClientSession) -> None:
    for service in ("upbit", "kis", "yahoo", "telegram", "otlp"):
        await _order(http, service=service, kind="throttle", retry_after=9)

    status, body = await _get(http, TICKER)
    assert (status, body["error"]["name"]) == (429, "too_many_requests")
    status, body = await _get(http, "/kis/uapi/domestic-stock/v1/quotations/inquire-price")
    assert (status, body["msg_cd"], body["rt_cd"]) == (500, "EGW00201", "1")
    async with http.get("/yahoo/v8/finance/chart/AAPL") as reply:
        assert (reply.status, (await reply.text()).strip()) == (429, "Too Many Requests")
    async with http.post("/telegram/bot1:T/sendMessage", json=MESSAGE) as reply:
        assert await reply.json() == {
            "ok": False,
            "error_code": 429,
            "description": "Too Many Requests: retry after 9",
            "parameters": {"retry_after": 9},
        }
    async with http.post("/otlp/v1/traces", data=b"") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (429, "9")


async def test_upbits_418_names_how_long_it_blocks(http: aiohttp.ClientSession) -> None:
    await _order(http, service="upbit", kind="throttle", status=418, retry_after=45)
    status, body = await _get(http, TICKER)
    assert status == 418
    assert "45 seconds" in body["error"]["message"]


async def test_html_is_a_maintenance_page(http: aiohttp.ClientSession) -> None:
    await _order(http, service="upbit", kind="html", count=1)
    await _order(http, service="upbit", kind="html", status=503)
    for wanted in (200, 503):
        async with http.get(TICKER) as reply:
            assert (reply.status, reply.content_type) == (wanted, "text/html")
            assert "maintenance" in await reply.text()


async def test_close_drops_the_connection(http: aiohttp.ClientSession) -> None:
    await _order(http, service="telegram", kind="close")
    with pytest.raises(aiohttp.ClientError):
        async with http.post("/telegram/bot1:T/sendMessage", json=MESSAGE):
            pass
    assert (await _get(http, "/control/telegram/messages"))[1] == []
    assert (await _get(http, "/control/requests"))[1][-1]["status"] == 0


async def test_spoiled_candles_are_served_on_order_only(http: aiohttp.ClientSession) -> None:
    _, good = await _get(http, DAYS)
    served = {}
    for variant in ("nan", "zero", "negative", "few"):
        await _order(http, service="upbit", kind="candles", variant=variant, count=1)
        served[variant] = (await _get(http, DAYS))[1]
    assert served["nan"][0]["trade_price"] is None
    assert served["zero"][0]["trade_price"] == 0
    assert served["negative"][0]["trade_price"] == -good[0]["trade_price"]
    assert len(served["few"]) == 3
    after = (await _get(http, DAYS))[1]
    assert [day["trade_price"] for day in after] == [day["trade_price"] for day in good]


async def test_spoiled_kis_candles_are_strings(http: aiohttp.ClientSession) -> None:
    keys = {"grant_type": "client_credentials", "appkey": "key", "appsecret": "secret"}
    async with http.post("/kis/oauth2/tokenP", json=keys) as reply:
        token = (await reply.json())["access_token"]
    headers = {
        "authorization": f"Bearer {token}",
        "appkey": "key",
        "appsecret": "secret",
        "tr_id": "FHKST03010100",
    }
    query = "FID_COND_MRKT_DIV_CODE=J&FID_INPUT_ISCD=005930&FID_INPUT_DATE_1=20200101&FID_INPUT_DATE_2=20991231"
    path = f"/kis/uapi/domestic-stock/v1/quotations/inquire-daily-itemchartprice?{query}&FID_PERIOD_DIV_CODE=D"
    closes = []
    for variant in ("nan", "zero", "negative"):
        await _order(http, service="kis", kind="candles", variant=variant, count=1, symbol="005930")
        async with http.get(path, headers=headers) as reply:
            closes.append((await reply.json())["output2"][0]["stck_clpr"])
    assert closes[:2] == ["NaN", "0"]
    assert closes[2].startswith("-")


async def test_a_kis_token_can_be_refused_for_rate(http: aiohttp.ClientSession) -> None:
    keys = {"grant_type": "client_credentials", "appkey": "key", "appsecret": "secret"}
    await _order(http, service="kis", kind="token", count=1)
    async with http.post("/kis/oauth2/tokenP", json=keys) as reply:
        assert reply.status == 403
        assert (await reply.json())["error_code"] == "EGW00133"
    async with http.post("/kis/oauth2/tokenP", json=keys) as reply:
        assert reply.status == 200


async def test_a_fault_hits_only_what_it_is_narrowed_to(http: aiohttp.ClientSession) -> None:
    await _order(http, service="upbit", kind="error", symbol="KRW-ETH", path="/candles/")
    await _order(http, service="telegram", kind="error", chat_id=8)

    assert (await _get(http, "/upbit/v1/candles/days?market=KRW-ETH"))[0] == 500
    assert (await _get(http, "/upbit/v1/candles/days?market=KRW-BTC"))[0] == 200
    assert (await _get(http, "/upbit/v1/ticker?markets=KRW-BTC,KRW-ETH"))[0] == 200
    assert (await _get(http, "/upbit/v1/market/all"))[0] == 200
    for chat_id, wanted in ((7, 200), (8, 500)):
        async with http.post("/telegram/bot1:T/sendMessage", json={"chat_id": chat_id, "text": "x"}) as reply:
            assert reply.status == wanted
        async with http.post("/telegram/bot1:T/sendMessage", data={"chat_id": chat_id, "text": "x"}) as reply:
            assert reply.status == wanted


async def test_faults_count_down_and_can_be_lifted(http: aiohttp.ClientSession) -> None:
    await _order(http, service="upbit", kind="error", count=2)
    assert [(await _get(http, TICKER))[0] for _ in range(3)] == [500, 500, 200]

    lifted = await _order(http, service="upbit", kind="error")
    kept = await _order(http, service="yahoo", kind="error")
    async with http.delete(f"/control/faults/{lifted}") as reply:
        assert reply.status == 200
    _, listed = await _get(http, "/control/faults")
    assert [fault["hits"] for fault in listed] == [2, 0]
    assert listed[-1]["id"] == kept
    assert (await _get(http, TICKER))[0] == 200
    async with http.delete("/control/faults") as reply:
        assert reply.status == 200
    assert (await _get(http, "/control/faults"))[1] == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"service": "binance", "kind": "error"}, "use one of upbit"),
        ({"service": "upbit", "kind": "explode"}, "use one of hang"),
        ({"service": "upbit", "kind": "candles"}, "takes one of nan"),
        ({"service": "upbit", "kind": "error", "variant": "nan"}, "takes one of nan"),
        ({"service": "upbit", "kind": "token"}, "does not apply"),
        ({"service": "upbit", "kind": "error", "count": 0}, "count 0"),
        ({"service": "upbit", "kind": "error", "status": "500"}, "status '500'"),
        ({"service": "upbit", "kind": "hang", "seconds": -1}, "seconds -1"),
        ({"service": "upbit", "kind": "error", "symbols": "KRW-BTC"}, "unknown field 'symbols'"),
        (["upbit"], "JSON object"),
    ],
)
async def test_a_fault_that_cannot_be_is_refused_with_what_can(
    http: aiohttp.ClientSession, fault: Any, word: str
) -> None:
    async with http.post("/control/faults", json=fault) as reply:
        assert reply.status == 400
        assert word in (await reply.json())["error"]
