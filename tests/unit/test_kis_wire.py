"""KIS's documented replies, read as the client reads them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.types import Candle
from workers.calls import Call
from workers.errors import BadCredentials, BadReply, Rejected, Throttled, UnknownSymbol, VenueError
from workers.kis.errors import TokenRefused, TokenTooSoon, judge, judge_token
from workers.kis.market import KisMarket
from workers.kis.minutes import aggregate
from workers.kis.wire import DailyRow, MinuteRow, Price, Token, filled
from workers.wire import parse_list, parse_one

REPLIES = Path(os.environ.get("SHARED_DIR") or Path(__file__).parents[3] / "shared") / "data" / "replies" / "kis"
CALL = Call("kis", "price", "000660")
TOKEN = Call("kis", "token")


def documented(name: str) -> dict[str, Any]:
    path = REPLIES / name
    if not path.exists():
        pytest.skip(f"no documented reply {name}: set SHARED_DIR to the folder that has data/replies")
    reply: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    return reply


def test_the_documented_price_and_its_tick_size() -> None:
    reply = documented("inquire_price_000660.json")
    assert judge(CALL, reply["status"], reply["body"]) is None
    price = parse_one(Price, reply["body"]["output"], CALL)
    assert (price.stck_prpr, price.aspr_unit) == (Decimal(128500), Decimal(500))


def test_the_documented_token_ends_in_korean_time() -> None:
    token = parse_one(Token, documented("token_ok.json")["body"], TOKEN)
    assert token.access_token_token_expired == datetime(2026, 1, 16, 15, 0, tzinfo=UTC)


def test_a_bad_token_reply_is_not_quoted() -> None:
    with pytest.raises(BadReply, match="field access_token_token_expired") as caught:
        parse_one(Token, {"access_token": "SECRET", "access_token_token_expired": "SECRET"}, TOKEN)
    assert "SECRET" not in str(caught.value)


def test_the_documented_bad_code_is_an_unknown_symbol() -> None:
    reply = documented("error_MCA05918_bad_code.json")
    error = judge(CALL, reply["status"], reply["body"])
    assert isinstance(error, UnknownSymbol)
    assert str(error) == "kis price 000660: KIS does not list 000660 (MCA05918); correct KIS_SYMBOLS"


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("EGW00201", Throttled),
        ("EGW00215", Throttled),
        ("EGW00133", TokenTooSoon),
        ("EGW00123", TokenRefused),
        ("EGW00121", TokenRefused),
        ("EGW00103", BadCredentials),
        ("EGW02004", BadCredentials),
        ("EGW00002", BadReply),
        ("OPSQ2001", Rejected),
    ],
)
def test_the_code_decides_whatever_the_http_status(status: int, code: str, kind: type[VenueError]) -> None:
    for body in ({"rt_cd": "1", "msg_cd": code, "msg1": "…"}, {"error_code": code, "error_description": "…"}):
        assert type(judge(CALL, status, body)) is kind


def test_a_refused_token_request_asks_for_other_keys_and_quotes_nothing() -> None:
    error = judge_token(TOKEN, 403, {"error_code": "EGW00999", "error_description": "AppKey PSECRET is wrong"})
    assert isinstance(error, BadCredentials)
    assert "KIS_APP_KEY" in str(error)
    assert "PSECRET" not in str(error)


def test_rows_that_pad_a_page_are_left_out_but_broken_ones_are_not() -> None:
    sound = {
        "stck_bsop_date": "20260212",
        "stck_oprc": "178600",
        "stck_hgpr": "NaN",
        "stck_lwpr": "0",
        "stck_clpr": "-178600",
        "acml_vol": "1",
    }
    (row,) = parse_list(DailyRow, filled([sound, {}, dict.fromkeys(sound, "")]), CALL)
    assert row.stck_hgpr.is_nan()
    assert (row.stck_lwpr, row.stck_clpr) == (Decimal(0), Decimal(-178600))
    with pytest.raises(BadReply, match="row 1, field stck_clpr"):
        parse_list(DailyRow, filled([sound | {"stck_clpr": ""}]), CALL)
    with pytest.raises(BadReply, match="row 1, field stck_bsop_date"):
        parse_list(DailyRow, filled([sound | {"stck_bsop_date": "2026-02-12"}]), CALL)


def test_a_minute_is_dated_in_korean_time() -> None:
    row = {
        "stck_bsop_date": "20260212",
        "stck_cntg_hour": "090100",
        "stck_oprc": "1",
        "stck_hgpr": "1",
        "stck_lwpr": "1",
        "stck_prpr": "1",
        "cntg_vol": "1",
    }
    assert parse_list(MinuteRow, [row], CALL)[0].start == datetime(2026, 2, 12, 0, 1, tzinfo=UTC)


@given(
    st.lists(st.tuples(st.integers(0, 389), st.integers(1, 1000)), min_size=1, unique_by=lambda item: item[0]),
    st.sampled_from([1, 5, 60]),
)
def test_longer_candles_hold_what_their_minutes_hold(minutes: list[tuple[int, int]], unit: int) -> None:
    opening = datetime(2026, 2, 12, tzinfo=UTC)
    candles = [
        Candle(opening + timedelta(minutes=minute), *(Decimal(price),) * 4, volume=Decimal(price))
        for minute, price in sorted(minutes)
    ]
    longer = aggregate(candles, unit)
    assert sum(candle.volume for candle in longer) == sum(candle.volume for candle in candles)
    assert max(candle.high for candle in longer) == max(candle.high for candle in candles)
    assert min(candle.low for candle in longer) == min(candle.low for candle in candles)
    assert (longer[0].open, longer[-1].close) == (candles[0].open, candles[-1].close)
    times = [candle.time for candle in longer]
    assert times == sorted(set(times))
    assert all((time - opening) % timedelta(minutes=unit) == timedelta() for time in times)


def test_a_minute_without_a_price_spoils_its_candle_rather_than_vanish() -> None:
    opening = datetime(2026, 2, 12, tzinfo=UTC)
    sound = Candle(opening, *(Decimal(5),) * 4, volume=Decimal(1))
    broken = Candle(opening + timedelta(minutes=1), Decimal(5), Decimal("NaN"), Decimal(5), Decimal(5), Decimal(1))
    (candle,) = aggregate([sound, broken], 5)
    assert candle.high.is_nan()


@pytest.mark.parametrize(("key", "secret"), [("", ""), ("key", ""), ("", "secret")])
def test_without_keys_there_is_no_market_and_the_message_says_which(key: str, secret: str) -> None:
    with pytest.raises(BadCredentials, match="set KIS_APP_KEY and KIS_APP_SECRET"):
        KisMarket(None, None, "http://unused.invalid", key, secret)  # type: ignore[arg-type]
