"""Which call goes where, and which order of the list is ours: KIS's tables and the matching, without a network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.types import Instrument, OrderIntent, OrderState, Quote, Side, TimeInForce
from workers.calls import Call
from workers.dated import load
from workers.errors import Ambiguous, BadCredentials, BadReply, Rejected, Throttled, Unproven
from workers.kis.broker import refusal
from workers.kis.environment import Environment
from workers.kis.errors import NotOffered, TurnedAway, WrongEnvironment, judge_order
from workers.kis.matching import Sent, match
from workers.kis.placements import placement_of, trade_day
from workers.kis.ticks import krx_tick, tick_beside
from workers.kis.trading import AccountNumber
from workers.kis.trading_wire import OrderRow
from workers.kis.wire import KST, day_of

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
    st.integers(-70, 60), NUMBERS, st.sampled_from(["01", "02"]), st.sampled_from(["009150", "005930"]),
    st.sampled_from(["10", "11"]), st.sampled_from(["150000", "150100"]), st.sampled_from(["", "", "0000000009"]),
)  # fmt: skip
OWNED = st.sets(NUMBERS.map(lambda odno: f"20261120-{odno}"))


def candidate(found: OrderRow, owned: set[str]) -> bool:
    facts = (found.sll_buy_dvsn_cd, found.pdno, found.ord_qty, found.ord_unpr, found.orgn_odno)
    early = found.at < (SENT_AT - timedelta(seconds=60)).replace(microsecond=0)
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
    assert match(INTENT, SENT_AT, (), [row(SENT_AT - timedelta(seconds=60))]) is not None
    assert match(INTENT, SENT_AT, (), [row(SENT_AT - timedelta(seconds=62))]) is None


def test_a_clock_that_is_ahead_loses_no_order_and_takes_none_of_ours_for_another() -> None:
    ours = row(SENT_AT - timedelta(seconds=45), odno="0000000002")
    before = row(SENT_AT - timedelta(seconds=50), odno="0000000001")
    assert match(INTENT, SENT_AT, (), [ours]) == ours
    # the equal order of a moment before is in the journal with its number
    assert match(INTENT, SENT_AT, {before.venue_order_id}, [before, ours]) == ours
    assert match(INTENT, SENT_AT, {before.venue_order_id}, [before]) is None
    # and where it is not, it is a doubt
    with pytest.raises(Ambiguous):
        match(INTENT, SENT_AT, (), [before, ours])


@pytest.mark.parametrize(
    ("told", "ours"),
    [({}, True), ({"excg_id_dvsn_cd": "KRX"}, True), ({"excg_id_dvsn_Cd": "KRX "}, True),
     ({"excg_id_dvsn_cd": ""}, True), ({"excg_id_dvsn_cd": "SOR"}, False), ({"excg_id_dvsn_Cd": "NXT"}, False)],
)  # fmt: skip
def test_an_order_at_an_exchange_that_we_send_nothing_to_is_never_ours(told: dict[str, str], ours: bool) -> None:
    assert (match(INTENT, SENT_AT, (), [row(**told)]) is not None) == ours


def test_an_order_that_was_sent_at_another_price_is_found_by_either() -> None:
    for price, raised, found in (("150000", None, True), ("150100", None, False), ("150100", 150_100, True)):
        at = None if raised is None else Decimal(raised)
        assert (match(INTENT, SENT_AT, (), [row(ord_unpr=price)], raised=at) is not None) == found


@pytest.mark.parametrize(
    ("clock", "told", "day"),
    [
        ("20261120 10:02:03", "100202", "20261120"), ("20261120 23:59:59", "235958", "20261120"),
        # midnight came in between
        ("20261121 00:00:01", "235959", "20261120"), ("20261121 00:00:01", "000000", "20261121"),
        # midnight has come for KIS, and not yet for us
        ("20261120 23:59:59", "000000", "20261121"), ("20261120 23:55:00", "000459", "20261121"),
        ("20261120 23:54:59", "000000", "20261120"), ("20261231 23:59:59", "000000", "20270101"),
    ],
)  # fmt: skip
def test_the_day_of_an_order_number_is_that_of_kis_own_clock(clock: str, told: str, day: str) -> None:
    now = datetime.strptime(clock, "%Y%m%d %H:%M:%S").replace(tzinfo=KST).astimezone(UTC)
    assert f"{day_of(datetime.strptime(told, '%H%M%S').time(), now):%Y%m%d}" == day  # noqa: DTZ007


# what a row says

NUMBER = "20220103-0001568197"
ROW_AT = datetime(2022, 1, 3, 8, 1, tzinfo=UTC)
SOON, LATER, NEXT_DAY = (ROW_AT + timedelta(seconds=seconds) for seconds in (5, 61, 86_400))
RATE = Decimal("0.00015")


def of_the_day(**changed: str) -> OrderRow:
    fields = {name: value for name, value in DOCUMENTED.items() if name != "cncl_cfrm_qty"}
    return OrderRow.model_validate({**fields, "rmn_qty": "10", "rjct_qty": "0", **changed})


def sent(filled: int = 0, value: int = 0, how: TimeInForce = TimeInForce.GTC) -> Sent:
    return Sent(replace(INTENT, time_in_force=how), ROW_AT, NUMBER, frozenset(), Decimal(filled), Decimal(value))


@pytest.mark.parametrize(
    ("changed", "now", "state", "filled", "reason"),
    [
        ({}, SOON, OrderState.ACCEPTED, 0, None),
        ({}, NEXT_DAY, OrderState.CANCELLED, 0, "session_ended"),
        ({"tot_ccld_qty": "4", "tot_ccld_amt": "600000", "rmn_qty": "6"}, LATER, OrderState.PARTLY_FILLED, 4, None),
        ({"tot_ccld_qty": "4", "tot_ccld_amt": "600000", "rmn_qty": "6"}, NEXT_DAY, OrderState.CANCELLED, 4,
         "partly_filled"),
        ({"tot_ccld_qty": "10", "tot_ccld_amt": "1500000", "rmn_qty": "0"}, SOON, OrderState.FILLED, 10, None),
        ({"tot_ccld_qty": "4", "tot_ccld_amt": "600000", "rmn_qty": "0", "cncl_yn": "Y"}, SOON, OrderState.CANCELLED,
         4, "partly_filled"),
        ({"tot_ccld_qty": "3", "avg_prvs": "150000", "rmn_qty": "0"}, SOON, OrderState.PARTLY_FILLED, 3, None),
        ({"tot_ccld_qty": "3", "avg_prvs": "150000", "rmn_qty": "0"}, LATER, OrderState.CANCELLED, 3, "partly_filled"),
        ({"rmn_qty": "0", "rjct_qty": "10"}, SOON, OrderState.REJECTED, 0, "rejected"),
        ({"rmn_qty": "0", "cncl_yn": "Y"}, SOON, OrderState.CANCELLED, 0, "cancelled"),
        ({"rmn_qty": "0", "cnc_cfrm_qty": "10"}, SOON, OrderState.CANCELLED, 0, "cancelled"),
        ({"rmn_qty": "0"}, SOON, OrderState.ACCEPTED, 0, None),
        ({"rmn_qty": "0"}, LATER, OrderState.CANCELLED, 0, "session_ended"),
    ],
)  # fmt: skip
def test_a_row_is_judged_by_its_quantities_and_its_day(
    changed: dict[str, str], now: datetime, state: OrderState, filled: int, reason: str | None
) -> None:
    placement = placement_of(of_the_day(**changed), sent(), RATE, now)
    assert (placement.state, placement.venue_order_id) == (state, NUMBER)
    assert (placement.reason or "None").partition(":")[0] == str(reason)
    assert sum(fill.quantity for fill in placement.fills) == filled
    for fill in placement.fills:
        assert (fill.trade_id, fill.price) == (f"{NUMBER}-0-{filled}", Decimal(150_000))
        assert fill.fee == filled * 150_000 * RATE


def test_an_immediate_order_that_ended_says_that_it_did_not_cross() -> None:
    row_ = of_the_day(rmn_qty="0", cncl_yn="Y")
    assert str(placement_of(row_, sent(how=TimeInForce.IOC), RATE, SOON).reason).startswith("not_crossed")


def test_a_fill_is_what_came_since_the_journals_last() -> None:
    row_ = of_the_day(tot_ccld_qty="7", tot_ccld_amt="1049600", rmn_qty="3")
    (fill,) = placement_of(row_, sent(4, 600_000), RATE, LATER).fills
    assert (fill.trade_id, fill.quantity, fill.price) == (f"{NUMBER}-4-7", 3, Decimal("149866.66666667"))
    assert (fill.fee, fill.at) == (449_600 * RATE, LATER)
    # the same look again makes the same fill, and one that is written down already makes none
    assert placement_of(row_, sent(4, 600_000), RATE, LATER).fills == (fill,)
    assert placement_of(row_, sent(7, 1_049_600), RATE, LATER).fills == ()
    # what traded is never later than its day
    assert placement_of(row_, sent(4, 600_000), RATE, NEXT_DAY).fills[0].at < datetime(2022, 1, 3, 15, tzinfo=UTC)
    (taken,) = placement_of(row_, sent(4, 600_000, TimeInForce.IOC), RATE, LATER).fills
    assert taken.at == ROW_AT


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(149_000, 151_000)), min_size=1, max_size=6))
def test_however_an_order_trades_its_fills_add_up_to_what_the_venue_says(parts: list[tuple[int, int]]) -> None:
    whole = sum(quantity for quantity, _ in parts) + 1
    quantity, value = Decimal(0), Decimal(0)
    traded = amount = 0
    keys = set()
    for units, price in parts:
        traded, amount = traded + units, amount + units * price
        row_ = of_the_day(
            ord_qty=str(whole), tot_ccld_qty=str(traded), tot_ccld_amt=str(amount), rmn_qty=str(whole - traded)
        )
        known = Sent(replace(INTENT, quantity=Decimal(whole)), ROW_AT, NUMBER, frozenset(), quantity, value)
        (fill,) = placement_of(row_, known, RATE, LATER).fills
        keys.add(fill.trade_id)
        quantity, value = quantity + fill.quantity, value + fill.quantity * fill.price
    assert (quantity, len(keys)) == (traded, len(parts))
    assert abs(value - amount) < Decimal("0.0000001") * traded


def test_quantities_that_cannot_be_are_no_answer() -> None:
    for changed, known in (
        ({"tot_ccld_qty": "8", "rmn_qty": "4"}, sent()),
        ({"tot_ccld_qty": "10", "rmn_qty": "0"}, sent()),
        ({"tot_ccld_qty": "11", "tot_ccld_amt": "1650000", "ord_qty": "12", "rmn_qty": "1"}, sent()),
        # less than the journal has proof of, in units or in money
        ({"tot_ccld_qty": "3", "tot_ccld_amt": "450000", "rmn_qty": "7"}, sent(4, 600_000)),
        ({"tot_ccld_qty": "5", "tot_ccld_amt": "590000", "rmn_qty": "5"}, sent(4, 600_000)),
    ):
        with pytest.raises(BadReply):
            placement_of(of_the_day(**changed), known, RATE, SOON)
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
    reason = refusal(intent, INSTRUMENT, quote, TODAY)
    assert (reason or "None").partition(":")[0] == str(name)


# ticks


@pytest.mark.parametrize(
    ("price", "stock", "fund"),
    [(1_999, 1, 1), (2_000, 5, 5), (4_995, 5, 5), (5_000, 10, 5), (19_990, 10, 5), (20_000, 50, 5), (50_000, 100, 5),
     (199_900, 100, 5), (200_000, 500, 5), (499_500, 500, 5), (500_000, 1_000, 5), (1, 1, 1)],
)  # fmt: skip
def test_the_step_goes_with_price_and_kind(price: int, stock: int, fund: int) -> None:
    assert krx_tick(Decimal(price), TODAY, "stock") == stock
    assert krx_tick(Decimal(price), TODAY, "fund") == fund


@pytest.mark.parametrize(
    ("last", "venue", "price", "tick"),
    [
        (150_000, 100, 149_000, 100),
        # the venue's own step in the band of the last price, the table's in another
        (150_000, 200, 120_000, 200), (150_000, 200, 201_000, 500),
        (51_000, 100, 49_950, 50), (49_950, 50, 50_000, 100), (210_000, 500, 199_900, 100),
        # a fund has its own table, and its step at the last price gives it away
        (35_000, 5, 35_005, 5), (20_500, 5, 19_995, 5), (5_005, 5, 4_995, 5), (2_005, 5, 1_999, 1),
        # nothing tells: the finer one
        (4_990, 5, 5_005, 5),
    ],
)  # fmt: skip
def test_an_order_away_from_the_quote_has_the_step_of_its_own_price(
    last: int, venue: int, price: int, tick: int
) -> None:
    at = Decimal(last)
    quote = Quote("009150", at, at - venue, at + venue, Decimal(venue), SENT_AT)
    assert tick_beside(quote, Decimal(price), TODAY) == tick
    resting = replace(INTENT, price=Decimal(price), time_in_force=TimeInForce.GTC)
    assert (refusal(resting, INSTRUMENT, quote, TODAY) is None) == (price % tick == 0)
