"""An account that lost too much only reduces until its day is over in Korea, told and counted once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from house import House, settings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from notifications.alert import Claim, read_payload
from notifications.ledger import Idle, Ledger
from notifications.message import Chat
from storage import portfolio, runs, trading_states
from tasks.losses import BY, check_losses
from telemetry import instruments
from trading.periods import KST, kst_day, starts
from trading.state import State, TradingState, allows, effective
from trading.types import Side
from workers.runtime import Runtime

# a Wednesday, noon in Korea, years ahead: the database takes no row that has expired by its own clock
NOON = datetime(2043, 11, 18, 12, 0, tzinfo=KST)
MIDNIGHT = datetime(2043, 11, 19, 0, 0, tzinfo=KST)
MONDAY = datetime(2043, 11, 23, 0, 0, tzinfo=KST)
HOUR = timedelta(hours=1)
BTC = "KRW-BTC"


class Counted:
    """The counter of the breaker, read back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reader = InMemoryMetricReader()
        meter = MeterProvider([self._reader]).get_meter("test")
        monkeypatch.setattr(instruments, "risk_circuit_breaker", meter.create_counter("breaker"))

    @property
    def times(self) -> dict[str, int]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        points: list[Any] = list(metric.data.data_points)
        return {point.attributes["scope"]: point.value for point in points}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def worth(house: House, at: datetime, total: int, *, market: str = "upbit") -> UUID:
    """The account was worth so much at the end of a run."""
    run = await runs.open_run(house.engine, market=market, slot=at, task_id="t", symbols=(BTC,))
    await portfolio.snapshot(
        house.engine,
        run_id=run.id,
        market=market,
        currency="KRW",
        cash=Decimal(total) / 2,
        positions_value=Decimal(total) / 2,
        at=at,
    )
    return run.id


async def check(house: House, now: datetime, market: str = "upbit") -> TradingState | None:
    return await check_losses(cast(Runtime, house), market, now)


async def state_of(house: House, now: datetime, market: str = "upbit") -> State:
    return effective(await trading_states.in_force(house.engine, now), market, BTC, now).state


async def told(house: House) -> list[str]:
    """The texts of all messages that wait, each once however often it was told."""
    ledger, texts = Ledger(house.redis), []
    while isinstance(claim := await ledger.claim(list(Chat)), Claim):
        texts.append(read_payload(claim.payload).message.text)
    assert isinstance(claim, Idle)
    return texts


async def lost_ten_percent(house: House) -> None:
    await worth(house, NOON - 24 * HOUR, 1_000_000)
    await worth(house, NOON - HOUR, 900_000)


async def test_a_small_loss_changes_nothing(house: House, counted: Counted) -> None:
    await worth(house, NOON - 24 * HOUR, 1_000_000)
    await worth(house, NOON - HOUR, 900_001)
    assert await check(house, NOON) is None
    assert await state_of(house, NOON) is State.ACTIVE
    assert (await told(house), counted.times) == ([], {})


async def test_an_account_without_a_history_has_lost_nothing(house: House) -> None:
    assert await check(house, NOON) is None
    await worth(house, NOON - HOUR, 1_000_000)
    assert await check(house, NOON) is None


async def test_ten_percent_in_a_day_reduce_the_market_until_midnight_in_korea(house: House) -> None:
    await lost_ten_percent(house)
    row = await check(house, NOON)
    assert row is not None
    assert (row.state, row.market, row.symbol, row.until) == (State.REDUCING, "upbit", None, MIDNIGHT)
    assert "daily loss 10.00%" in row.reason
    for now in (NOON, MIDNIGHT - timedelta(seconds=1)):
        in_force = effective(await trading_states.in_force(house.engine, now), "upbit", BTC, now)
        assert not allows(in_force, Side.BUY, increases_exposure=True)
        assert allows(in_force, Side.SELL, increases_exposure=False)
    assert await state_of(house, MIDNIGHT) is State.ACTIVE
    # it is one market's account
    assert await state_of(house, NOON, "kis") is State.ACTIVE
    assert await check(house, NOON, "kis") is None


async def test_it_is_told_and_counted_once_however_often_it_is_seen(house: House, counted: Counted) -> None:
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    for minutes in (1, 15, 600):
        assert await check(house, NOON + timedelta(minutes=minutes)) is None
    # nor does losing more, or a recovery
    await worth(house, NOON + HOUR, 880_000)
    assert await check(house, NOON + HOUR) is None
    await worth(house, NOON + 2 * HOUR, 1_100_000)
    assert await check(house, NOON + 2 * HOUR) is None
    assert await state_of(house, NOON + 2 * HOUR) is State.REDUCING
    (text,) = await told(house)
    assert "10.00%" in text
    assert counted.times == {"upbit": 1}


