"""Upbit's and KIS's wire protocols as the sandbox speaks them, over real HTTP, against the documented replies."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.candles import read_candles
from sandbox.client import SandboxControl, SandboxError
from sandbox.server import Sandbox

SHARED = Path(os.environ.get("SHARED_DIR", Path(__file__).parents[2].parent / "shared"))
QUOTATIONS = "/kis/uapi/domestic-stock/v1/quotations/"


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


async def _upbit(http: aiohttp.ClientSession, path: str, **query: str) -> tuple[int, Any, str]:
    async with http.get(f"/upbit/v1/{path}", params=query) as reply:
        return reply.status, await reply.json(), reply.headers.get("Remaining-Req", "")


def _documented(name: str) -> Any:
    path = SHARED / "data" / "replies" / name
    if not path.is_file():
        pytest.skip(f"the documented replies are not at {path}; set SHARED_DIR")
    return json.loads(path.read_text())


async def test_upbit_days_have_the_documented_fields_newest_first(http: aiohttp.ClientSession) -> None:
    documented = _documented("upbit/candles_days.json")["body"][0]
    status, days, remaining = await _upbit(http, "candles/days", market="KRW-BTC", count="200")

    assert status == 200
    assert len(days) == 200
    assert list(days[0]) == list(documented)
    times = [day["candle_date_time_utc"] for day in days]
    assert times == sorted(times, reverse=True)
    assert times[0] == f"{datetime.now(UTC):%Y-%m-%dT00:00:00}"
    assert days[0]["candle_date_time_kst"].endswith("T09:00:00")
    assert days[0]["prev_closing_price"] == days[1]["trade_price"]
    assert remaining == "group=candle; min=600; sec=9"


async def test_upbit_gives_one_candle_unless_asked_for_more(http: aiohttp.ClientSession) -> None:
    _, days, _ = await _upbit(http, "candles/days", market="KRW-BTC")
    assert len(days) == 1


@pytest.mark.parametrize("form", ["{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%d %H:%M:%S}", "{:%Y-%m-%dT%H:%M:%S}+00:00"])
async def test_upbit_to_is_exclusive_and_utc(http: aiohttp.ClientSession, form: str) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    _, days, _ = await _upbit(http, "candles/days", market="KRW-BTC", to=form.format(today), count="2")
    assert days[0]["candle_date_time_utc"] == f"{today - timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
    # 09:00 in Korea is midnight UTC
    korean = f"{today:%Y-%m-%d}T09:00:00+09:00"
    _, same, _ = await _upbit(http, "candles/days", market="KRW-BTC", to=korean, count="2")
    assert [day["candle_date_time_utc"] for day in same] == [day["candle_date_time_utc"] for day in days]


@pytest.mark.parametrize("unit", [1, 5, 60])
async def test_upbit_minutes_have_the_documented_fields(http: aiohttp.ClientSession, unit: int) -> None:
    documented = _documented("upbit/candles_minutes_1.json")["body"][0]
    status, minutes, _ = await _upbit(http, f"candles/minutes/{unit}", market="KRW-ETH", count="50")

    assert status == 200
    assert len(minutes) == 50
    assert list(minutes[0]) == list(documented)
    assert {minute["unit"] for minute in minutes} == {unit}
    times = [datetime.fromisoformat(minute["candle_date_time_utc"] + "Z") for minute in minutes]
    assert {later - earlier for later, earlier in pairwise(times)} == {timedelta(minutes=unit)}
    assert datetime.now(UTC) - timedelta(minutes=unit + 1) < times[0] <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("path", "query", "reply"),
    [
        ("candles/days", {"market": "KRW-NOPE"}, "error_404_quotation_code_not_found"),
        ("ticker", {"markets": "KRW-BTC,KRW-NOPE"}, "error_404_quotation_code_not_found"),
        ("candles/days", {}, "error_400_quotation_missing_parameter"),
        ("orderbook", {}, "error_400_quotation_missing_parameter"),
        ("candles/days", {"market": "KRW-BTC", "count": "many"}, "error_400_quotation_type_mismatch"),
        ("candles/days", {"market": "KRW-BTC", "count": "201"}, "error_400_quotation_invalid_parameter"),
        ("candles/days", {"market": "KRW-BTC", "to": "lately"}, "error_400_quotation_invalid_parameter"),
        ("candles/minutes/7", {"market": "KRW-BTC"}, "error_400_quotation_invalid_parameter"),
    ],
)
async def test_upbit_refuses_as_documented(
    http: aiohttp.ClientSession, path: str, query: dict[str, str], reply: str
) -> None:
    documented = _documented(f"upbit/{reply}.json")
    status, body, _ = await _upbit(http, path, **query)
    assert (status, body) == (documented["status"], documented["body"])


async def test_upbit_quotes_the_last_close_and_a_book_one_tick_around_it(http: aiohttp.ClientSession) -> None:
    _, days, _ = await _upbit(http, "candles/days", market="KRW-XRP")
    _, tickers, _ = await _upbit(http, "ticker", markets="KRW-XRP,KRW-BTC")
    _, books, _ = await _upbit(http, "orderbook", markets="KRW-XRP")
    _, instruments, _ = await _upbit(http, "orderbook/instruments", markets="KRW-XRP")

    assert [ticker["market"] for ticker in tickers] == ["KRW-XRP", "KRW-BTC"]
    price, tick = tickers[0]["trade_price"], Decimal(instruments[0]["tick_size"])
    assert price == days[0]["trade_price"]
    best = books[0]["orderbook_units"][0]
    assert (best["bid_price"], best["ask_price"]) == (price - tick, price + tick)
    assert list(instruments[0]) == list(_documented("upbit/orderbook_instruments.json")["body"][0])


async def test_a_price_set_by_hand_moves_all_that_upbit_tells_of_a_market_until_it_is_given_back(
    sandbox: Sandbox, http: aiohttp.ClientSession
) -> None:
    async def told(symbol: str) -> list[Any]:
        _, tickers, _ = await _upbit(http, "ticker", markets=symbol)
        _, books, _ = await _upbit(http, "orderbook", markets=symbol)
        _, instruments, _ = await _upbit(http, "orderbook/instruments", markets=symbol)
        closes = []
        for path in ("candles/days", "candles/minutes/1", "candles/minutes/60"):
            _, candles, _ = await _upbit(http, path, market=symbol, count="2")
            assert candles[0]["low_price"] <= candles[0]["trade_price"] <= candles[0]["high_price"]
            closes.append(candles[0]["trade_price"])
            closes.append(candles[1]["trade_price"])
        best = books[0]["orderbook_units"][0]
        return [tickers[0]["trade_price"], best["bid_price"], best["ask_price"], instruments[0]["tick_size"], *closes]

    control = SandboxControl(sandbox.url)
    before, other = await told("KRW-XRP"), await told("KRW-BTC")
    loop = asyncio.get_running_loop()
    for price, bid, ask, tick in ((12_340, 12_330, 12_350, "10"), (51, 50.9, 51.1, "0.1")):
        moved = {"symbol": "KRW-XRP", "price": str(price)}
        assert await loop.run_in_executor(None, control.post, "upbit/price", moved) == moved
        now = await told("KRW-XRP")
        assert now[:5] == [price, bid, ask, tick, price]
        assert (now[6], now[8]) == (price, price)
        # what is over has not moved
        assert (now[5], now[9]) == (before[5], before[9])
    assert await told("KRW-BTC") == other
    await loop.run_in_executor(None, control.delete, "upbit/price?symbol=KRW-BTC")
    assert (await told("KRW-XRP"))[0] == 51
    await loop.run_in_executor(None, control.delete, "upbit/price")
    assert (await told("KRW-XRP"))[:4] == before[:4]
    for wrong in ({"symbol": "KRW-NOPE", "price": "1"}, {"symbol": "KRW-XRP", "price": "0"}, {"price": "1"}):
        with pytest.raises(SandboxError, match="positive number of KRW"):
            await loop.run_in_executor(None, control.post, "upbit/price", wrong)


async def test_upbit_lists_its_markets_with_names_and_warnings(http: aiohttp.ClientSession) -> None:
    _, plain, _ = await _upbit(http, "market/all")
    _, detailed, _ = await _upbit(http, "market/all", is_details="true")
    assert {"market": "KRW-BTC", "korean_name": "비트코인", "english_name": "Bitcoin"} in plain
    assert detailed[0]["market_event"]["warning"] is False
    assert len(detailed[0]["market_event"]["caution"]) == 5


async def _token(http: aiohttp.ClientSession, **changes: str) -> tuple[int, Any]:
    body = {"grant_type": "client_credentials", "appkey": "key", "appsecret": "secret"} | changes
    async with http.post("/kis/oauth2/tokenP", json={name: value for name, value in body.items() if value}) as reply:
        return reply.status, await reply.json()


async def _kis(
    http: aiohttp.ClientSession, path: str, tr_id: str, token: str | None = None, symbol: str = "005930", **query: str
) -> tuple[int, Any]:
    if token is None:
        token = (await _token(http))[1]["access_token"]
    headers = {
        "authorization": f"Bearer {token}",
        "appkey": "key",
        "appsecret": "secret",
        "tr_id": tr_id,
        "custtype": "P",
    }
    params = {"FID_COND_MRKT_DIV_CODE": "J", "FID_INPUT_ISCD": symbol} | query
    async with http.get(QUOTATIONS + path, params=params, headers=headers) as reply:
        return reply.status, await reply.json()


async def test_kis_gives_the_same_token_to_the_same_key(http: aiohttp.ClientSession) -> None:
    status, first = await _token(http)
    _, again = await _token(http)
    _, other = await _token(http, appkey="other")

    assert status == 200
    assert set(first) == set(_documented("kis/token_ok.json")["body"])
    assert first["access_token"] == again["access_token"] != other["access_token"]
    expiry = datetime.fromisoformat(first["access_token_token_expired"] + "+09:00")
    assert abs(expiry - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=1)


@pytest.mark.parametrize("missing", ["grant_type", "appkey", "appsecret"])
async def test_kis_gives_no_token_without_keys(http: aiohttp.ClientSession, missing: str) -> None:
    status, body = await _token(http, **{missing: ""})
    assert status == 403
    assert set(body) == {"error_code", "error_description"}


async def test_kis_price_is_made_of_strings_and_has_the_tick(http: aiohttp.ClientSession) -> None:
    documented = _documented("kis/inquire_price_000660.json")["body"]
    status, body = await _kis(http, "inquire-price", "FHKST01010100")

    assert status == 200
    assert {name: body[name] for name in ("rt_cd", "msg_cd")} == {"rt_cd": "0", "msg_cd": "MCA00000"}
    assert set(body["output"]) <= set(documented["output"])
    assert all(isinstance(value, str) for value in body["output"].values())
    price = Decimal(body["output"]["stck_prpr"])
    assert price % Decimal(body["output"]["aspr_unit"]) == 0
    assert Decimal(body["output"]["stck_llam"]) < price < Decimal(body["output"]["stck_mxpr"])


async def test_kis_book_is_one_tick_around_the_price(http: aiohttp.ClientSession) -> None:
    _, quote = await _kis(http, "inquire-price", "FHKST01010100")
    _, body = await _kis(http, "inquire-asking-price-exp-ccn", "FHKST01010200")
    price, tick = (Decimal(quote["output"][name]) for name in ("stck_prpr", "aspr_unit"))
    book = body["output1"]
    assert (Decimal(book["bidp1"]), Decimal(book["askp1"])) == (price - tick, price + tick)
    assert int(book["bidp_rsqn1"]) > 0
    assert int(book["askp_rsqn1"]) > 0
    assert body["output2"]["stck_shrn_iscd"] == "005930"


async def test_kis_days_are_at_most_a_hundred_newest_first(http: aiohttp.ClientSession) -> None:
    today = datetime.now(UTC)
    window = {"FID_INPUT_DATE_1": "20200101", "FID_INPUT_DATE_2": f"{today:%Y%m%d}"}
    ask = {"FID_PERIOD_DIV_CODE": "D", "FID_ORG_ADJ_PRC": "0"}
    _, body = await _kis(http, "inquire-daily-itemchartprice", "FHKST03010100", **window, **ask)
    days = [row["stck_bsop_date"] for row in body["output2"]]
    assert len(days) == 100
    assert days == sorted(days, reverse=True)
    assert days[0] == f"{today:%Y%m%d}"
    assert body["output1"]["stck_prpr"] == body["output2"][0]["stck_clpr"]

    window["FID_INPUT_DATE_2"] = days[-1]
    _, older = await _kis(http, "inquire-daily-itemchartprice", "FHKST03010100", **window, **ask)
    assert older["output2"][0] == body["output2"][-1]


async def test_kis_minutes_are_thirty_up_to_the_hour_asked_for(http: aiohttp.ClientSession) -> None:
    ask = {"FID_INPUT_HOUR_1": "101500", "FID_PW_DATA_INCU_YN": "Y", "FID_ETC_CLS_CODE": ""}
    _, body = await _kis(http, "inquire-time-itemchartprice", "FHKST03010200", **ask)
    rows = body["output2"]
    assert len(rows) == 30
    stamps = [row["stck_bsop_date"] + row["stck_cntg_hour"] for row in rows]
    assert stamps == sorted(stamps, reverse=True)
    today = [row["stck_cntg_hour"] for row in rows if row["stck_bsop_date"] == f"{datetime.now(UTC):%Y%m%d}"]
    assert all("090000" <= hour <= "101500" for hour in today)
    assert {"stck_oprc", "stck_hgpr", "stck_lwpr", "stck_prpr", "cntg_vol"} <= set(rows[0])


async def test_kis_refuses_tokens_tr_ids_and_codes_it_does_not_know(http: aiohttp.ClientSession) -> None:
    status, body = await _kis(http, "inquire-price", "FHKST01010100", token="forged")
    assert (status, body["rt_cd"], body["msg_cd"]) == (500, "1", "EGW00121")

    _, body = await _kis(http, "inquire-price", "FHKST99999999")
    assert (body["rt_cd"], body["msg_cd"]) == ("1", "EGW02006")

    _, body = await _kis(http, "inquire-price", "FHKST01010100", symbol="999999")
    assert body == _documented("kis/error_MCA05918_bad_code.json")["body"]

    _, body = await _kis(http, "inquire-daily-itemchartprice", "FHKST03010100", FID_PERIOD_DIV_CODE="D")
    assert body["msg_cd"] == "OPSQ2001"


async def test_recorded_candles_are_served_ending_today_with_unchanged_prices() -> None:
    folder = SHARED / "data" / "candles"
    if not folder.is_dir():
        pytest.skip(f"no recorded candles at {folder}; set SHARED_DIR")
    recorded = read_candles(folder / "upbit" / "KRW-BTC.1d.csv", "1d")
    stock = read_candles(folder / "kis" / "005930.1d.csv", "1d")
    sandbox = Sandbox(candles=folder)
    await sandbox.start()
    try:
        async with aiohttp.ClientSession(sandbox.url) as http:
            _, days, _ = await _upbit(http, "candles/days", market="KRW-BTC", count="200")
            _, hours, _ = await _upbit(http, "candles/minutes/60", market="KRW-BTC", count="200")
            _, none, _ = await _upbit(http, "candles/minutes/60", market="KRW-XRP", count="200")
            today = datetime.now(UTC)
            window = {"FID_INPUT_DATE_1": "20200101", "FID_INPUT_DATE_2": f"{today:%Y%m%d}", "FID_PERIOD_DIV_CODE": "D"}
            _, chart = await _kis(http, "inquire-daily-itemchartprice", "FHKST03010100", **window)
            _, intraday = await _kis(http, "inquire-time-itemchartprice", "FHKST03010200", FID_INPUT_HOUR_1="153000")
            async with http.get("/control/symbols") as reply:
                symbols = await reply.json()
    finally:
        await sandbox.stop()

    names = ("opening_price", "high_price", "low_price", "trade_price", "candle_acc_trade_volume")
    served = [tuple(Decimal(str(day[name])) for name in names) for day in reversed(days)]
    assert served == [(c.open, c.high, c.low, c.close, c.volume) for c in recorded[-200:]]
    assert days[0]["candle_date_time_utc"] == f"{today:%Y-%m-%dT00:00:00}"
    assert hours[0]["candle_date_time_utc"] <= f"{today:%Y-%m-%dT%H:%M:%S}"
    assert none == []

    fields = ("stck_oprc", "stck_hgpr", "stck_lwpr", "stck_clpr", "acml_vol")
    rows = [tuple(Decimal(row[name]) for name in fields) for row in reversed(chart["output2"])]
    assert rows == [(c.open, c.high, c.low, c.close, c.volume) for c in stock[-100:]]
    assert chart["output2"][0]["stck_bsop_date"] == f"{today:%Y%m%d}"
    assert intraday["output2"] == []
    assert symbols["kis"] == ["000660", "005930", "035420", "035720"]
