"""What a deployment asks of a release: a halt that leaves a person's own as it is, and a schema that goes both ways."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from house import House

from storage import holding, trading_states
from storage.engine import open_engine
from storage.migrate import current
from storage.revisions import UnknownRevision, _undoes, move, revisions
from trading.state import State, TradingState, effective

ROOT = Path(__file__).resolve().parents[2]
ME, DEPLOYMENT = "cli:me", "deploy:20260101"
HOUR = timedelta(hours=1)


async def halted(house: House) -> TradingState:
    now = datetime.now(UTC)
    return effective(await trading_states.in_force(house.engine, now), "upbit", "KRW-BTC", now)


async def hold(house: House, by: str = DEPLOYMENT) -> bool:
    now = datetime.now(UTC)
    return await holding.hold(house.engine, "deploying", by=by, now=now, until=now + HOUR)


async def lift(house: House, by: str = DEPLOYMENT) -> TradingState | None:
    return await holding.lift(house.engine, "deployed", by=by, now=datetime.now(UTC))


async def settled(house: House) -> State:
    """The state once a millisecond has gone by on the database's clock."""
    while (found := await halted(house)).reason == "deployed":
        pass
    return found.state


async def test_a_hold_ends_without_looking_like_a_person_who_resumes(house: House) -> None:
    assert await hold(house)
    assert not await hold(house)
    assert (await halted(house)).state is State.HALTED
    state = await lift(house)
    assert state is not None
    assert state.state is State.ACTIVE
    assert await lift(house) is None
    assert await settled(house) is State.ACTIVE
    # the circuit breaker counts from there
    assert await trading_states.resumed_at(house.engine, "upbit") is None


@pytest.mark.parametrize("state", [State.REDUCING, State.HALTED])
@pytest.mark.parametrize("lasts", [timedelta(minutes=30), timedelta(hours=8), None])
async def test_what_a_person_has_halted_is_the_same_afterwards(
    house: House, state: State, lasts: timedelta | None
) -> None:
    until = None if lasts is None else datetime.now(UTC) + lasts
    await trading_states.write(house.engine, TradingState(state, "hands off", until), by=ME)
    before = await trading_states.written(house.engine, datetime.now(UTC))
    await hold(house)
    # an earlier deployment that was never lifted is none of a person's
    await hold(house, "deploy:another")
    await lift(house, "deploy:another")
    await lift(house)
    assert await trading_states.written(house.engine, datetime.now(UTC)) == before


async def test_who_resumes_during_a_deployment_has_the_last_word(house: House) -> None:
    await hold(house)
    await trading_states.write(house.engine, TradingState(State.REDUCING, "I look into it"), by=ME)
    assert await lift(house) is None
    assert (await halted(house)).reason == "I look into it"


@pytest.mark.parametrize("by", [ME, "circuit-breaker"])
async def test_what_lies_beneath_a_hold_that_nobody_lifts_is_in_force_again(house: House, by: str) -> None:
    await trading_states.write(house.engine, TradingState(State.REDUCING, "hands off"), by=by)
    before = await trading_states.written(house.engine, datetime.now(UTC))
    await hold(house, "deploy:another")
    assert await hold(house) is True
    assert (await halted(house)).state is State.HALTED
    later = datetime.now(UTC) + 3 * HOUR
    assert await trading_states.written(house.engine, later) == before
    assert (
        effective(await trading_states.in_force(house.engine, later), "upbit", "KRW-BTC", later).reason == "hands off"
    )
    # neither is it forgotten by whoever resumes, nor loosened by the lift that comes too late
    assert await holding.lift(house.engine, "deployed", by=DEPLOYMENT, now=later) == before[0].state
    assert await trading_states.written(house.engine, later) == before
    active = TradingState(State.ACTIVE, "go on")
    assert await trading_states.take_back(house.engine, active, by=ME, now=later) == (True, [])
    assert await trading_states.in_force(house.engine, later) == []


@pytest.mark.parametrize("lasts", [timedelta(minutes=90), timedelta(hours=8)])
async def test_a_halt_that_outlasts_a_hold_is_in_force_until_its_own_end(house: House, lasts: timedelta) -> None:
    now = datetime.now(UTC)
    halt = TradingState(State.HALTED, "daily loss", now + lasts)
    await trading_states.write(house.engine, halt, by="circuit-breaker")
    await holding.hold(house.engine, "deploying", by=DEPLOYMENT, now=now, until=now + 2 * HOUR)
    assert [row.state for row in await trading_states.in_force(house.engine, now + HOUR)] == [State.HALTED]
    expected = [halt] if lasts > 2 * HOUR else []
    assert await trading_states.in_force(house.engine, now + 3 * HOUR) == expected