async def test_a_restart_changes_nothing(house: House, counted: Counted) -> None:
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    # another process with nothing in memory, and a Redis that has forgotten everything
    await house.redis.flushdb()
    again = House(house.engine, house.redis, house.venue, house.settings)
    assert await check(again, NOON + HOUR) is None
    assert await state_of(again, NOON + HOUR) is State.REDUCING
    assert (await told(again), counted.times) == ([], {"upbit": 1})


async def test_a_restart_before_the_check_misses_nothing(house: House) -> None:
    """The loss is in the snapshots: whoever looks next finds it."""
    await lost_ten_percent(house)
    await worth(house, NOON, 1_000_000)
    row = await check(house, NOON + HOUR)
    assert row is not None
    assert row.until == MIDNIGHT


async def test_the_next_day_begins_with_what_is_left(house: House, counted: Counted) -> None:
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    await worth(house, MIDNIGHT + HOUR, 895_000)
    assert await check(house, MIDNIGHT + HOUR) is None
    # in two days the week's limit is reached
    await worth(house, MIDNIGHT + 3 * HOUR, 850_000)
    row = await check(house, MIDNIGHT + 3 * HOUR)
    assert row is not None
    assert row.until == MONDAY
    assert "weekly loss 15.00%" in row.reason
    assert counted.times == {"upbit": 2}
    assert len(await told(house)) == 2


async def test_an_operators_halt_is_not_loosened(house: House, counted: Counted) -> None:
    halt = TradingState(State.HALTED, "by hand", market="upbit")
    await trading_states.write(house.engine, halt, by="operator")
    await lost_ten_percent(house)
    assert await check(house, NOON) is None
    assert await trading_states.in_force(house.engine, NOON) == [halt]
    assert (await told(house), counted.times) == ([], {})


async def test_a_halt_of_everything_hides_no_breach_of_a_market(house: House) -> None:
    await trading_states.write(house.engine, TradingState(State.HALTED, "by hand"), by="operator")
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    # both hold, the stricter decides
    assert await state_of(house, NOON) is State.HALTED


async def test_an_operators_shorter_row_is_made_longer(house: House) -> None:
    short = TradingState(State.REDUCING, "by hand", NOON + HOUR, "upbit")
    await trading_states.write(house.engine, short, by="operator")
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    assert await state_of(house, NOON + 2 * HOUR) is State.REDUCING


async def test_an_operators_stricter_row_that_ends_earlier_hides_no_breach(house: House, counted: Counted) -> None:
    short = TradingState(State.HALTED, "by hand", NOON + HOUR, "upbit")
    await trading_states.write(house.engine, short, by="operator")
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    assert await check(house, NOON + timedelta(minutes=1)) is None
    assert (len(await told(house)), counted.times) == (1, {"upbit": 1})
    assert await state_of(house, NOON) is State.HALTED
    assert await state_of(house, NOON + 2 * HOUR) is State.REDUCING
    assert await state_of(house, MIDNIGHT) is State.ACTIVE


async def test_an_operators_short_halt_does_not_end_what_the_breaker_wrote(house: House, counted: Counted) -> None:
    await lost_ten_percent(house)
    assert await check(house, NOON) is not None
    short = TradingState(State.HALTED, "by hand", NOON + HOUR, "upbit")
    await trading_states.write(house.engine, short, by="operator")
    assert await state_of(house, NOON) is State.HALTED
    assert await state_of(house, NOON + 2 * HOUR) is State.REDUCING
    assert await check(house, NOON + 2 * HOUR) is None
    assert counted.times == {"upbit": 1}


async def test_resuming_starts_the_day_anew(house: House, counted: Counted) -> None:
    """Rows are dated by the database, so this one is about now."""
    now = datetime.now(UTC)
    await worth(house, starts(kst_day(now)) - HOUR, 1_000_000)
    await worth(house, now - timedelta(milliseconds=1), 890_000)
    assert await check(house, now) is not None
    await trading_states.write(house.engine, TradingState(State.ACTIVE, "by hand", market="upbit"), by="operator")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await check(house, later) is None
    assert await state_of(house, later) is State.ACTIVE
    # what is lost from there on counts
    await worth(house, later, 805_000)
    assert await check(house, later) is None
    await worth(house, later + timedelta(seconds=1), 801_000)
    assert await check(house, later + timedelta(seconds=1)) is not None
    assert counted.times == {"upbit": 2}


async def test_the_row_says_that_no_person_wrote_it(house: House) -> None:
    await lost_ten_percent(house)
    await check(house, NOON)
    # a person's resuming is what starts a period anew, so the breaker never looks like one
    assert await trading_states.resumed_at(house.engine, "upbit") is None
    assert BY == "circuit breaker"


async def test_other_limits_come_from_the_strategy_file(house: House, tmp_path: Path) -> None:
    house.settings = settings(tmp_path, {"account": {"daily_loss": "0.05", "weekly_loss": "0.5"}})
    await worth(house, NOON - 24 * HOUR, 1_000_000)
    await worth(house, NOON - HOUR, 950_000)
    row = await check(house, NOON)
    assert row is not None
    assert "daily loss 5.00%" in row.reason
