"""Who may order when: the strictest row in force decides, and nothing loosens it but its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.state import ACTIVE, Arming, Scope, State, TradingState, allows, armed, effective, live_allowed, tightens
from trading.types import Side

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
STRICTNESS = [State.ACTIVE, State.REDUCING, State.HALTED]

rows = st.builds(
    lambda state, until, where: TradingState(state, "x", until, *where),
    st.sampled_from(State),
    st.one_of(st.none(), st.integers(-2, 2).map(lambda hours: NOW + hours * HOUR)),
    st.sampled_from([(None, None), ("upbit", None), ("upbit", "KRW-BTC"), ("kis", None), ("upbit", "KRW-ETH")]),
)


def strictness(states: list[TradingState]) -> int:
    return STRICTNESS.index(effective(states, "upbit", "KRW-BTC", NOW).state)


def test_without_a_row_trading_is_active() -> None:
    assert effective([], "upbit", "KRW-BTC", NOW) is ACTIVE


def test_the_strictest_row_decides_whatever_its_scope() -> None:
    states = [
        TradingState(State.ACTIVE, "resumed", None, "upbit", "KRW-BTC"),
        TradingState(State.HALTED, "operator", None),
        TradingState(State.REDUCING, "breaker", NOW + HOUR, "upbit"),
    ]
    assert effective(states, "upbit", "KRW-BTC", NOW).reason == "operator"
    assert [row.scope for row in states] == [Scope.SYMBOL, Scope.ALL, Scope.MARKET]


def test_a_row_ends_at_its_expiry() -> None:
    halted = TradingState(State.HALTED, "maintenance", NOW)
    assert effective([halted], "upbit", "KRW-BTC", NOW) is ACTIVE
    assert effective([halted], "upbit", "KRW-BTC", NOW - timedelta(microseconds=1)) is halted


def test_rows_of_other_markets_and_symbols_do_not_count() -> None:
    others = [TradingState(State.HALTED, "x", None, "kis"), TradingState(State.HALTED, "x", None, "upbit", "KRW-ETH")]
    assert effective(others, "upbit", "KRW-BTC", NOW) is ACTIVE


@given(st.lists(rows, max_size=6), rows)
def test_another_row_never_loosens_the_state(states: list[TradingState], another: TradingState) -> None:
    assert strictness([*states, another]) >= strictness(states)


@given(st.lists(rows, max_size=6).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_the_rows_does_not_matter(both: tuple[list[TradingState], list[TradingState]]) -> None:
    one, other = (effective(some, "upbit", "KRW-BTC", NOW) for some in both)
    assert one == other


@pytest.mark.parametrize(
    ("state", "increases", "reduces"),
    [(State.ACTIVE, True, True), (State.REDUCING, False, True), (State.HALTED, False, False)],
)
def test_reducing_lets_out_only_and_halted_nothing(state: State, increases: bool, reduces: bool) -> None:
    row = TradingState(state, "x")
    assert allows(row, Side.BUY, increases_exposure=True) is increases
    assert allows(row, Side.SELL, increases_exposure=False) is reduces
    assert allows(row, "cancel", increases_exposure=False)


def test_live_needs_the_mode_and_a_market_armed_now() -> None:
    arming = [Arming("upbit", NOW, NOW + HOUR)]
    assert live_allowed("live", arming, "upbit", NOW)
    assert not live_allowed("paper", arming, "upbit", NOW)
    assert not live_allowed("live", arming, "kis", NOW)
    assert not live_allowed("live", [], "upbit", NOW)
    assert not armed(arming, "upbit", NOW + HOUR)
    assert not armed(arming, "upbit", NOW - HOUR)


def test_an_automatic_row_never_replaces_a_stricter_one() -> None:
    breaker = TradingState(State.REDUCING, "breaker", NOW + HOUR, "upbit")
    assert tightens(breaker, [], NOW)
    assert not tightens(breaker, [breaker], NOW)
    assert not tightens(breaker, [TradingState(State.HALTED, "operator", None, "upbit")], NOW)
    assert tightens(breaker, [TradingState(State.HALTED, "over", NOW, "upbit")], NOW)
    assert tightens(breaker, [TradingState(State.HALTED, "wider", None)], NOW)
    assert not tightens(TradingState(State.ACTIVE, "x"), [], NOW)


def test_a_stricter_row_that_ends_earlier_stands_for_no_longer_one() -> None:
    breaker = TradingState(State.REDUCING, "breaker", NOW + 2 * HOUR, "upbit")
    short = TradingState(State.HALTED, "operator", NOW + HOUR, "upbit")
    assert tightens(breaker, [short], NOW)
    assert not tightens(breaker, [short, breaker], NOW)
    assert not tightens(breaker, [short, TradingState(State.HALTED, "x", NOW + 2 * HOUR, "upbit")], NOW)


def test_a_row_without_market_or_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names no market"):
        TradingState(State.HALTED, "x", None, None, "KRW-BTC")
    with pytest.raises(ValueError, match="time zone"):
        TradingState(State.HALTED, "x", NOW.replace(tzinfo=None))
