"""The shape of the order state machine: every order can end, an end is one, and no state is of two kinds."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.orders import HIGHEST, ID_LENGTH, RESTING, TERMINAL, TRANSITIONS, UNPROVEN, client_order_id
from trading.types import OrderState, Side

KINDS = {
    "planned": frozenset({OrderState.PLANNED}),
    "unproven": UNPROVEN,
    "resting": RESTING,
    "terminal": TERMINAL,
}

# from few values, so that two draws often differ in one of them alone, and with what could be taken for a separator
words = st.sampled_from(["", "1", "12", "2", "-", "a-1", '"', '","', "KRW-BTC", "krw-btc", "삼성", "kis", "kisus"])
numbers = st.sampled_from([0, 1, 2, 10, 11, 12, 110, 111, HIGHEST])
facts = st.tuples(words, words, words, st.sampled_from(Side), numbers, numbers)


def reachable(state: OrderState) -> frozenset[OrderState]:
    """Every state an order in `state` can come to stand in, itself among them."""
    seen: set[OrderState] = set()
    front = {state}
    while front:
        seen |= front
        front = {target for one in front for target in TRANSITIONS[one]} - seen
    return frozenset(seen)


def test_every_state_is_of_exactly_one_kind() -> None:
    assert frozenset().union(*KINDS.values()) == frozenset(OrderState)
    for one, other in combinations(KINDS.values(), 2):
        assert not one & other


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_state_has_no_way_out(state: OrderState) -> None:
    assert reachable(state) == {state}


@pytest.mark.parametrize("state", OrderState)
def test_every_order_can_come_to_its_end(state: OrderState) -> None:
    assert reachable(state) & TERMINAL


@pytest.mark.parametrize("state", OrderState)
def test_every_state_is_reached_from_a_plan(state: OrderState) -> None:
    assert state in reachable(OrderState.PLANNED)


@pytest.mark.parametrize("state", OrderState)
def test_no_order_comes_back_to_a_state_it_has_left(state: OrderState) -> None:
    further = TRANSITIONS[state] - {state}
    assert all(state not in reachable(target) for target in further)


def test_only_another_partial_fill_keeps_the_state() -> None:
    assert [state for state in OrderState if state in TRANSITIONS[state]] == [OrderState.PARTLY_FILLED]


def test_kinds_follow_each_other_in_one_direction() -> None:
    """From planned to unproven, from there to the book or to an end; what is proven is never unproven again."""
    assert TRANSITIONS[OrderState.PLANNED] <= UNPROVEN | TERMINAL
    for state in RESTING:
        assert TRANSITIONS[state] <= RESTING | TERMINAL


def test_whatever_rests_may_still_be_filled_or_cancelled() -> None:
    for state in RESTING:
        assert {OrderState.FILLED, OrderState.CANCELLED, OrderState.PARTLY_FILLED} <= TRANSITIONS[state]


def test_whatever_the_venue_can_say_of_an_order_settles_one_that_is_unproven() -> None:
    words_of_a_venue = RESTING | {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED}
    for state in UNPROVEN:
        assert words_of_a_venue <= TRANSITIONS[state]


@settings(deadline=None, max_examples=300)
@given(facts, facts)
def test_two_decisions_never_share_an_order_id(
    one: tuple[str, str, str, Side, int, int], other: tuple[str, str, str, Side, int, int]
) -> None:
    assert (client_order_id(*one) == client_order_id(*other)) == (one == other)


@settings(deadline=None)
@given(facts, st.integers(0, 5), words, numbers)
def test_any_one_fact_that_changes_makes_another_id(
    values: tuple[str, str, str, Side, int, int], place: int, word: str, number: int
) -> None:
    other_side = Side.SELL if values[3] is Side.BUY else Side.BUY
    new: tuple[object, ...] = (word, word, word, other_side, number, number)
    changed = (*values[:place], new[place], *values[place + 1 :])
    made = client_order_id(*changed)  # type: ignore[arg-type]
    assert (made == client_order_id(*values)) == (changed == values)


@settings(deadline=None)
@given(facts)
def test_an_id_has_36_characters_of_the_set_that_every_venue_takes(
    values: tuple[str, str, str, Side, int, int],
) -> None:
    assert ID_LENGTH == 36
    assert re.fullmatch(r"[A-Za-z0-9-]{36}", client_order_id(*values))


@settings(deadline=None)
@given(facts)
def test_an_id_says_to_people_which_side_leg_and_attempt_it_is(values: tuple[str, str, str, Side, int, int]) -> None:
    _, _, _, side, leg, attempt = values
    assert f"-{side.value[0]}{leg}-{attempt}-" in client_order_id(*values)
