"""Upbit's documented replies, read as the client reads them."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trading.types import Candle
from workers.calls import Call
from workers.errors import BadCredentials, BadReply, Rejected, Throttled, UnknownSymbol, VenueError
from workers.upbit.errors import judge
from workers.upbit.market import UpbitMarket, _candle
from workers.upbit.ticks import krw_tick
from workers.upbit.wire import CandleRow, OrderbookInstrument
from workers.wire import in_order, parse_list

REPLIES = Path(os.environ.get("SHARED_DIR") or Path(__file__).parents[3] / "shared") / "data" / "replies" / "upbit"
CALL = Call("upbit", "candles_days", "KRW-BTC")


def documented(name: str) -> dict[str, Any]:
    path = REPLIES / name
    if not path.exists():
        pytest.skip(f"no documented reply {name}: set SHARED_DIR to the folder that has data/replies")
    reply: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_constant=Decimal)
    return reply


def row(**changes: Any) -> dict[str, Any]:
    return {
        "market": "KRW-BTC",
        "candle_date_time_utc": "2025-06-30T00:00:00",
        "opening_price": 147996000,
        "high_price": 148480000,
        "low_price": 145740000,
        "trade_price": 145759000,
        "candle_acc_trade_volume": Decimal("944.35761221"),
    } | changes


def test_the_documented_day_is_read_to_the_last_digit() -> None:
    (day,) = parse_list(CandleRow, documented("candles_days.json")["body"], CALL)
    assert _candle(day) == Candle(
        time=datetime(2025, 6, 30, tzinfo=UTC),
        open=Decimal(147996000),
        high=Decimal(148480000),
        low=Decimal(145740000),
        close=Decimal(145759000),
        volume=Decimal("944.35761221"),
    )


@pytest.mark.parametrize("name", ["candles_minutes_1.json", "candles_minutes_5_two.json"])
def test_documented_minutes_come_out_oldest_first(name: str) -> None:
    rows = parse_list(CandleRow, documented(name)["body"], CALL)
    times = [candle.time for candle in in_order(map(_candle, rows), CALL)]
    assert times == sorted(set(times))
    assert all(time.tzinfo is UTC for time in times)


def test_the_documented_tick_sizes_are_numbers() -> None:
    rows = parse_list(OrderbookInstrument, documented("orderbook_instruments.json")["body"], CALL)
    assert {row.market: row.tick_size for row in rows} == {"KRW-BTC": Decimal(1000), "KRW-ETH": Decimal(1000)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error_404_quotation_code_not_found.json", UnknownSymbol),
        ("error_400_notfoundmarket.json", UnknownSymbol),
        ("error_400_quotation_invalid_parameter.json", Rejected),
        ("error_400_quotation_missing_parameter.json", Rejected),
        ("error_400_quotation_type_mismatch.json", Rejected),
        ("error_400_insufficient_funds_bid.json", Rejected),
        ("error_400_invalid_parameter.json", Rejected),
        ("error_403_market_offline.json", Rejected),
        ("error_404_order_not_found.json", Rejected),
    ],
)
def test_a_documented_refusal_is_the_error_that_says_what_to_do(name: str, kind: type[VenueError]) -> None:
    reply = documented(name)
    error = judge(CALL, reply["status"], reply["body"])
    assert type(error) is kind
    assert "KRW-BTC" in str(error)
    if isinstance(error, Rejected):
        assert error.name == str(reply["body"]["error"]["name"])


def test_every_documented_name_about_the_key_asks_for_another_key() -> None:
    for name in documented("error_names.json")["body"]["401"]:
        assert isinstance(judge(CALL, 401, {"error": {"name": name, "message": ""}}), BadCredentials), name


@pytest.mark.parametrize("body", [None, {}, {"error": {"name": 429, "message": "Too many API requests."}}])
def test_over_the_rate_limit_is_throttled_whatever_the_body(body: object) -> None:
    for status, seconds in ((429, 1.0), (418, 60.0)):
        error = judge(CALL, status, body)
        assert isinstance(error, Throttled)
        assert error.retry_after == seconds


def test_a_block_lasts_as_long_as_upbit_says() -> None:
    error = judge(CALL, 418, {"error": {"name": 418, "message": "Blocked for 300 seconds."}})
    assert isinstance(error, Throttled)
    assert error.retry_after == 300.0


@pytest.mark.parametrize("value", [None, "", "abc", [], {}])
def test_a_price_that_is_no_number_is_one_line_with_symbol_and_field(value: object) -> None:
    with pytest.raises(BadReply) as caught:
        parse_list(CandleRow, [row(), row(trade_price=value)], CALL)
    assert str(caught.value).startswith("upbit candles_days KRW-BTC: row 2, field trade_price: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_missing_field_is_named() -> None:
    incomplete = row()
    del incomplete["low_price"]
    with pytest.raises(BadReply, match="row 1, field low_price: Field required"):
        parse_list(CandleRow, [incomplete], CALL)


def test_a_reply_that_is_no_list_is_refused() -> None:
    with pytest.raises(BadReply, match="candles_days KRW-BTC: the reply: should be a valid list"):
        parse_list(CandleRow, {"candles": []}, CALL)


@pytest.mark.parametrize(("text", "value"), [("NaN", "NaN"), ("0", "0"), ("-1.5", "-1.5")])
def test_wrong_values_are_passed_on_for_the_check_of_the_candles(text: str, value: str) -> None:
    document = json.loads(f"[{text}]", parse_float=Decimal, parse_constant=Decimal)
    (read,) = parse_list(CandleRow, [row(low_price=document[0])], CALL)
    assert str(read.low_price) == value


def test_a_row_that_came_twice_is_kept_once_but_two_rows_of_one_time_are_refused() -> None:
    candle = _candle(parse_list(CandleRow, [row()], CALL)[0])
    other = _candle(parse_list(CandleRow, [row(trade_price=1)], CALL)[0])
    assert in_order([candle, candle], CALL) == [candle]
    with pytest.raises(BadReply, match="two different candles of 2025-06-30"):
        in_order([candle, other], CALL)


@pytest.mark.parametrize(
    ("price", "tick"),
    [
        ("145759000", "1000"),
        ("1000000", "1000"),
        ("999999", "500"),
        ("100000", "100"),
        ("99999", "50"),
        ("49999", "10"),
        ("9999", "5"),
        ("4999", "1"),
        ("100", "1"),
        ("99.9", "0.1"),
        ("9.99", "0.01"),
        ("0.5", "0.001"),
        ("0.000001", "0.00000001"),
        ("0", "0.00000001"),
    ],
)
def test_the_tick_table_of_krw_markets(price: str, tick: str) -> None:
    assert krw_tick(Decimal(price), date(2026, 11, 1)) == Decimal(tick)


@pytest.mark.parametrize("symbol", ["BTC", "krw-btc", "BTC-ETH", "KRW-", "KRW-BTC&x=1", "KRW-BTC\n"])
async def test_what_is_no_krw_market_is_refused_before_any_call(symbol: str) -> None:
    market = UpbitMarket(None, "http://unused.invalid")  # type: ignore[arg-type]
    for read in (market.instrument(symbol), market.quote(symbol), market.candles(symbol, 1)):
        with pytest.raises(UnknownSymbol, match="UPBIT_SYMBOLS"):
            await read
