"""The gate before an order: every limit has a name, an order in the row, and figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.errors import BadQuote
from trading.risk import LIMITS, Approval, Purpose, Situation, check
from trading.state import ACTIVE, State, TradingState
from trading.strategy import SymbolStrategy
from trading.types import Analysis, Decision, Instrument, Position, PriceRange, PriceRanges, Quote, Refusal, Side

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
COIN = Instrument("upbit", "KRW-X", "X", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005"))
NONE = Position(Decimal(0), Decimal(0))
POINT = PriceRange(Decimal(1), Decimal(1))


def analysis_of(decision: Decision, *, confidence: int = 80, at: datetime = NOW) -> Analysis:
    return Analysis(
        decision, confidence, ("x",), PriceRanges(POINT, POINT, POINT, POINT), "rules-1", Decimal(10_000), at
    )


def quote_of(*, price: Any = 10_000, at: datetime = NOW) -> Quote:
    value = Decimal(price)
    return Quote("KRW-X", value, value, value, Decimal(1), at)


def situation(purpose: Purpose = Purpose.BUY, strategy: dict[str, Any] | None = None, **changes: Any) -> Situation:
    decision = Decision.BUY if purpose is Purpose.BUY else Decision.SELL
    given_: dict[str, Any] = {
        "purpose": purpose,
        "now": NOW,
        "instrument": COIN,
        "strategy": SymbolStrategy(**(strategy or {})),
        "state": ACTIVE,
        "analysis": None if purpose is Purpose.EXIT else analysis_of(decision),
        "quote": quote_of(),
        "market_open": True,
        "position": NONE if purpose is Purpose.BUY else Position(Decimal(10), Decimal(11_000)),
        "cash": Decimal(1_000_000),
        "equity": Decimal(1_000_000),
    }
    return Situation(**(given_ | changes))


def refused(case: Situation, wanted: Any = 100_000) -> Refusal:
    result = check(case, Decimal(wanted))
    assert isinstance(result, Refusal), result
    assert result.reason
    return result


def approved(case: Situation, wanted: Any = 100_000) -> Approval:
    result = check(case, Decimal(wanted))
    assert isinstance(result, Approval), result
    return result


def test_an_order_inside_all_limits_passes_whole() -> None:
    assert approved(situation()) == Approval(Decimal(100_000), ())


def test_the_limits_stand_in_their_documented_order() -> None:
    assert [limit.__name__ for limit, _ in LIMITS] == [
        "enabled",
        "trading_state",
        "clock",
        "decision",
        "confidence",
        "analysis_age",
        "quote_age",
        "market_open",
        "min_interval",
        "trades_per_day",
        "position_cap",
        "cash_reserve",
        "cash",
        "minimum_order",
        "unproven_order",
    ]


OLD = NOW - timedelta(hours=1)
AHEAD = NOW + timedelta(hours=1)
HALTED = TradingState(State.HALTED, "operator", AHEAD)
REDUCING = TradingState(State.REDUCING, "breaker", AHEAD)


@pytest.mark.parametrize(
    ("rule", "strategy", "changes"),
    [
        ("disabled", {"enabled": False}, {}),
        ("trading_state", {}, {"state": HALTED}),
        ("trading_state", {}, {"state": REDUCING}),
        ("clock", {}, {"clock_offset": timedelta(seconds=2, microseconds=1)}),
        ("clock", {}, {"clock_offset": timedelta(seconds=-3.1)}),
        ("no_analysis", {}, {"analysis": None}),
        ("decision", {}, {"analysis": analysis_of(Decision.HOLD)}),
        ("decision", {}, {"analysis": analysis_of(Decision.SELL)}),
        ("low_confidence", {}, {"analysis": analysis_of(Decision.BUY, confidence=54)}),
        ("stale_analysis", {}, {"analysis": analysis_of(Decision.BUY, at=OLD)}),
        ("stale_analysis", {}, {"analysis": analysis_of(Decision.BUY, at=AHEAD)}),
        ("stale_quote", {}, {"quote": quote_of(at=OLD)}),
        ("stale_quote", {}, {"quote": quote_of(at=AHEAD)}),
        ("market_closed", {}, {"market_open": False}),
        ("min_interval", {}, {"last_trade_at": NOW - timedelta(hours=4) + timedelta(seconds=1)}),
        ("min_interval", {}, {"last_trade_at": AHEAD}),
        ("trades_per_day", {}, {"trades_today": 5}),
        ("position_cap", {}, {"position": Position(Decimal(30), Decimal(1))}),
        ("position_cap", {}, {"open_buys": Decimal(300_000)}),
        ("position_cap", {"max_position_value": Decimal(1)}, {"position": Position(Decimal(1), Decimal(1))}),
        ("cash_reserve", {"cash_reserve": Decimal(999_000)}, {}),
        ("insufficient_cash", {}, {"cash": Decimal(5_000)}),
        ("insufficient_cash", {"cash_reserve": Decimal(999_000)}, {"cash": Decimal(0)}),
        ("below_minimum", {}, {"equity": Decimal(10_000)}),
        ("unproven_order", {}, {"unproven": frozenset({Side.BUY})}),
        ("unproven_order", {}, {"unproven": frozenset({Side.SELL})}),
    ],
)
def test_each_limit_refuses_a_buy_by_its_name(rule: str, strategy: dict[str, Any], changes: dict[str, Any]) -> None:
    assert refused(situation(strategy=strategy, **changes)).rule == rule


def test_the_first_limit_in_the_row_gives_the_reason() -> None:
    everything = {"state": HALTED, "market_open": False, "cash": Decimal(0), "trades_today": 9}
    assert refused(situation(**everything)).rule == "trading_state"
    assert refused(situation(**(everything | {"state": ACTIVE}))).rule == "market_closed"


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("offset", [None, timedelta(0), timedelta(seconds=2), timedelta(seconds=-2)])
def test_a_clock_that_is_right_enough_or_not_proven_wrong_stops_nothing(
    purpose: Purpose, offset: timedelta | None
) -> None:
    assert approved(situation(purpose, clock_offset=offset)).value == 100_000


@pytest.mark.parametrize("purpose", [Purpose.BUY, Purpose.SELL])
def test_a_clock_that_is_off_is_refused_with_the_figure_and_the_cure(purpose: Purpose) -> None:
    behind = refused(situation(purpose, clock_offset=timedelta(seconds=3.01)))
    assert behind == Refusal(
        "clock",
        "this machine's clock is 3.1 s behind the venues'; correct it (timedatectl set-ntp true)",
        Decimal("3.01"),
        Decimal(2),
    )
    ahead = refused(situation(purpose, clock_offset=timedelta(minutes=-20)))
    assert (ahead.have, "is 1200.0 s ahead of the venues'" in ahead.reason) == (Decimal(1200), True)


def test_a_clock_that_is_off_keeps_no_exit_from_leaving() -> None:
    assert approved(situation(Purpose.EXIT, clock_offset=timedelta(hours=-1)))


def test_too_little_cash_is_its_own_outcome_with_balance_and_need() -> None:
    refusal = refused(situation(cash=Decimal(3_000)), 300_000)
    assert (refusal.rule, refusal.have, refusal.need) == ("insufficient_cash", 3_000, Decimal("300150.0000"))
    assert "the balance is 3000 KRW" in refusal.reason


def test_a_clamp_says_what_it_cut_and_why() -> None:
    approval = approved(
        situation(strategy={"cash_reserve": Decimal(50_000)}, equity=Decimal(1_000_000), cash=Decimal(200_000)), 500_000
    )
    assert [(clamp.rule, clamp.before) for clamp in approval.clamps] == [
        ("position_cap", 500_000),
        ("cash_reserve", 300_000),
    ]
    assert approval.value * Decimal("1.0005") <= 150_000
    assert approval.value > 149_900


def test_a_refusal_keeps_the_cuts_before_it() -> None:
    refusal = refused(situation(equity=Decimal(10_000)))
    assert (refusal.rule, [clamp.rule for clamp in refusal.clamps]) == ("below_minimum", ["position_cap"])


def test_selling_is_not_held_back_by_limits_on_buying() -> None:
    tight = {"trades_today": 99, "last_trade_at": NOW, "cash": Decimal(0), "equity": Decimal(1), "state": REDUCING}
    assert approved(situation(Purpose.SELL, **tight)).value == 100_000
    assert approved(situation(Purpose.SELL, unproven=frozenset({Side.BUY})))


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("trading_state", {"state": HALTED}),
        ("stale_quote", {"quote": quote_of(at=OLD)}),
        ("market_closed", {"market_open": False}),
        ("unproven_order", {"unproven": frozenset({Side.SELL})}),
    ],
)
def test_an_exit_is_stopped_only_by_what_makes_an_order_senseless(rule: str, changes: dict[str, Any]) -> None:
    assert refused(situation(Purpose.EXIT, **changes)).rule == rule


def test_an_exit_needs_no_analysis_and_no_room() -> None:
    tight = {"trades_today": 99, "last_trade_at": NOW, "cash": Decimal(0), "equity": Decimal(1), "state": REDUCING}
    assert approved(situation(Purpose.EXIT, **tight)).value == 100_000
    assert refused(situation(Purpose.EXIT), 4_999).rule == "below_minimum"


@pytest.mark.parametrize("wanted", ["0", "-1", "NaN"])
def test_an_order_worth_nothing_is_a_fault_of_the_caller(wanted: str) -> None:
    with pytest.raises(ValueError, match="is none"):
        check(situation(), Decimal(wanted))


def test_a_quote_that_is_none_is_refused() -> None:
    with pytest.raises(BadQuote):
        check(situation(quote=quote_of(price="NaN")), Decimal(1))


money = st.decimals(min_value=0, max_value=10**7, places=2)


@given(
    money.filter(bool),
    money,
    money,
    money,
    st.decimals(min_value=0, max_value=1000, places=8),
    money,
    st.one_of(st.none(), money.filter(bool)),
)
def test_no_buy_exceeds_the_caps_the_reserve_or_the_cash(
    wanted: Decimal,
    cash: Decimal,
    equity: Decimal,
    reserve: Decimal,
    quantity: Decimal,
    open_buys: Decimal,
    cap: Decimal | None,
) -> None:
    case = situation(
        strategy={"cash_reserve": reserve, "max_position_value": cap},
        cash=cash,
        equity=equity,
        position=Position(quantity, Decimal(10_000)),
        open_buys=open_buys,
    )
    result = check(case, wanted)
    if isinstance(result, Refusal):
        assert result.rule in {"position_cap", "cash_reserve", "insufficient_cash", "below_minimum"}
        return
    exposure = quantity * 10_000 + open_buys + result.value
    assert exposure <= equity * Decimal("0.30")
    assert cap is None or exposure <= cap
    assert result.value * (1 + COIN.fee_rate) <= cash - reserve
    assert 5_000 <= result.value <= wanted
    assert (result.value == wanted) == (not result.clamps)
    # what passed passes again, unchanged
    assert check(case, result.value) == replace(result, clamps=())
