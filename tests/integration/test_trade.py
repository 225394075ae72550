"""From an analysis to at most one order, whatever happened to the task before."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast

import pytest
from house import BUY, INSTRUMENT, NOW, QUOTE, RANGE, STRATEGY, House, filled, settings
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from notifications.trades import TradeNotifier
from storage import analyses, armings, orders, runs, trading_states
from storage.journal import Origin
from tasks.settling import CancelFailed
from tasks.trade import Analysed, trade
from trading.state import State, TradingState
from trading.types import (
    Analysis,
    Fill,
    OrderIntent,
    OrderState,
    Placement,
    PriceRange,
    PriceRanges,
    Side,
    TimeInForce,
)
from workers.errors import BadCredentials, Throttled, TimedOut, Unproven, Unreachable, VenueError
from workers.ports import Absence
from workers.runtime import Runtime


@pytest.fixture
def silent() -> TradeNotifier:
    return TradeNotifier(Redis(), "ko", enabled=False)


async def stored(house: House, analysis: Analysis = BUY, hours: int = 0) -> Analysed:
    slot = NOW + timedelta(hours=hours)
    run = await runs.open_run(house.engine, market="upbit", slot=slot, task_id="t", symbols=["KRW-BTC"])
    row = await analyses.store(
        house.engine, run_id=run.id, market="upbit", symbol="KRW-BTC", analysis=analysis, indicators={}
    )
    return Analysed(run.id, row.id, INSTRUMENT, analysis, QUOTE)


async def go(house: House, notifier: TradeNotifier, analysed: Analysed) -> str:
    return await trade(cast(Runtime, house), notifier, analysed, NOW)


async def states(house: House, analysed: Analysed) -> list[str]:
    return [order.state for order in await orders.for_analysis(house.engine, analysed.analysis_id)]


async def test_a_buy_is_sent_once_and_a_repeated_task_sends_nothing(house: House, silent: TradeNotifier) -> None:
    analysed = await stored(house)
    assert await go(house, silent, analysed) == "order_filled"
    assert await go(house, silent, analysed) == "order_filled"
    assert len(house.venue.sent) == 1
    assert await states(house, analysed) == ["filled"]


async def test_an_order_whose_sender_died_is_adopted_when_the_venue_has_it(house: House, silent: TradeNotifier) -> None:
    analysed = await stored(house)
    house.venue.replies = [TimedOut("upbit: no answer")]
    with pytest.raises(TimedOut):
        await go(house, silent, analysed)
    assert await states(house, analysed) == ["unknown"]
    [order] = await orders.for_analysis(house.engine, analysed.analysis_id)
    house.venue.truth[order.intent.client_order_id] = filled(order.intent)
    assert await go(house, silent, analysed) == "order_filled"
    assert len(house.venue.sent) == 1
    assert await states(house, analysed) == ["filled"]


async def test_an_order_that_provably_never_was_is_made_anew_under_another_id(
    house: House, silent: TradeNotifier
) -> None:
    analysed = await stored(house)
    house.venue.replies = [TimedOut("upbit: no answer")]
    with pytest.raises(TimedOut):
        await go(house, silent, analysed)
    assert await go(house, silent, analysed) == "order_filled"
    assert len(set(house.venue.sent)) == 2
    assert await states(house, analysed) == ["not_created", "filled"]


async def test_while_the_venue_cannot_say_nothing_new_is_sent(house: House, silent: TradeNotifier) -> None:
    analysed = await stored(house)
    house.venue.replies = [TimedOut("upbit: no answer")]
    with pytest.raises(TimedOut):
        await go(house, silent, analysed)
    house.venue.truth[house.venue.sent[0]] = Unproven("upbit: looked once")
    assert await go(house, silent, analysed) == "blocked_by_unproven_order"
    assert await go(house, silent, analysed) == "blocked_by_unproven_order"
    assert len(house.venue.sent) == 1
    assert await states(house, analysed) == ["unknown"]


async def test_too_little_cash_is_an_outcome(house: House, silent: TradeNotifier) -> None:
    house.venue.cash = Decimal(1_000)
    analysed = await stored(house)
    assert await go(house, silent, analysed) == "insufficient_cash"
    assert house.venue.sent == []


async def test_a_rejection_is_written_down_and_not_repeated(house: House, silent: TradeNotifier) -> None:
    house.venue.replies = [Placement(None, OrderState.REJECTED, reason="under_min_total_bid")]
    analysed = await stored(house)
    assert await go(house, silent, analysed) == "order_rejected"
    assert await go(house, silent, analysed) == "order_rejected"
    assert len(house.venue.sent) == 1


async def test_two_deliveries_of_different_runs_make_two_orders(house: House, silent: TradeNotifier) -> None:
    await go(house, silent, await stored(house))
    assert await go(house, silent, await stored(house, hours=1)) == "order_filled"
    assert len(set(house.venue.sent)) == 2


async def test_a_second_buy_waits_for_the_interval(house: House, silent: TradeNotifier, tmp_path: Path) -> None:
    house.settings = settings(tmp_path, {"all": {"min_interval": "4h"}})
    await go(house, silent, await stored(house))
    before = len(house.venue.sent)
    assert await go(house, silent, await stored(house, hours=1)) == "min_interval"
    assert len(house.venue.sent) == before


async def test_a_ladder_rests_below_the_order_that_takes_the_ask(
    house: House, silent: TradeNotifier, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, {"all": {"levels": 3, "level_value": 100_000, "max_position_share": "1"}})
    house.venue.replies = [Placement(f"v{number}", OrderState.ACCEPTED) for number in range(3)]
    ranges = PriceRanges(
        PriceRange(Decimal(95_000), Decimal(101_000)), RANGE, PriceRange(Decimal(90_000), Decimal(92_000)), RANGE
    )
    assert await go(house, silent, await stored(house, replace(BUY, ranges=ranges))) == "order_accepted"
    assert [(intent.price, intent.time_in_force) for intent in house.venue.intents] == [
        (Decimal(100_000), TimeInForce.GTC),
        (Decimal(95_000), TimeInForce.GTC),
        (Decimal(92_000), TimeInForce.GTC),
    ]
    assert len(await orders.resting(house.engine, "upbit", "KRW-BTC")) == 3


async def test_a_new_ladder_takes_the_place_of_the_one_that_rests(house: House, silent: TradeNotifier) -> None:
    house.venue.replies = [Placement("v1", OrderState.ACCEPTED)]
    first = await stored(house)
    await go(house, silent, first)
    assert await go(house, silent, await stored(house, hours=1)) == "order_filled"
    assert await states(house, first) == ["cancelled"]


async def test_an_order_that_still_rests_after_its_cancellation_stops_the_step(
    house: House, silent: TradeNotifier
) -> None:
    house.venue.replies = [Placement("v1", OrderState.ACCEPTED)]
    await go(house, silent, await stored(house))
    house.venue.cancels[house.venue.sent[0]] = Placement("v1", OrderState.ACCEPTED)
    with pytest.raises(CancelFailed, match="still rests"):
        await go(house, silent, await stored(house, hours=1))
    house.venue.cancels[house.venue.sent[0]] = TimedOut("upbit: no answer")
    with pytest.raises(TimedOut):
        await go(house, silent, await stored(house, hours=2))
    assert len(house.venue.sent) == 1


async def test_what_the_cancelled_order_had_bought_counts_for_the_next(
    house: House, silent: TradeNotifier, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, {"all": {"levels": 1, "min_interval": "4h", "max_position_share": "1"}})
    house.venue.replies = [Placement("v1", OrderState.ACCEPTED)]
    first = await stored(house)
    await go(house, silent, first)
    part = Fill("t1", Decimal("0.5"), Decimal(100_000), Decimal(1), NOW)
    house.venue.cancels[house.venue.sent[0]] = Placement("v1", OrderState.CANCELLED, (part,), "asked")
    # it traded while it was being cancelled, so the interval has begun
    assert await go(house, silent, await stored(house, hours=1)) == "min_interval"
    assert len(house.venue.sent) == 1


async def test_an_order_is_called_absent_only_after_the_venues_number_of_looks(
    house: House, silent: TradeNotifier
) -> None:
    house.venue.absence = Absence(3, 0.0)
    analysed = await stored(house)
    house.venue.replies = [Unproven("upbit: no answer")]
    with pytest.raises(Unproven):
        await go(house, silent, analysed)
    assert await go(house, silent, analysed) == "blocked_by_unproven_order"
    assert await go(house, silent, analysed) == "blocked_by_unproven_order"
    assert await go(house, silent, analysed) == "order_filled"
    assert await states(house, analysed) == ["not_created", "filled"]


async def test_an_order_is_not_called_absent_before_its_time(house: House, silent: TradeNotifier) -> None:
    house.venue.absence = Absence(1, 30.0)
    analysed = await stored(house)
    house.venue.replies = [Unproven("upbit: no answer")]
    with pytest.raises(Unproven):
        await go(house, silent, analysed)
    for _ in range(4):
        assert await go(house, silent, analysed) == "blocked_by_unproven_order"
    assert len(house.venue.sent) == 1


async def test_an_order_that_was_planned_and_never_sent_is_ended_and_made_anew(
    house: House, silent: TradeNotifier
) -> None:
    analysed = await stored(house)
    left = OrderIntent("left-behind", "upbit", "KRW-BTC", Side.BUY, Decimal(1), Decimal(99_000), "KRW")
    await orders.plan(house.engine, left, origin=Origin(analysed.analysis_id, analysed.run_id))
    assert await go(house, silent, analysed) == "order_filled"
    assert await states(house, analysed) == ["cancelled", "filled"]
    assert "left-behind" not in house.venue.sent


async def test_a_live_market_that_is_not_armed_sends_nothing(
    house: House, silent: TradeNotifier, tmp_path: Path
) -> None:
    live = {"trading_mode": "live", "upbit_access_key": "a", "upbit_secret_key": "s"}
    house.settings = settings(tmp_path, STRATEGY, **live)
    analysed = await stored(house)
    assert await go(house, silent, analysed) == "not_armed"
    await armings.arm(house.engine, "kis", NOW + timedelta(days=3650), "test")
    assert await go(house, silent, analysed) == "not_armed"
    assert house.venue.sent == []
    await armings.arm(house.engine, "upbit", NOW + timedelta(days=3650), "test")
    # armed from the database's now on, so the task's clock has to be there too
    late = replace(analysed, analysis=replace(BUY, at=datetime.now(UTC)), quote=replace(QUOTE, at=datetime.now(UTC)))
    assert await trade(cast(Runtime, house), silent, late, datetime.now(UTC)) == "order_filled"
    await armings.disarm(house.engine, "upbit", "test")
    assert await armings.in_force(house.engine, datetime.now(UTC) + timedelta(seconds=1)) != []
    assert "upbit" not in {row.market for row in await armings.in_force(house.engine, datetime.now(UTC))}


async def test_a_halted_scope_sends_nothing_and_a_resumed_one_does(house: House, silent: TradeNotifier) -> None:
    await trading_states.write(house.engine, TradingState(State.HALTED, "holiday", market="upbit"), by="test")
    analysed = await stored(house)
    assert await go(house, silent, analysed) == "trading_state"
    assert house.venue.sent == []
    await trading_states.write(house.engine, TradingState(State.ACTIVE, "back", market="upbit"), by="test")
    assert await go(house, silent, analysed) == "order_filled"


async def test_another_market_is_not_halted(house: House, silent: TradeNotifier) -> None:
    await trading_states.write(house.engine, TradingState(State.HALTED, "holiday", market="kis"), by="test")
    assert await go(house, silent, await stored(house)) == "order_filled"


async def test_a_reducing_scope_buys_nothing(house: House, silent: TradeNotifier) -> None:
    await trading_states.write(house.engine, TradingState(State.REDUCING, "too much of it"), by="test")
    assert await go(house, silent, await stored(house)) == "trading_state"
    assert house.venue.sent == []


async def test_a_state_ends_at_its_expiry_and_is_never_changed(house: House) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    await trading_states.write(house.engine, TradingState(State.HALTED, "lunch", until, "upbit"), by="test")
    assert [row.reason for row in await trading_states.in_force(house.engine, datetime.now(UTC))] == ["lunch"]
    assert await trading_states.in_force(house.engine, until) == []
    with pytest.raises(DBAPIError, match="append-only"):
        async with house.engine.begin() as connection:
            await connection.execute(text("UPDATE trading_states SET reason = 'x'"))


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Throttled("upbit: too many"), "throttled"),
        (Unproven("upbit: no answer"), "unknown"),
        (Unreachable("upbit: not reachable"), "not_created"),
        (BadCredentials("upbit: the key expired"), "not_created"),
    ],
)
async def test_an_order_stands_where_the_venues_error_proves_it_to_be(
    house: House, silent: TradeNotifier, error: VenueError, state: str
) -> None:
    analysed = await stored(house)
    house.venue.replies = [error]
    with pytest.raises(type(error)):
        await go(house, silent, analysed)
    assert await states(house, analysed) == [state]
    assert len(house.venue.sent) == 1


async def test_a_broker_that_dies_leaves_the_order_sending_until_the_venue_is_asked(
    house: House, silent: TradeNotifier
) -> None:
    analysed = await stored(house)
    house.venue.replies = [RuntimeError("killed here")]
    with pytest.raises(RuntimeError):
        await go(house, silent, analysed)
    assert await states(house, analysed) == ["sending"]
    assert await go(house, silent, analysed) == "order_filled"
    assert await states(house, analysed) == ["not_created", "filled"]


async def test_nothing_is_ordered_by_a_clock_that_is_wrong(house: House, silent: TradeNotifier) -> None:
    sent = NOW - timedelta(milliseconds=20)
    # the venue's reply is dated five seconds after it was received here
    ahead = format_datetime(NOW + timedelta(seconds=5), usegmt=True)
    for _ in range(3):
        house.http.clock.hear("upbit", {"Date": ahead}, sent, NOW)
    assert await go(house, silent, await stored(house)) == "clock"
    assert house.venue.sent == []


async def test_a_halt_that_comes_after_the_rules_were_asked_stops_the_ladder(
    house: House, silent: TradeNotifier, tmp_path: Path
) -> None:
    place = house.venue.place

    async def halted_meanwhile(*args: Any) -> Placement:
        placed = await place(*args)
        await trading_states.write(house.engine, TradingState(State.HALTED, "a person's word"), by="test")
        return placed

    house.venue.place = halted_meanwhile  # type: ignore[method-assign]
    house.settings = settings(tmp_path, {"all": {**STRATEGY["all"], "levels": 4, "level_value": "50000"}})
    wide = PriceRange(Decimal(90_000), Decimal(99_000))
    analysed = await stored(house, replace(BUY, ranges=PriceRanges(wide, wide, RANGE, RANGE)))
    assert await go(house, silent, analysed) == "order_filled"
    assert len(house.venue.sent) == 1
    assert await states(house, analysed) == ["filled", "not_created"]
    [_, unsent] = await orders.for_analysis(house.engine, analysed.analysis_id)
    assert unsent.reason == "never sent: halted: a person's word"


async def test_two_symbols_never_spend_the_same_cash(house: House, silent: TradeNotifier, tmp_path: Path) -> None:
    # each may spend half of the million, and half of it is the reserve
    house.settings = settings(tmp_path, {"all": {**STRATEGY["all"], "level_value": "500000", "cash_reserve": "500000"}})
    place = house.venue.place

    async def slowly(intent: OrderIntent, *args: Any) -> Placement:
        await asyncio.sleep(0.3)
        house.venue.cash -= intent.quantity * intent.price
        return await place(intent, *args)

    house.venue.place = slowly  # type: ignore[method-assign]
    analysed = await stored(house)
    other = replace(INSTRUMENT, symbol="KRW-ETH")
    slot = NOW + timedelta(hours=1)
    run = await runs.open_run(house.engine, market="upbit", slot=slot, task_id="t", symbols=["KRW-ETH"])
    row = await analyses.store(
        house.engine, run_id=run.id, market="upbit", symbol="KRW-ETH", analysis=BUY, indicators={}
    )
    second = Analysed(run.id, row.id, other, BUY, replace(QUOTE, symbol="KRW-ETH"))
    outcomes = await asyncio.gather(go(house, silent, analysed), go(house, silent, second))
    assert sorted(outcomes) == ["cash_reserve", "order_filled"]
    assert house.venue.cash >= 500_000
