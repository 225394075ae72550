"""A shorter halt ends no longer one, and who loosens is a person who says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from house import House
from sqlalchemy import text

from storage import trading_states
from trading.state import State, TradingState, effective

BTC = "KRW-BTC"
HOUR = timedelta(hours=1)
ME = "cli:me"
LONGER = {
    "a circuit breaker until midnight": (State.REDUCING, 9 * HOUR, "upbit", None, "circuit breaker"),
    "a flatten until it is resumed": (State.REDUCING, None, "upbit", None, "telegram:42 (kim)"),
    "a flatten of all markets": (State.REDUCING, None, None, None, "telegram:42 (kim)"),
    "an order that could be two": (State.HALTED, None, "upbit", BTC, "resolver"),
}


def row(state: State, lasts: timedelta | None, now: datetime, of: TradingState | None = None) -> TradingState:
    """A state of all of upbit, or of the scope of another one."""
    market, symbol = ("upbit", None) if of is None else (of.market, of.symbol)
    return TradingState(state, f"{state} for {lasts}", None if lasts is None else now + lasts, market, symbol)


async def state_of(house: House, at: datetime) -> State:
    return effective(await trading_states.in_force(house.engine, at), "upbit", BTC, at).state


@pytest.mark.parametrize("name", LONGER)
@pytest.mark.parametrize("by_word", [State.HALTED, State.REDUCING])
async def test_what_lasts_longer_is_in_force_after_a_shorter_halt(house: House, name: str, by_word: State) -> None:
    now = datetime.now(UTC)
    state, lasts, market, symbol, by = LONGER[name]
    longer = TradingState(state, name, None if lasts is None else now + lasts, market, symbol)
    assert await trading_states.tighten(house.engine, longer, by=by, now=now) is None
    await trading_states.write(house.engine, row(by_word, HOUR, now, longer), by=ME)
    assert await state_of(house, now + HOUR / 2) is by_word
    assert await trading_states.in_force(house.engine, now + 2 * HOUR) == [longer]
    # and nobody is told that it is new
    assert await trading_states.tighten(house.engine, longer, by=by, now=now + 2 * HOUR) == longer
    active = TradingState(State.ACTIVE, "I have looked", None, market, symbol)
    assert await trading_states.take_back(house.engine, active, by=ME, now=now) == (True, [])
    assert await state_of(house, now) is State.ACTIVE
    assert await trading_states.in_force(house.engine, now + 2 * HOUR) == []


async def test_a_halt_that_ends_earlier_stands_for_no_breaker(house: House) -> None:
    now = datetime.now(UTC)
    halt, breaker = row(State.HALTED, HOUR, now), row(State.REDUCING, 9 * HOUR, now)
    await trading_states.write(house.engine, halt, by=ME)
    [before] = await trading_states.written(house.engine, now)
    assert await trading_states.tighten(house.engine, breaker, by="circuit breaker", now=now) is None
    assert await trading_states.tighten(house.engine, breaker, by="circuit breaker", now=now) == breaker
    # the halt is as it was, and the strictest comes first
    held, reduced = await trading_states.written(house.engine, now)
    assert (held, reduced.state, reduced.by) == (before, breaker, "circuit breaker")
    assert await trading_states.in_force(house.engine, now + 2 * HOUR) == [breaker]


async def test_who_lets_something_through_for_an_hour_ends_no_halt(house: House) -> None:
    now = datetime.now(UTC)
    await trading_states.write(house.engine, row(State.HALTED, None, now), by=ME)
    await trading_states.write(house.engine, row(State.REDUCING, HOUR, now), by=ME)
    assert await state_of(house, now) is State.REDUCING
    # nor does a breaker that trips in between, and it is written once
    breaker = row(State.REDUCING, 9 * HOUR, now)
    assert await trading_states.tighten(house.engine, breaker, by="circuit breaker", now=now) is None
    assert await trading_states.tighten(house.engine, breaker, by="circuit breaker", now=now) == breaker
    assert await state_of(house, now) is State.REDUCING
    assert await state_of(house, now + 2 * HOUR) is State.HALTED
    assert await state_of(house, now + 20 * HOUR) is State.HALTED
    # a person says so without an end
    await trading_states.write(house.engine, row(State.REDUCING, None, now), by=ME)
    assert await state_of(house, now + 20 * HOUR) is State.REDUCING
    # no word but a person's resuming starts the periods of the breaker anew
    assert await trading_states.resumed_at(house.engine, "upbit") is None


async def test_who_flattens_is_held_back_by_no_halt_that_comes_back(house: House) -> None:
    now = datetime.now(UTC)
    flatten = row(State.REDUCING, None, now)
    put = trading_states.put
    assert await put(house.engine, flatten, by=ME, now=now)
    assert not await put(house.engine, flatten, by=ME, now=now)
    await trading_states.write(house.engine, row(State.HALTED, 2 * HOUR, now), by=ME)
    await trading_states.write(house.engine, row(State.REDUCING, HOUR, now), by=ME)
    assert await state_of(house, now + HOUR) is State.HALTED
    assert await put(house.engine, flatten, by=ME, now=now)
    assert not await put(house.engine, flatten, by=ME, now=now)
    assert await state_of(house, now + HOUR) is State.REDUCING


async def test_a_scope_is_shown_once_with_its_newest_reason(house: House) -> None:
    now = datetime.now(UTC)
    for hours in (3, 1, 2, 3):
        for state in (State.REDUCING, State.HALTED):
            await trading_states.write(house.engine, row(state, hours * HOUR, now), by=ME)
    newest = TradingState(State.HALTED, "the newest", now + 3 * HOUR, "upbit")
    await trading_states.write(house.engine, newest, by=ME)
    assert await trading_states.in_force(house.engine, now) == [newest]
    # another scope is its own
    other = TradingState(State.HALTED, "also", None, "upbit", BTC)
    await trading_states.write(house.engine, other, by=ME)
    assert await trading_states.in_force(house.engine, now) == [newest, other]


async def test_nothing_that_was_written_again_grows_without_end(house: House) -> None:
    now = datetime.now(UTC)
    await trading_states.write(house.engine, row(State.HALTED, HOUR, now), by=ME)
    for hours in range(2, 12):
        longer = row(State.REDUCING, hours * HOUR, now)
        assert await trading_states.tighten(house.engine, longer, by="circuit breaker", now=now) is None
    async with house.engine.connect() as connection:
        # one for itself and one for the halt above it
        assert await connection.scalar(text("SELECT count(*) FROM trading_states")) == 1 + 10 * 2