async def test_a_hold_that_has_ended_over_nothing_leaves_nothing(house: House) -> None:
    await hold(house)
    later = datetime.now(UTC) + 3 * HOUR
    assert await trading_states.in_force(house.engine, later) == []
    lifted = await holding.lift(house.engine, "deployed", by=DEPLOYMENT, now=later)
    assert lifted is not None
    assert lifted.state is State.ACTIVE
    assert await settled(house) is State.ACTIVE


async def test_who_pauses_during_a_deployment_finds_it_paused_afterwards(house: House) -> None:
    await hold(house)
    now = datetime.now(UTC)
    pause = TradingState(State.REDUCING, "I look into it")
    assert await trading_states.tighten(house.engine, pause, by=ME, now=now) is None
    assert await trading_states.tighten(house.engine, pause, by=ME, now=now) == pause
    # nothing is ordered before the deployment has ended
    assert (await halted(house)).state is State.HALTED
    assert await lift(house) == pause
    assert (await halted(house)) == pause


async def test_who_halts_for_a_moment_during_a_deployment_ends_no_hold(house: House) -> None:
    await hold(house)
    now = datetime.now(UTC)
    short = TradingState(State.HALTED, "hands off", now + HOUR / 4)
    await trading_states.write(house.engine, short, by=ME)
    later = now + HOUR / 2
    [held] = await trading_states.written(house.engine, later)
    assert (held.state.state, held.by) == (State.HALTED, DEPLOYMENT)
    assert not await hold(house)
    assert await lift(house) == short
    assert await trading_states.in_force(house.engine, datetime.now(UTC)) == [short]
    assert await trading_states.in_force(house.engine, later) == []


async def test_who_reduces_for_a_moment_during_a_deployment_has_ended_its_hold(house: House) -> None:
    await hold(house)
    now = datetime.now(UTC)
    await trading_states.write(house.engine, TradingState(State.REDUCING, "I look into it", now + HOUR / 4), by=ME)
    assert await lift(house) is None
    assert await trading_states.in_force(house.engine, now + HOUR / 2) == []


async def test_all_that_lies_beneath_a_hold_is_the_same_afterwards(house: House) -> None:
    now = datetime.now(UTC)
    reduced = TradingState(State.REDUCING, "losses", now + 5 * HOUR)
    halted = TradingState(State.HALTED, "hands off", now + HOUR / 4)
    await trading_states.write(house.engine, reduced, by="circuit breaker")
    await trading_states.write(house.engine, halted, by=ME)
    before = await trading_states.written(house.engine, now)
    assert [row.state for row in before] == [halted, reduced]
    assert await hold(house)
    assert await lift(house) == halted
    assert await trading_states.written(house.engine, datetime.now(UTC)) == before
    assert await trading_states.in_force(house.engine, now + 2 * HOUR) == [reduced]


async def test_the_schema_goes_down_and_up_and_nowhere_else(database_url: str) -> None:
    known = revisions()
    assert known.known == tuple(sorted(known.known))
    assert known.one_way == ()
    newest, before = known.known[-1], known.known[-2]
    engine = open_engine(database_url)
    try:
        for at, to in ((newest, before), (before, newest), (newest, newest)):
            await move(database_url, at, to)
            assert await current(engine) == to
        with pytest.raises(UnknownRevision, match="not 9999"):
            await move(database_url, newest, "9999")
        with pytest.raises(UnknownRevision, match="not 9999"):
            await move(database_url, "9999", newest)
    finally:
        await engine.dispose()


def test_a_migration_that_undoes_nothing_is_seen() -> None:
    empty = 'def downgrade() -> None:\n    """Nothing."""\n    {}\n'
    assert not _undoes(empty.format("pass"))
    assert not _undoes(empty.format("raise NotImplementedError"))
    assert not _undoes("def upgrade() -> None: ...\n")
    assert _undoes(empty.format("op.drop_table('t')"))


def test_the_facts_are_one_line_of_json_and_a_wrong_setting_is_named(tmp_path: Path) -> None:
    def facts(**settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli", "release", "facts"]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TELEGRAM_ENABLED": "false", **settings}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = facts()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1])["known"] == list(revisions().known)
    done = facts(UPBIT_SWEEP_MINUTES="soon")
    assert done.returncode == 1
    assert "UPBIT_SWEEP_MINUTES" in done.stderr
