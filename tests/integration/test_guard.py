"""The guard: a position is left when a rule says so, once, whole, and never by an order too many."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from house import NOW, STRATEGY, House, filled, settings
from sqlalchemy import text

from storage import armings, orders, trading_states
from storage.journal import JournalOrder, Origin
from tasks.guard import ExitHeldUp, guard_market
from tasks.lease import symbol_lease
from tasks.reporting import single
from tasks.settling import CancelFailed
from trading.state import State, TradingState
from trading.types import (
    Fill,
    Holdings,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    Quote,
    Side,
    TimeInForce,
)
from workers.errors import TimedOut, Unproven
from workers.runtime import Runtime

BTC, ETH = "KRW-BTC", "KRW-ETH"


async def guard(house: House) -> dict[str, Any]:
    result = await guard_market(cast(Runtime, house), "upbit", datetime.now(UTC))
    return cast(dict[str, Any], result["symbols"])


def hold(house: House, quantity: str = "2", average: int = 100_000, price: int = 100_000) -> None:
    """The account holds that position, all of it free, and the market is at that price."""
    position = Position(Decimal(quantity), Decimal(average))
    house.venue.held = position
    house.venue.everything = Holdings("KRW", house.venue.cash, {BTC: position} if position.quantity else {})
    house.venue.price = Decimal(price)


def hold_two(house: House) -> None:
    """Two positions at their stop, of which the first comes first."""
    house.settings = house.settings.model_copy(update={"upbit_symbols": (BTC, ETH)})
    hold(house, price=90_000)
    position = house.venue.held
    house.venue.everything = Holdings("KRW", house.venue.cash, {BTC: position, ETH: position})


async def exits(house: House) -> list[tuple[str, str | None]]:
    async with house.engine.connect() as connection:
        rows = await connection.execute(text("SELECT kind, outcome FROM risk_exits ORDER BY at"))
        return [(row.kind, row.outcome) for row in rows]


async def test_a_position_inside_its_limits_is_left_alone(house: House) -> None:
    hold(house, price=96_000)
    assert await guard(house) == {}
    assert house.venue.sent == []


async def test_a_stop_loss_sells_everything_once(house: House) -> None:
    hold(house, price=95_000)
    assert await guard(house) == {BTC: "sold_all"}
    [intent] = house.venue.intents
    assert (intent.side, intent.quantity, intent.time_in_force) == (Side.SELL, Decimal(2), TimeInForce.IOC)
    # the best bid, 94,900, less a percent, on the grid
    assert intent.price == Decimal(93_900)
    hold(house, "0", price=95_000)
    assert await guard(house) == {}
    assert await exits(house) == [("stop_loss", "sold_all")]
    assert len(house.venue.sent) == 1


async def test_what_an_exit_could_not_sell_is_sold_at_the_next_turn(house: House) -> None:
    hold(house, price=90_000)
    part = Fill("t1", Decimal("0.5"), Decimal(89_900), Decimal(1), NOW)
    house.venue.replies = [Placement("v1", OrderState.CANCELLED, (part,), "partly_filled: 0.5 of 2")]
    assert await guard(house) == {BTC: "order_cancelled"}
    # the price has come back, but what is begun is finished
    hold(house, "1.5", price=99_000)
    assert await guard(house) == {BTC: "sold_all"}
    assert [intent.quantity for intent in house.venue.intents] == [Decimal(2), Decimal("1.5")]
    assert len(set(house.venue.sent)) == 2
    assert await exits(house) == [("stop_loss", "sold_all")]


async def test_a_take_profit_sells_everything(house: House) -> None:
    hold(house, price=110_100)
    assert await guard(house) == {BTC: "sold_all"}
    assert await exits(house) == [("take_profit", "sold_all")]


async def test_a_trailing_stop_follows_the_highest_price_the_guard_saw(house: House, tmp_path: Path) -> None:
    own = {"trailing": True, "trailing_atr": 2, "take_profit_rate": None}
    house.settings = settings(tmp_path, {"all": {**STRATEGY["all"], **own}})
    await stored_atr(house, 5_000)
    hold(house, price=130_000)
    assert await guard(house) == {}
    hold(house, price=121_000)
    assert await guard(house) == {}
    hold(house, price=120_000)
    assert await guard(house) == {BTC: "sold_all"}
    assert await exits(house) == [("trailing", "sold_all")]
    # the next position begins with a mark of its own
    hold(house, "1", average=100_000, price=101_000)
    assert await guard(house) == {}


async def stored_atr(house: House, atr: float) -> None:
    from house import BUY

    from storage import analyses, runs

    run = await runs.open_run(house.engine, market="upbit", slot=NOW, task_id="t", symbols=[BTC])
    await analyses.store(house.engine, run_id=run.id, market="upbit", symbol=BTC, analysis=BUY, indicators={"atr": atr})


async def test_resting_orders_make_way_for_an_exit(house: House) -> None:
    hold(house, price=90_000)
    for number, side in enumerate((Side.BUY, Side.SELL)):
        await a_resting_order(house, number, side)
    assert await guard(house) == {BTC: "sold_all"}
    assert await orders.resting(house.engine, "upbit", BTC) == []


async def a_resting_order(house: House, number: int, side: Side) -> JournalOrder:
    intent = OrderIntent(f"rests-{side}", "upbit", BTC, side, Decimal(1), Decimal(80_000), "KRW", TimeInForce.GTC)
    order = await orders.plan(house.engine, intent, origin=Origin(exit_id=await some_exit(house)))
    await orders.claim(house.engine, order.id)
    return await orders.record(house.engine, order.id, Placement(f"v{number}", OrderState.ACCEPTED))


async def some_exit(house: House) -> Any:
    """An exit of the symbol that has ended, for orders that need an origin."""
    async with house.engine.begin() as connection:
        return await connection.scalar(
            text(
                "INSERT INTO risk_exits (market, symbol, kind, quantity, price, trigger_price, average_price, reason, "
                "ended_at, outcome) "
                "VALUES ('upbit', 'KRW-BTC', 'take_profit', 1, 1, 1, 1, 'earlier', now(), 'sold_all') RETURNING id"
            )
        )


async def test_an_unproven_sell_is_never_followed_by_another(house: House) -> None:
    hold(house, price=90_000)
    house.venue.replies = [TimedOut("upbit: no answer")]
    with pytest.raises(TimedOut):
        await guard(house)
    house.venue.truth[house.venue.sent[0]] = Unproven("upbit: cannot say")
    with pytest.raises(Unproven):
        await guard(house)
    assert len(house.venue.sent) == 1
    [intent] = house.venue.intents
    house.venue.truth[intent.client_order_id] = filled(intent)
    hold(house, "0", price=90_000)
    assert await guard(house) == {BTC: "sold_all"}
    assert len(house.venue.sent) == 1


async def test_a_halt_stops_an_exit_and_reducing_does_not(house: House) -> None:
    hold(house, price=90_000)
    sell = OrderIntent("rests", "upbit", BTC, Side.SELL, Decimal(1), Decimal(120_000), "KRW", TimeInForce.GTC)
    rests = await orders.plan(house.engine, sell, origin=Origin(exit_id=await some_exit(house)))
    await orders.claim(house.engine, rests.id)
    await orders.record(house.engine, rests.id, Placement("v-rests", OrderState.ACCEPTED))
    await trading_states.write(house.engine, TradingState(State.HALTED, "hands off", market="upbit"), by="test")
    assert await guard(house) == {BTC: "trading_state"}
    assert house.venue.sent == []
    # what rests stays: nothing takes its place
    assert len(await orders.resting(house.engine, "upbit", BTC)) == 1
    await trading_states.write(house.engine, TradingState(State.REDUCING, "losses", market="upbit"), by="test")
    assert await guard(house) == {BTC: "sold_all"}


async def test_an_exit_of_a_live_market_waits_for_its_arming(house: House, tmp_path: Path) -> None:
    live = {"trading_mode": "live", "upbit_access_key": "a", "upbit_secret_key": "s"}
    house.settings = settings(tmp_path, STRATEGY, **live)
    hold(house, price=90_000)
    assert await guard(house) == {BTC: "not_armed"}
    assert house.venue.sent == []
    await armings.arm(house.engine, "upbit", datetime.now(UTC) + timedelta(hours=1), "test")
    assert await guard(house) == {BTC: "sold_all"}


async def test_too_little_to_sell_ends_the_exit_and_says_so(house: House) -> None:
    hold(house, "0.01", price=90_000)
    assert await guard(house) == {BTC: "given_up"}
    [(kind, outcome)] = await exits(house)
    assert kind == "stop_loss"
    assert outcome is not None
    assert outcome.startswith("given_up: the order is worth 900")
    assert house.venue.sent == []


async def test_what_cannot_be_sold_is_told_once_and_sold_when_it_can_be(house: House) -> None:
    hold(house, "0.01", price=90_000)
    assert [await guard(house) for _ in range(3)] == [{BTC: "given_up"}, {}, {}]
    # more of it is another position, which is looked at once more
    hold(house, "0.02", price=90_000)
    assert [await guard(house) for _ in range(2)] == [{BTC: "given_up"}, {}]
    assert len(await exits(house)) == 2
    hold(house, "0.1", price=90_000)
    assert await guard(house) == {BTC: "sold_all"}


async def test_what_a_part_sold_exit_leaves_begins_no_other(house: House) -> None:
    hold(house, price=90_000)
    house.venue.replies = [part_of("1.99")]
    assert await guard(house) == {BTC: "order_cancelled"}
    hold(house, "0.01", price=90_000)
    assert [await guard(house) for _ in range(3)] == [{BTC: "sold_part"}, {}, {}]
    assert len(await exits(house)) == 1


def part_of(quantity: str) -> Placement:
    fill = Fill("t1", Decimal(quantity), Decimal(89_900), Decimal(1), NOW)
    return Placement("v1", OrderState.CANCELLED, (fill,), "the rest was cancelled")


async def test_a_symbol_whose_orders_cannot_be_cancelled_keeps_no_other_from_its_stop(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = await a_resting_order(house, 1, Side.BUY)
    house.venue.cancels[stuck.intent.client_order_id] = Placement("v1", OrderState.ACCEPTED)
    hold(house, price=90_000)
    with pytest.raises(CancelFailed, match="still rests after it was cancelled"):
        await guard(house)
    # its exit is open from now on, and an open one comes first
    hold_two(house)
    with pytest.raises(CancelFailed, match="still rests after it was cancelled"):
        await guard(house)
    assert [intent.symbol for intent in house.venue.intents] == [ETH]
    assert "KRW-BTC had no turn to the end" in caplog.text


async def test_of_several_that_fail_each_is_told(house: House) -> None:
    hold_two(house)
    house.venue.replies = [TimedOut("upbit: no answer to the first"), TimedOut("upbit: no answer to the second")]
    with pytest.raises(ExceptionGroup) as caught:
        await guard(house)
    assert [str(error) for error in single(caught.value)] == [
        "upbit: no answer to the first",
        "upbit: no answer to the second",
    ]


async def test_a_position_that_was_sold_while_the_guard_waited_begins_no_exit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.guard.LEASE_WAIT_SECONDS", 30.0)
    hold(house, price=90_000)
    async with symbol_lease(house.redis, "upbit", BTC):
        waiting = asyncio.create_task(guard(house))
        await asyncio.sleep(0.5)
        hold(house, "0", price=90_000)
    assert await waiting == {}
    assert await exits(house) == []


async def test_what_the_venue_rejects_is_tried_less_and_less_often_and_told_as_held_up(house: House) -> None:
    hold(house, price=90_000)
    house.venue.replies = [Placement(None, OrderState.REJECTED, reason="the symbol is suspended") for _ in range(3)]
    assert await guard(house) == {BTC: "order_rejected"}
    assert await guard(house) == {BTC: "rejected_before"}
    await later(house, seconds=11)
    assert await guard(house) == {BTC: "order_rejected"}
    await later(house, seconds=11)
    assert await guard(house) == {BTC: "rejected_before"}, "twice as long after the second in a row"
    await later(house, seconds=120)
    assert await guard(house) == {BTC: "order_rejected"}
    with pytest.raises(ExitHeldUp, match=r"upbit KRW-BTC: the position is not left since \d+ s \(stop_loss\)"):
        await guard(house)
    await later(house, seconds=60)
    assert await guard(house) == {BTC: "sold_all"}


async def later(house: House, seconds: float) -> None:
    """All that was done is so much longer ago."""
    async with house.engine.begin() as connection:
        # the triggers keep what was decided
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in ("orders", "risk_exits"):
            column = "created_at" if table == "orders" else "at"
            await connection.execute(text(f"UPDATE {table} SET {column} = {column} - interval '{seconds} seconds'"))


async def test_an_exit_that_the_quotes_age_holds_up_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(house, price=90_000)

    async def old(symbol: str) -> Quote:
        ago = datetime.now(UTC) - timedelta(hours=1)
        return Quote(symbol, Decimal(90_000), Decimal(89_900), Decimal(90_000), Decimal(100), ago)

    monkeypatch.setattr(house.venue, "quote", old)
    assert await guard(house) == {BTC: "stale_quote"}
    await later(house, seconds=121)
    with pytest.raises(ExitHeldUp, match="stale_quote"):
        await guard(house)


async def test_dust_leaves_no_mark_for_a_trailing_stop(house: House, tmp_path: Path) -> None:
    own = {"trailing": True, "trailing_atr": 2, "take_profit_rate": None}
    house.settings = settings(tmp_path, {"all": {**STRATEGY["all"], **own}})
    await stored_atr(house, 5_000)
    hold(house, "0.00000001", price=130_000)
    assert await guard(house) == {}
    hold(house, "1", average=100_000, price=101_000)
    assert await guard(house) == {}, "the highest price was seen when nothing was held that could be sold"


async def test_a_symbol_that_is_being_traded_does_not_hold_up_the_others(house: House) -> None:
    hold(house, price=90_000)
    async with symbol_lease(house.redis, "upbit", BTC):
        assert await guard(house) == {BTC: "busy"}
    assert await guard(house) == {BTC: "sold_all"}


async def test_an_exit_waits_while_somebody_elses_order_holds_the_position(house: House) -> None:
    hold(house, price=90_000)
    house.venue.held = Position(Decimal(0), Decimal(100_000))
    assert await guard(house) == {BTC: "nothing_free"}
    assert await exits(house) == [("stop_loss", None)]
    hold(house, price=90_000)
    assert await guard(house) == {BTC: "sold_all"}
    assert await exits(house) == [("stop_loss", "sold_all")]


async def test_a_symbol_that_is_switched_off_is_not_guarded(house: House, tmp_path: Path) -> None:
    house.settings = settings(tmp_path, {"markets": {"upbit": {BTC: {"enabled": False}}}})
    hold(house, price=50_000)
    assert await guard(house) == {}
