"""Of many rows of one scope: what holds at a time is the same however often it was written, and never looser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from storage.trading_states import Written, above, holding_now, needed
from trading.state import State, TradingState

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIMES = [NOW + hours * HOUR for hours in range(6)]
STRICTNESS = [State.ACTIVE, State.REDUCING, State.HALTED]

states = st.builds(
    lambda state, hours: TradingState(state, "x", None if hours is None else NOW + hours * HOUR, "upbit"),
    st.sampled_from([State.REDUCING, State.HALTED]),
    st.one_of(st.none(), st.integers(1, 5)),
)
histories = st.lists(states, max_size=7).map(lambda some: [Written(state, "me", NOW) for state in some])


def standing(rows: list[Written], at: datetime) -> list[Written]:
    return [row for row in rows if row.state.until is None or at < row.state.until]


def strictness(rows: list[Written], at: datetime) -> int:
    held = holding_now(standing(rows, at))
    return STRICTNESS.index(held[0].state.state) if held else 0


@given(histories, states)
def test_a_row_that_is_not_milder_loosens_nothing_at_any_time(rows: list[Written], new: TradingState) -> None:
    # beneath what is stricter, which is written again
    stricter = [*rows, Written(new, "breaker", NOW), *above(new, rows)]
    for at in TIMES:
        own = STRICTNESS.index(new.state) if standing([Written(new, "breaker", NOW)], at) else 0
        assert strictness(stricter, at) >= max(strictness(rows, at), own)


@given(histories)
def test_what_is_written_again_says_the_same_at_any_time(rows: list[Written]) -> None:
    for at in TIMES:
        assert strictness(needed(rows), at) == strictness([*rows, *needed(rows)], at) == strictness(rows, at)


@given(histories)
def test_the_strictest_comes_first_and_then_only_what_lasts_longer(rows: list[Written]) -> None:
    held = [row.state for row in holding_now(rows)]
    assert [row.state for row in held] in ([], [State.REDUCING], [State.HALTED], [State.HALTED, State.REDUCING])
    assert not any(one.outweighs(other) for one in held for other in held if one is not other)
    assert bool(held) is bool(rows)


@given(histories)
def test_the_newest_word_of_a_person_holds_while_it_lasts(rows: list[Written]) -> None:
    for at in TIMES:
        if rows and standing(rows[-1:], at):
            assert strictness(rows, at) == STRICTNESS.index(rows[-1].state.state)
