"""US orders at KIS without a network: ids, what a row says, which row is ours, and the calendar's differences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.types import Fill, Instrument, OrderIntent, OrderState, Placement, Quote, Side
from workers.errors import Ambiguous, BadReply, NoData
from workers.kis.environment import Environment
from workers.kis.errors import NotOffered, WrongEnvironment
from workers.kis.holidays import differences
from workers.kis.overseas_matching import SentUs, match_us
from workers.kis.overseas_orders import days_of, placement_of, refusal, split_number
from workers.kis.overseas_wire import UsBalanceRow, UsBookTime, UsOrderRow, UsPrice, listed
from workers.kis.wire import KST

REAL_URL = "https://openapi.koreainvestment.com:9443"
MOCK_URL = "https://openapivts.koreainvestment.com:29443"
TODAY = date(2026, 11, 20)
# 05:46:48 in Korea, which is 15:46:48 of the day before in New York
TAKEN_AT = datetime(2026, 11, 18, 20, 46, 48, tzinfo=UTC)
NOW = TAKEN_AT + timedelta(minutes=1)
INTENT = OrderIntent("yfina-b1-1-a", "yfinance", "TSLA", Side.BUY, Decimal(10), Decimal("419.16"), "USD")
INSTRUMENT = Instrument("yfinance", "TSLA", "Tesla", "equity_us", "USD", Decimal(1), Decimal(1), Decimal("0.0025"))
SENT = SentUs(INTENT, TAKEN_AT, None, frozenset())
# a row as KIS shows one of inquire-ccnl
SHOWN = {
    "ord_dt": "20261118", "ord_gno_brno": "01790", "odno": "0031381228", "orgn_odno": "", "sll_buy_dvsn_cd": "02",
    "rvse_cncl_dvsn": "00", "pdno": "TSLA", "ft_ord_qty": "10", "ft_ord_unpr3": "419.16000000", "ft_ccld_qty": "0",
    "ft_ccld_unpr3": "0.00000000", "ft_ccld_amt3": "0.00000", "nccs_qty": "10", "prcs_stat_name": "완료",
    "rjct_rson": "", "rjct_rson_name": "", "ord_tmd": "054648", "tr_crcy_cd": "USD", "ovrs_excg_cd": "NASD",
    "dmst_ord_dt": "20261119", "thco_ord_tmd": "054648",
}  # fmt: skip
CANCELLATION = {
    **SHOWN, "odno": "0031381299", "orgn_odno": "0031381228", "rvse_cncl_dvsn": "02", "ft_ord_unpr3": "0.00000000",
    "nccs_qty": "0",
}  # fmt: skip


def row(**changed: str) -> UsOrderRow:
    return UsOrderRow.model_validate({**SHOWN, **changed})


def word(
    shown: UsOrderRow, *changes: UsOrderRow, sent: SentUs = SENT, now: datetime = NOW, rate: str = "0.0025"
) -> Placement:
    return placement_of(shown, changes, sent, fee_rate=Decimal(rate), now=now)


def test_every_call_has_the_documented_ids() -> None:
    real, mock = Environment("real", REAL_URL), Environment("mock", MOCK_URL)
    for operation, ids in {
        "us_order_buy": ("TTTT1002U", "VTTT1002U"),
        # not the real id with a V
        "us_order_sell": ("TTTT1006U", "VTTT1001U"),
        "us_modify_cancel": ("TTTT1004U", "VTTT1004U"),
        "us_fills": ("TTTS3035R", "VTTS3035R"),
        "us_balance": ("TTTS3012R", "VTTS3012R"),
        "us_buyable": ("TTTS3007R", "VTTS3007R"),
    }.items():
        assert (real.transaction(operation, TODAY).tr_id, mock.transaction(operation, TODAY).tr_id) == ids
    for operation in ("us_open", "us_asking_price", "us_minutes"):
        real.transaction(operation, TODAY)
        with pytest.raises(NotOffered):
            mock.transaction(operation, TODAY)


def test_the_live_host_is_out_of_reach_of_mock_trading() -> None:
    with pytest.raises(WrongEnvironment):
        Environment("mock", REAL_URL)
    with pytest.raises(WrongEnvironment):
        Environment("real", MOCK_URL)


@pytest.mark.parametrize(
    ("day", "time", "korean_day"),
    [("20261118", "054648", ""), ("20261118", "184114", "20261118"), ("20261118", "000000", "")],
)  # fmt: skip
def test_the_time_of_an_order_is_korean_also_without_its_korean_date(day: str, time: str, korean_day: str) -> None:
    shown = row(ord_dt=day, ord_tmd=time, thco_ord_tmd="", dmst_ord_dt=korean_day)
    local = shown.at.astimezone(KST)
    assert f"{local:%H%M%S}" == time
    assert shown.at.astimezone(UTC) - timedelta(hours=5) < datetime(2026, 11, 19, tzinfo=UTC)
    assert shown.venue_order_id == f"{local:%Y%m%d}-0031381228"


def test_a_row_says_when_and_what() -> None:
    shown = row()
    assert (shown.at, shown.venue_order_id, shown.side) == (TAKEN_AT, "20261119-0031381228", Side.BUY)
    assert days_of(shown.venue_order_id) == (date(2026, 11, 18), date(2026, 11, 19))
    assert split_number(shown.venue_order_id) == (date(2026, 11, 19), "0031381228")
    with pytest.raises(BadReply):
        split_number("0031381228")


@pytest.mark.parametrize(
    ("changed", "state", "filled"),
    [
        ({}, OrderState.ACCEPTED, 0),
        ({"ft_ccld_qty": "4", "ft_ccld_amt3": "1676.64", "nccs_qty": "6"}, OrderState.PARTLY_FILLED, 4),
        ({"ft_ccld_qty": "10", "ft_ccld_amt3": "4191.60", "nccs_qty": "0"}, OrderState.FILLED, 10),
        # nothing left and no reason: KIS is not through with it
        ({"nccs_qty": "0"}, OrderState.ACCEPTED, 0),
        ({"nccs_qty": "0", "prcs_stat_name": "전송"}, OrderState.ACCEPTED, 0),
        ({"nccs_qty": "0", "rjct_rson_name": "DFD 장종료로 취소"}, OrderState.CANCELLED, 0),
        ({"nccs_qty": "0", "prcs_stat_name": "거부", "rjct_rson_name": "호가"}, OrderState.REJECTED, 0),
        # without an amount, by the mean price
        (
            {"ft_ccld_qty": "3", "ft_ccld_unpr3": "419.16", "nccs_qty": "0", "rjct_rson_name": "DFD"},
            OrderState.CANCELLED, 3,
        ),
    ],
)  # fmt: skip
def test_a_row_is_judged_by_its_quantities_and_needs_proof_of_an_end(
    changed: dict[str, str], state: OrderState, filled: int
) -> None:
    placement = word(row(**changed))
    assert (placement.state, placement.venue_order_id) == (state, "20261119-0031381228")
    assert sum(fill.quantity for fill in placement.fills) == filled
    for fill in placement.fills:
        assert (fill.trade_id, fill.price) == (f"20261119-0031381228-0-{filled}", Decimal("419.16"))
        assert fill.fee == filled * Decimal("419.16") * Decimal("0.0025")


def test_a_cancellation_that_is_done_is_an_end_and_so_is_the_end_of_the_session() -> None:
    ended = row(nccs_qty="0")
    done, sent = (
        UsOrderRow.model_validate(CANCELLATION),
        UsOrderRow.model_validate({**CANCELLATION, "prcs_stat_name": "전송"}),
    )
    assert word(ended, done).state is OrderState.CANCELLED
    assert word(ended, sent).state is OrderState.ACCEPTED
    assert word(ended, now=NOW + timedelta(days=1)).state is OrderState.CANCELLED
    # it rests, whatever was cancelled of it
    assert word(row(), done).state is OrderState.ACCEPTED
    partly = word(row(ft_ccld_qty="3", ft_ccld_amt3="1257.48", nccs_qty="0"), done)
    assert partly.reason == "partly_filled: 3 of 10 traded, the rest is cancelled"


def test_an_order_of_an_earlier_session_has_ended_also_where_the_list_leaves_a_rest() -> None:
    partly = row(ft_ccld_qty="3", ft_ccld_amt3="1257.48", nccs_qty="7")
    # 23:59 in New York, and the minute after
    last = datetime(2026, 11, 19, 4, 59, tzinfo=UTC)
    assert word(partly, now=last).state is OrderState.PARTLY_FILLED
    over = word(partly, now=last + timedelta(minutes=1))
    assert (over.state, over.reason) == (OrderState.CANCELLED, "partly_filled: 3 of 10 traded, the rest is cancelled")
    assert sum(fill.quantity for fill in over.fills) == 3
    assert word(row(), now=last + timedelta(minutes=1)).state is OrderState.CANCELLED
    # ordered after the last trade of a day (20:30 in New York), it is for the session of the next one
    evening = row(thco_ord_tmd="103000", ord_tmd="103000")
    assert word(evening, now=last + timedelta(minutes=1)).state is OrderState.ACCEPTED
    assert word(evening, now=last + timedelta(days=1, minutes=1)).state is OrderState.CANCELLED


def test_a_clock_that_is_ahead_loses_no_order_and_takes_none_of_ours_for_another() -> None:
    sent_at = TAKEN_AT + timedelta(seconds=45)
    ours, before = row(odno="0000000002"), row(odno="0000000001", thco_ord_tmd="054643")
    assert match_us(INTENT, sent_at, (), [ours]) == ours
    assert match_us(INTENT, sent_at, {before.venue_order_id}, [before, ours]) == ours
    assert match_us(INTENT, sent_at, {before.venue_order_id}, [before]) is None
    with pytest.raises(Ambiguous):
        match_us(INTENT, sent_at, (), [before, ours])


def test_partial_fills_are_told_as_what_came_on_top() -> None:
    first = word(row(ft_ccld_qty="4", ft_ccld_amt3="1676.00", nccs_qty="6"))
    assert [(fill.trade_id, fill.price) for fill in first.fills] == [("20261119-0031381228-0-4", Decimal(419))]
    later = replace(SENT, fills=first.fills)
    second = word(row(ft_ccld_qty="10", ft_ccld_amt3="4190.96", nccs_qty="0"), sent=later)
    assert second.fills[0] == first.fills[0]
    assert [(fill.trade_id, fill.quantity, fill.price) for fill in second.fills[1:]] == [
        ("20261119-0031381228-4-10", 6, Decimal("419.16"))
    ]
    # an older list takes nothing back
    assert word(row(), sent=later).fills == first.fills


@given(steps=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 90_000)), min_size=1, max_size=8))
def test_whatever_the_steps_the_fills_sum_up_to_what_kis_tells(steps: list[tuple[int, int]]) -> None:
    whole = sum(quantity for quantity, _ in steps) + 1
    sent = replace(SENT, intent=replace(INTENT, quantity=Decimal(whole)))
    done, value = 0, Decimal(0)
    for quantity, cents in steps:
        done, value = done + quantity, value + quantity * Decimal(cents) / 100
        shown = row(
            ft_ord_qty=str(whole), ft_ccld_qty=str(done), ft_ccld_amt3=f"{value:.5f}", nccs_qty=str(whole - done)
        )
        sent = replace(sent, fills=word(shown, sent=sent).fills)
    assert sent.filled == done
    assert abs(sent.value - value) < Decimal("0.00001")
    assert len({fill.trade_id for fill in sent.fills}) == len(sent.fills) == len(steps)


def test_quantities_that_cannot_be_are_no_answer() -> None:
    for changed in ({"ft_ccld_qty": "8"}, {"ft_ord_qty": "11"}, {"ft_ccld_qty": "10", "nccs_qty": "0"}):
        with pytest.raises(BadReply):
            word(row(**changed))
    known = Fill("x", Decimal(4), Decimal(500), Decimal(0), TAKEN_AT)
    with pytest.raises(BadReply):
        word(row(ft_ccld_qty="5", ft_ccld_amt3="1900", nccs_qty="5"), sent=replace(SENT, fills=(known,)))
    with pytest.raises(ValueError, match="time"):
        _ = row(ord_tmd="", thco_ord_tmd="").at


NUMBERS = st.integers(1, 4).map(lambda number: f"{number:010}")
ROWS = st.builds(
    lambda seconds, odno, side, pdno, quantity, price, original: row(
        odno=odno, sll_buy_dvsn_cd=side, pdno=pdno, ft_ord_qty=quantity, ft_ord_unpr3=price, orgn_odno=original,
        thco_ord_tmd=f"{(TAKEN_AT + timedelta(seconds=seconds)).astimezone(KST):%H%M%S}",
    ),
    st.integers(-70, 60), NUMBERS, st.sampled_from(["01", "02"]), st.sampled_from(["TSLA", "AAPL"]),
    st.sampled_from(["10", "11"]), st.sampled_from(["419.16", "419.17"]), st.sampled_from(["", "", "0000000009"]),
)  # fmt: skip


@given(rows=st.lists(ROWS, max_size=8, unique_by=lambda found: found.odno), owned=st.sets(NUMBERS))
def test_matching_takes_the_only_candidate_and_never_guesses(rows: list[UsOrderRow], owned: set[str]) -> None:
    numbers = {f"20261119-{odno}" for odno in owned}
    candidates = [
        found
        for found in rows
        if (found.side, found.pdno, found.ft_ord_qty, found.ft_ord_unpr3, found.orgn_odno)
        == (Side.BUY, "TSLA", 10, Decimal("419.16"), "")
        and found.at >= TAKEN_AT - timedelta(seconds=60)
        and found.venue_order_id not in numbers
    ]
    if len(candidates) > 1:
        with pytest.raises(Ambiguous):
            match_us(INTENT, TAKEN_AT, numbers, rows)
    else:
        assert match_us(INTENT, TAKEN_AT, numbers, rows) == (candidates[0] if candidates else None)


def test_a_class_of_shares_is_matched_in_either_spelling() -> None:
    assert match_us(replace(INTENT, symbol="BRK-B"), TAKEN_AT, (), [row(pdno="BRK/B")]) is not None


@pytest.mark.parametrize(
    ("price", "quantity", "name"),
    [("419.16", "10", None), ("419.165", "10", "off_tick"), ("0.5123", "10", None), ("0.51235", "10", "off_tick"),
     ("0", "10", "bad_price"), ("NaN", "10", "bad_price"), ("419.16", "1.5", "bad_quantity")],
)  # fmt: skip
def test_what_no_exchange_would_take_is_not_sent(price: str, quantity: str, name: str | None) -> None:
    quote = Quote("TSLA", Decimal(419), Decimal("418.99"), Decimal("419.01"), Decimal("0.01"), TAKEN_AT)
    intent = replace(INTENT, price=Decimal(price), quantity=Decimal(quantity))
    assert (refusal(intent, INSTRUMENT, quote) or "None").partition(":")[0] == str(name)


def test_blank_rows_and_a_blank_object_are_nothing() -> None:
    assert listed({"odno": "", "ft_ord_qty": "0"}, "odno") == []
    assert listed([dict(SHOWN), {"odno": " "}], "odno") == [SHOWN]
    assert UsPrice.model_validate({"last": ""}).last is None
    held = {"ovrs_pdno": "TSLA", "ovrs_cblc_qty": "744", "ord_psbl_qty": "744", "pchs_avg_pric": "5832.2148"}
    assert UsBalanceRow.model_validate(held).pchs_avg_pric == Decimal("5832.2148")


def test_the_time_of_a_book_is_read_in_either_zone() -> None:
    now = datetime(2026, 11, 18, 20, 46, 48, tzinfo=UTC)
    for shown in (("20261118", "154640"), ("20261119", "054640")):
        at = UsBookTime.model_validate({"dymd": shown[0], "dhms": shown[1]}).at(now)
        assert at == now - timedelta(seconds=8)
    assert UsBookTime.model_validate({"dymd": "", "dhms": ""}).at(now) is None


def test_the_differences_of_two_calendars_are_named_and_silence_is_no_agreement() -> None:
    first = date(2026, 11, 16)
    told = {first + timedelta(days=number): (first + timedelta(days=number)).weekday() < 5 for number in range(20)}
    assert differences(told, lambda day: day.weekday() < 5, first) == []
    (found,) = differences({**told, date(2026, 11, 19): False}, lambda day: day.weekday() < 5, first)
    assert str(found).startswith("2026-11-19: KIS says closed, our sessions say open")
    assert differences({**told, date(2026, 12, 2): False}, lambda day: day.weekday() < 5, first) == []
    with pytest.raises(NoData):
        differences({first: True}, lambda _: True, first)
