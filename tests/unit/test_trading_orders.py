"""Order ids and states: the same decision has the same id, and a state is never left the wrong way."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.errors import IllegalTransition
from trading.orders import TERMINAL, TRANSITIONS, UNPROVEN, check_transition, client_order_id
from trading.types import OrderState, Side

numbers = st.integers(0, 999)
facts = st.tuples(
    st.text(max_size=60), st.text(max_size=20), st.text(max_size=20), st.sampled_from(Side), numbers, numbers
)


def test_an_id_is_the_same_in_every_process_and_release() -> None:
    run_id = "0192f3a4-6b7c-7d8e-9f00-112233445566"
    assert client_order_id(run_id, "upbit", "KRW-BTC", Side.BUY, 0, 1) == "upbit-b0-1-fc7297434f2b292cd28665b80"


@settings(deadline=None)
@given(facts)
def test_any_id_is_36_characters_every_venue_takes(values: tuple[str, str, str, Side, int, int]) -> None:
    made = client_order_id(*values)
    assert re.fullmatch(r"[A-Za-z0-9-]{36}", made)
    assert made == client_order_id(*values)
    digest = made.rsplit("-", 1)[1]
    assert len(digest) >= 20


@settings(deadline=None)
@given(facts, facts)
def test_other_facts_make_another_id(
    one: tuple[str, str, str, Side, int, int], other: tuple[str, str, str, Side, int, int]
) -> None:
    assert (client_order_id(*one) == client_order_id(*other)) == (one == other)


def test_where_one_field_ends_makes_a_difference() -> None:
    assert client_order_id("run1", "2", "x", Side.BUY, 0, 0) != client_order_id("run", "12", "x", Side.BUY, 0, 0)


@pytest.mark.parametrize(("leg", "attempt"), [(-1, 0), (1000, 0), (0, -1), (0, 1000)])
def test_an_id_has_no_room_for_more_legs_or_attempts(leg: int, attempt: int) -> None:
    with pytest.raises(ValueError, match="outside 0 to 999"):
        client_order_id("run", "upbit", "KRW-BTC", Side.SELL, leg, attempt)


def test_the_table_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(OrderState)
    assert {
        OrderState.REJECTED,
        OrderState.THROTTLED,
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.NOT_CREATED,
    } == TERMINAL


@settings(deadline=None)
@given(st.sampled_from(OrderState), st.sampled_from(OrderState))
def test_a_transition_passes_exactly_when_the_table_has_it(old: OrderState, new: OrderState) -> None:
    if new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(IllegalTransition, match=f"from {old} to {new}"):
            check_transition(old, new)


def test_an_order_is_sent_at_most_once() -> None:
    """Only a planned order is sent: no way leads back to sending."""
    assert [state for state in OrderState if OrderState.SENDING in TRANSITIONS[state]] == [OrderState.PLANNED]
    assert all(OrderState.PLANNED not in targets for targets in TRANSITIONS.values())


def test_an_unproven_order_is_settled_by_evidence_only() -> None:
    assert {OrderState.SENDING, OrderState.UNKNOWN} == UNPROVEN
    # "not created" has to be found out by asking, so a send cannot end there by itself
    assert [state for state in OrderState if OrderState.NOT_CREATED in TRANSITIONS[state]] == [OrderState.UNKNOWN]


@settings(deadline=None)
@given(st.lists(st.sampled_from(OrderState), max_size=12))
def test_no_walk_leaves_a_terminal_state(walk: list[OrderState]) -> None:
    state = OrderState.PLANNED
    for step in walk:
        try:
            check_transition(state, step)
        except IllegalTransition:
            continue
        assert state not in TERMINAL
        state = step
