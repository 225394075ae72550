"""What venues tell of a company or a coin: read from their documented replies, and never a reason to refuse one."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.fundamentals import COIN, COMPANY, complete, told
from workers.calls import Call
from workers.kis.wire import Price
from workers.upbit.wire import Ticker
from workers.wire import parse_one

REPLIES = Path(os.environ.get("SHARED_DIR") or Path(__file__).parents[3] / "shared") / "data" / "replies" / "kis"
CALL = Call("kis", "price", "000660")
FIELDS = ("hts_avls", "per", "pbr", "eps", "bps", "w52_hgpr", "w52_lwpr")


def test_the_documented_price_reply_tells_of_the_company() -> None:
    path = REPLIES / "inquire_price_000660.json"
    if not path.exists():
        pytest.skip("no documented replies: set SHARED_DIR to the folder that has data/replies")
    output = json.loads(path.read_text(encoding="utf-8"))["body"]["output"]
    price = parse_one(Price, output, CALL)
    assert complete("equity_kr", price.fundamentals) == {
        "market_cap": Decimal(93_548_300_000_000),
        "per": Decimal("19.67"),
        "pbr": Decimal("1.72"),
        "eps": Decimal(6532),
        "bps": Decimal(74721),
        "week52_high": Decimal(149_500),
        "week52_low": Decimal(90_500),
    }
    # the reply holds the way to check the unit: all shares at the price
    shares = Decimal(output["lstn_stcn"])
    assert abs(price.fundamentals["market_cap"] / (shares * price.stck_prpr) - 1) < Decimal("0.001")


SPOILT = st.one_of(
    st.none(), st.text(), st.booleans(), st.floats(), st.lists(st.integers(), max_size=2), st.just("9" * 5_000)
)


@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, SPOILT)))
def test_whatever_stands_there_the_price_is_read(spoilt: dict[str, object]) -> None:
    price = parse_one(Price, {"stck_prpr": "128500", "aspr_unit": "500", **spoilt}, CALL)
    assert price.stck_prpr == 128_500
    assert all(value.is_finite() and value for value in price.fundamentals.values())


def test_a_zero_stands_for_what_the_venue_does_not_know() -> None:
    price = parse_one(Price, {"stck_prpr": "1", "aspr_unit": "1", **dict.fromkeys(FIELDS, "0.00"), "eps": "-12"}, CALL)
    assert price.fundamentals == {"eps": Decimal(-12)}
    assert complete("equity_kr", price.fundamentals) == {**dict.fromkeys(COMPANY), "eps": Decimal(-12)}


def test_what_cannot_be_negative_and_is_is_not_known() -> None:
    known = told(eps=Decimal(-12), market_cap=Decimal(-1), week52_low=Decimal("-0.5"), per=Decimal("NaN"))
    assert known == {"eps": Decimal(-12)}


def test_a_ticker_without_them_is_a_ticker() -> None:
    ticker = parse_one(
        Ticker, {"market": "KRW-BTC", "trade_price": 1, "timestamp": 1_700_000_000_000}, Call("upbit", "ticker")
    )
    assert complete("crypto", ticker.fundamentals) == dict.fromkeys(COIN)
