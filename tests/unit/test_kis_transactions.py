"""Which call goes where, and which order of the list is ours: KIS's tables and the matching, without a network."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.types import Instrument, OrderIntent, OrderState, Quote, Side
from workers.calls import Call
from workers.dated import load
from workers.errors import Ambiguous, BadCredentials, BadReply, Rejected, Throttled, Unproven
from workers.kis.broker import placement_of, refusal, trade_day
from workers.kis.environment import Environment
from workers.kis.errors import NotOffered, TurnedAway, WrongEnvironment, judge_order
from workers.kis.matching import match
from workers.kis.trading import AccountNumber
from workers.kis.trading_wire import OrderRow
from workers.kis.wire import KST

REAL_URL = "https://openapi.koreainvestment.com:9443"
MOCK_URL = "https://openapivts.koreainvestment.com:29443"
TODAY = date(2026, 11, 20)
SENT_AT = datetime(2026, 11, 20, 1, 2, 3, 400_000, tzinfo=UTC)
INTENT = OrderIntent("kis-b1-1-a", "kis", "009150", Side.BUY, Decimal(10), Decimal(150_000), "KRW")
INSTRUMENT = Instrument("kis", "009150", "삼성전기", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
# the documented row of a rejected buy
DOCUMENTED = {
    "ord_dt": "20220103", "ord_gno_brno": "06010", "odno": "0001568197", "orgn_odno": "", "ord_dvsn_name": "Limit",
    "sll_buy_dvsn_cd": "02", "sll_buy_dvsn_cd_name": "BUY REJECT", "pdno": "009150", "prdt_name": "삼성전기",
    "ord_qty": "10", "ord_unpr": "150000", "ord_tmd": "170100", "tot_ccld_qty": "0", "avg_prvs": "0", "cncl_yn": "",
    "tot_ccld_amt": "0", "cncl_cfrm_qty": "0", "rmn_qty": "0", "rjct_qty": "10", "ccld_cndt_name": "None",
}  # fmt: skip


def row(at: datetime = SENT_AT, **changed: str) -> OrderRow:
    local = at.astimezone(KST)
    when = {"ord_dt": f"{local:%Y%m%d}", "ord_tmd": f"{local:%H%M%S}"}
    return OrderRow.model_validate({**DOCUMENTED, "rmn_qty": "10", "rjct_qty": "0", **when, **changed})


@pytest.mark.parametrize(
    ("name", "url"),
    [("mock", REAL_URL), ("real", MOCK_URL), ("real", "https://example.com"), ("real", "http://10.0.0.1:9443"),
     ("real", "http://openapi.koreainvestment.com:9443"), ("paper", REAL_URL)],
)  # fmt: skip
def test_an_address_of_another_environment_is_refused(name: str, url: str) -> None:
    with pytest.raises(WrongEnvironment) as caught:
        Environment(name, url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [("real", REAL_URL), ("mock", MOCK_URL + "/"), ("real", "http://127.0.0.1:8000/kis"), ("mock", "http://[::1]:80"),
     ("mock", "http://localhost:8000")],
)  # fmt: skip
def test_its_own_address_and_a_sandbox_are_taken(name: str, url: str) -> None:
    assert Environment(name, url).base_url == url.rstrip("/")


def test_every_call_has_the_documented_ids() -> None:
    real, mock = Environment("real", REAL_URL), Environment("mock", MOCK_URL)
    expected = {
        "balance": ("TTTC8434R", "VTTC8434R", 50, 20),
        "buyable": ("TTTC8908R", "VTTC8908R", 0, 0),
        "order_buy": ("TTTC0012U", "VTTC0012U", 0, 0),
        "order_sell": ("TTTC0011U", "VTTC0011U", 0, 0),
        "modify_cancel": ("TTTC0013U", "VTTC0013U", 0, 0),
        "daily_fills": ("TTTC0081R", "VTTC0081R", 100, 15),
        "us_order_buy": ("TTTT1002U", "VTTT1002U", 0, 0),
        "us_order_sell": ("TTTT1006U", "VTTT1001U", 0, 0),
    }
    for operation, (real_id, mock_id, real_rows, mock_rows) in expected.items():
        on_real, on_mock = real.transaction(operation, TODAY), mock.transaction(operation, TODAY)
        assert (on_real.tr_id, on_mock.tr_id) == (real_id, mock_id)
        assert (on_real.rows, on_mock.rows) == (real_rows, mock_rows)
        assert on_real.path == on_mock.path


def test_no_mock_id_is_a_real_one_and_none_is_used_where_there_is_none() -> None:
    table = load("workers.kis", "transactions.json")["trading"]
    mock = Environment("mock", MOCK_URL)
    for operation, entry in table.items():
        for ids in entry["ids"]:
            assert ids["mock"] is None or ids["mock"].startswith("V")
            assert not ids["real"].startswith("V")
        if entry["ids"][-1]["mock"] is None:
            with pytest.raises(NotOffered):
                mock.transaction(operation, TODAY)


def test_an_immediate_order_has_its_code_in_both_environments() -> None:
    for environment in (Environment("real", REAL_URL), Environment("mock", MOCK_URL)):
        assert [environment.order_type(kind, TODAY) for kind in ("limit", "market", "limit_ioc")] == ["00", "01", "11"]


@pytest.mark.parametrize("cano", ["1234567", "123456789", "1234567a", ""])
def test_a_malformed_account_is_refused_and_none_is_shown(cano: str) -> None:
    with pytest.raises(BadCredentials):
        AccountNumber(cano)
    assert "12345678" not in repr(AccountNumber("12345678"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (500, "EGW00201", Throttled), (500, "EGW00215", Throttled), (500, "EGW00123", TurnedAway),
        (500, "EGW00121", TurnedAway), (500, "EGW02006", BadCredentials), (200, "APBK0952", Rejected),
        (500, "APBK0400", Rejected), (200, "40570000", Rejected), (500, "EGW00002", Unproven),
        (500, "EGW00203", Unproven), (500, "EGW00300", Unproven), (500, "IGW00009", Unproven), (200, "", Unproven),
    ],
)  # fmt: skip
def test_a_refusal_of_an_order_proves_what_it_says_and_no_more(status: int, code: str, kind: type[Exception]) -> None:
    error = judge_order(
        Call("kis", "order"), status, {"rt_cd": "7", "msg_cd": code, "msg1": "주문가능금액을 초과 했습니다"}
    )
    assert type(error) is kind
    if isinstance(error, Rejected):
        assert error.name == code
        assert "주문가능금액을 초과 했습니다" in str(error)


@pytest.mark.parametrize("document", [None, [], "text", {"error": "x"}, {}])
def test_a_reply_that_is_not_kis_own_is_no_refusal(document: object) -> None:
    for status in (200, 403, 429, 500):
        assert judge_order(Call("kis", "order"), status, document) is None


# matching

NUMBERS = st.integers(1, 4).map(lambda number: f"{number:010}")
ROWS = st.builds(
    lambda seconds, odno, side, pdno, quantity, price, original: row(
        SENT_AT + timedelta(seconds=seconds), odno=odno, sll_buy_dvsn_cd=side, pdno=pdno, ord_qty=quantity,
        ord_unpr=price, orgn_odno=original,
    ),
    st.integers(-5, 60), NUMBERS, st.sampled_from(["01", "02"]), st.sampled_from(["009150", "005930"]),
    st.sampled_from(["10", "11"]), st.sampled_from(["150000", "150100"]), st.sampled_from(["", "", "0000000009"]),
)  # fmt: skip
OWNED = st.sets(NUMBERS.map(lambda odno: f"20261120-{odno}"))


def candidate(found: OrderRow, owned: set[str]) -> bool:
    facts = (found.sll_buy_dvsn_cd, found.pdno, found.ord_qty, found.ord_unpr, found.orgn_odno)
    early = found.at < (SENT_AT - timedelta(seconds=2)).replace(microsecond=0)
    wanted = ("02", "009150", Decimal(10), Decimal(150_000), "")
    return facts == wanted and not early and found.venue_order_id not in owned


@given(rows=st.lists(ROWS, max_size=8, unique_by=lambda found: found.odno), owned=OWNED)
def test_matching_takes_the_only_candidate_and_never_guesses(rows: list[OrderRow], owned: set[str]) -> None:
    candidates = [found for found in rows if candidate(found, owned)]
    if len(candidates) > 1:
        with pytest.raises(Ambiguous):
            match(INTENT, SENT_AT, owned, rows)
    else:
        assert match(INTENT, SENT_AT, owned, rows) == (candidates[0] if candidates else None)


@given(rows=st.lists(ROWS, max_size=6, unique_by=lambda found: found.odno), owned=OWNED, order=st.randoms())
def test_matching_does_not_depend_on_the_order_of_rows(rows: list[OrderRow], owned: set[str], order: object) -> None:
    def outcome(given_rows: list[OrderRow]) -> object:
        try:
            return match(INTENT, SENT_AT, owned, given_rows)
        except Ambiguous:
            return Ambiguous

    assert outcome(rows) == outcome(sorted(rows, key=lambda found: found.odno, reverse=True)) == outcome(rows + rows)


def test_the_time_of_an_order_is_korean_and_whole_seconds() -> None:
    found = row(SENT_AT)
    assert found.at == SENT_AT.replace(microsecond=0)
    assert found.venue_order_id == "20261120-0001568197"
    assert match(INTENT, SENT_AT, (), [row(SENT_AT - timedelta(seconds=2))]) is not None
    assert match(INTENT, SENT_AT, (), [row(SENT_AT - timedelta(seconds=4))]) is None


# what a row says


@pytest.mark.parametrize(
    ("changed", "state", "filled"),
    [
        ({}, OrderState.ACCEPTED, 0),
        ({"tot_ccld_qty": "4", "tot_ccld_amt": "600000", "rmn_qty": "6"}, OrderState.ACCEPTED, 0),
        ({"tot_ccld_qty": "10", "tot_ccld_amt": "1500000", "rmn_qty": "0"}, OrderState.FILLED, 10),
        ({"tot_ccld_qty": "4", "tot_ccld_amt": "600000", "rmn_qty": "0", "cncl_yn": "Y"}, OrderState.PARTLY_FILLED, 4),
        ({"tot_ccld_qty": "3", "avg_prvs": "150000", "rmn_qty": "0"}, OrderState.PARTLY_FILLED, 3),
        ({"rmn_qty": "0", "rjct_qty": "10"}, OrderState.REJECTED, 0),
        ({"rmn_qty": "0", "cncl_yn": "Y"}, OrderState.CANCELLED, 0),
        ({"rmn_qty": "0", "cnc_cfrm_qty": "10"}, OrderState.CANCELLED, 0),
        ({"rmn_qty": "0"}, OrderState.ACCEPTED, 0),
    ],
)
def test_a_row_is_judged_by_its_quantities(changed: dict[str, str], state: OrderState, filled: int) -> None:
    fields = {name: value for name, value in DOCUMENTED.items() if name != "cncl_cfrm_qty"}
    found = OrderRow.model_validate({**fields, "rmn_qty": "10", "rjct_qty": "0", **changed})
    placement = placement_of(found, Decimal("0.00015"))
    assert (placement.state, placement.venue_order_id) == (state, "20220103-0001568197")
    assert sum(fill.quantity for fill in placement.fills) == filled
    for fill in placement.fills:
        assert (fill.trade_id, fill.price) == (f"20220103-0001568197-{filled}", Decimal(150_000))
        assert fill.fee == filled * 150_000 * Decimal("0.00015")


def test_quantities_that_cannot_be_are_no_answer() -> None:
    with pytest.raises(BadReply):
        placement_of(row(tot_ccld_qty="8", rmn_qty="4"), Decimal(0))
    with pytest.raises(BadReply):
        placement_of(row(tot_ccld_qty="10", rmn_qty="0"), Decimal(0))
    with pytest.raises(BadReply):
        trade_day("0001568197")


@pytest.mark.parametrize(
    ("price", "quantity", "name"),
    [("150000", "10", None), ("149900", "10", None), ("150100", "10", None), ("150050", "10", "off_tick"),
     ("150000.5", "10", "bad_price"), ("150000", "1.5", "bad_quantity"), ("NaN", "10", "bad_price")],
)  # fmt: skip
def test_what_krx_would_not_take_is_not_sent(price: str, quantity: str, name: str | None) -> None:
    quote = Quote("009150", Decimal(150_000), Decimal(149_900), Decimal(150_100), Decimal(200), SENT_AT)
    intent = OrderIntent("a", "kis", "009150", Side.BUY, Decimal(quantity), Decimal(price), "KRW")
    reason = refusal(intent, INSTRUMENT, quote)
    assert (reason or "None").partition(":")[0] == str(name)
