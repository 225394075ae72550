"""The resolver: evidence for every order, whoever sent it, and nothing left resting where it has no place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from house import NOW, QUOTE, House, filled, settings

from storage import orders, trades, trading_states
from storage.errors import Contradiction
from storage.exits import begin
from storage.journal import JournalOrder, Origin
from tasks.lease import symbol_lease
from tasks.orders import BOOK_KEY, resolve_market
from telemetry import instruments
from trading.exits import Exit, ExitKind
from trading.state import State, TradingState
from trading.types import Fill, Instrument, OpenOrder, OrderIntent, OrderState, Placement, Side, TimeInForce
from workers.errors import Ambiguous, TimedOut, Unproven
from workers.ports import Absence
from workers.runtime import Runtime

HAND_MADE = OpenOrder("v-by-hand", None, "KRW-BTC", Side.BUY, Decimal(1), Decimal(0), Decimal(90_000), "KRW", NOW)


async def resolve(house: House, now: datetime | None = None) -> dict[str, Any]:
    await house.redis.delete(BOOK_KEY.format(market="upbit"))
    return await resolve_market(cast(Runtime, house), "upbit", now or datetime.now(UTC))


async def sent(house: House, number: int = 1, *, symbol: str = "KRW-BTC", side: Side = Side.BUY) -> JournalOrder:
    """An order that is being sent, of an exit, which needs no analysis."""
    wanted = Exit(ExitKind.STOP_LOSS, Decimal(1), QUOTE.price, QUOTE.price, Decimal(0), "test")
    of = await begin(house.engine, market="upbit", symbol=symbol, exit=wanted, average_price=QUOTE.price)
    intent = OrderIntent(
        f"test-{symbol}-{number}", "upbit", symbol, side, Decimal(1), Decimal(100_000), "KRW", TimeInForce.GTC
    )
    order = await orders.plan(house.engine, intent, origin=Origin(exit_id=of.id))
    assert await orders.claim(house.engine, order.id)
    return await orders.get(house.engine, order.id)


async def resting(house: House, number: int = 1, *, side: Side = Side.BUY) -> JournalOrder:
    """An order in the venue's book, and the book that shows it."""
    order = await sent(house, number, side=side)
    order = await orders.record(house.engine, order.id, Placement(f"v{number}", OrderState.ACCEPTED))
    intent = order.intent
    house.venue.book.append(
        OpenOrder(
            f"v{number}", intent.client_order_id, intent.symbol, side, Decimal(1), Decimal(0), intent.price, "KRW", NOW
        )
    )
    return order


async def state(house: House, order: JournalOrder) -> OrderState:
    return (await orders.get(house.engine, order.id)).state


async def test_what_the_venue_proves_is_written_down(house: House) -> None:
    order = await sent(house)
    house.venue.truth[order.intent.client_order_id] = filled(order.intent)
    assert (await resolve(house))["unproven"] == 1
    assert await state(house, order) is OrderState.FILLED


async def test_an_order_the_venue_does_not_have_is_not_created_after_its_looks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []
    counter = SimpleNamespace(add=lambda _, attributes: states.append(attributes["state"]))
    monkeypatch.setattr(instruments, "orders", counter)
    house.venue.absence = Absence(3, 0.0)
    order = await sent(house)
    seen = []
    for _ in range(3):
        await resolve(house)
        seen.append(await state(house, order))
    assert seen == [OrderState.UNKNOWN, OrderState.UNKNOWN, OrderState.NOT_CREATED]
    assert states == ["unknown", "not_created"], "each state an order comes into is counted once"
    assert house.venue.sent == []


async def test_one_symbols_failure_does_not_keep_the_others(house: House) -> None:
    failing, other = await sent(house, symbol="KRW-BTC"), await sent(house, symbol="KRW-ETH")
    house.venue.truth = {
        failing.intent.client_order_id: TimedOut("upbit: no answer"),
        other.intent.client_order_id: filled(other.intent),
    }
    with pytest.raises(TimedOut):
        await resolve(house)
    assert await state(house, failing) is OrderState.UNKNOWN
    assert await state(house, other) is OrderState.FILLED


async def test_an_order_that_cannot_be_looked_at_keeps_no_other_of_its_symbol(house: House) -> None:
    failing, other = await sent(house, 1), await sent(house, 2, side=Side.SELL)
    house.venue.truth = {
        failing.intent.client_order_id: TimedOut("upbit: no answer"),
        other.intent.client_order_id: filled(other.intent),
    }
    with pytest.raises(TimedOut):
        await resolve(house)
    assert await state(house, failing) is OrderState.UNKNOWN
    assert await state(house, other) is OrderState.FILLED


async def test_what_became_of_an_order_is_asked_also_where_no_quotes_are_to_be_had(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> Instrument:
        raise TimedOut("upbit: the list of markets does not come")

    monkeypatch.setattr(house.venue, "instrument", away)
    order = await sent(house)
    house.venue.truth[order.intent.client_order_id] = filled(order.intent)
    with pytest.raises(TimedOut, match="list of markets"):
        await resolve(house)
    assert await state(house, order) is OrderState.FILLED


async def test_a_resting_order_that_is_gone_keeps_no_other_from_leaving_the_book(house: House) -> None:
    gone, other = await resting(house, 1), await resting(house, 2)
    house.venue.book.pop(0)
    await trading_states.write(house.engine, TradingState(State.HALTED, "night", market="upbit"), by="test")
    with pytest.raises(Unproven, match="v1"):
        await resolve(house)
    assert await state(house, gone) is OrderState.ACCEPTED
    assert await state(house, other) is OrderState.CANCELLED


async def test_an_order_that_was_called_not_created_and_rests_after_all_is_told(house: House) -> None:
    order = await sent(house)
    await resolve(house)
    assert await state(house, order) is OrderState.NOT_CREATED
    late = replace(HAND_MADE, client_order_id=order.intent.client_order_id)
    house.venue.book.append(late)
    house.settings = house.settings.model_copy(update={"upbit_symbols": ("KRW-BTC",)})
    await resting(house, 2)
    with pytest.raises(Contradiction, match="v-by-hand rests at the venue, and the journal calls it not_created"):
        await resolve(house)


async def test_one_that_is_like_an_order_that_was_called_not_created_is_not_taken_for_somebody_elses(
    house: House,
) -> None:
    order = await sent(house)
    await resolve(house)
    assert await state(house, order) is OrderState.NOT_CREATED
    # a venue that keeps no ids of ours shows it late
    intent = order.intent
    late = replace(HAND_MADE, quantity=intent.quantity, price=intent.price, at=datetime.now(UTC))
    house.venue.book.append(late)
    house.settings = house.settings.model_copy(update={"upbit_symbols": ("KRW-BTC",)})
    await resting(house, 2)
    with pytest.raises(Contradiction, match="v-by-hand rests at the venue, and is like one"):
        await resolve(house)


async def test_an_order_by_hand_without_a_price_keeps_no_other_from_being_adopted(house: House) -> None:
    house.settings = house.settings.model_copy(update={"upbit_symbols": ("KRW-BTC",)})
    await resting(house)
    house.venue.book += [replace(HAND_MADE, venue_order_id="v-at-the-market", price=Decimal(0)), HAND_MADE]
    assert (await resolve(house))["adopted"] == 1


async def test_a_symbol_that_is_being_traded_is_left_to_its_run(house: House) -> None:
    order = await sent(house)
    house.venue.truth[order.intent.client_order_id] = filled(order.intent)
    async with symbol_lease(house.redis, "upbit", "KRW-BTC"):
        await resolve(house)
    assert await state(house, order) is OrderState.SENDING


async def test_two_orders_that_could_be_it_halt_the_symbol(house: House) -> None:
    order = await sent(house)
    house.venue.truth[order.intent.client_order_id] = Ambiguous("upbit: two could be it")
    for _ in range(2):
        with pytest.raises(Ambiguous):
            await resolve(house)
    [halted] = await trading_states.in_force(house.engine, datetime.now(UTC))
    assert (halted.state, halted.market, halted.symbol) == (State.HALTED, "upbit", "KRW-BTC")
    assert await state(house, order) is OrderState.UNKNOWN


async def test_what_a_resting_order_trades_is_written_down_as_it_comes(house: House) -> None:
    order = await resting(house)
    await resolve(house)
    assert await state(house, order) is OrderState.ACCEPTED
    part = Fill("t1", Decimal("0.25"), Decimal(100_000), Decimal(12), NOW)
    house.venue.book = [replace(house.venue.book[0], filled=Decimal("0.25"))]
    house.venue.truth[order.intent.client_order_id] = Placement("v1", OrderState.PARTLY_FILLED, (part,))
    await resolve(house)
    followed = await orders.get(house.engine, order.id)
    assert (followed.state, followed.filled_quantity) == (OrderState.PARTLY_FILLED, Decimal("0.25"))
    house.venue.book = []
    rest = Fill("t2", Decimal("0.75"), Decimal(100_000), Decimal(37), NOW)
    house.venue.truth[order.intent.client_order_id] = Placement("v1", OrderState.FILLED, (part, rest))
    await resolve(house)
    assert await state(house, order) is OrderState.FILLED


async def test_a_resting_order_that_the_venue_does_not_show_is_an_error_not_a_guess(house: House) -> None:
    order = await resting(house)
    house.venue.book = []
    with pytest.raises(Unproven, match="does not show order v1") as raised:
        await resolve(house)
    assert raised.value.about == order.intent.client_order_id
    assert await state(house, order) is OrderState.ACCEPTED


async def test_an_order_that_has_rested_too_long_is_cancelled(house: House, tmp_path: Path) -> None:
    house.settings = settings(tmp_path, {"all": {"max_order_age": "1h"}})
    order = await resting(house)
    await resolve(house, datetime.now(UTC) + timedelta(minutes=59))
    assert await state(house, order) is OrderState.ACCEPTED
    await resolve(house, datetime.now(UTC) + timedelta(minutes=61))
    assert await state(house, order) is OrderState.CANCELLED


async def test_buys_leave_the_book_while_trading_is_halted_and_sells_stay(house: House) -> None:
    buy, sell = await resting(house, 1), await resting(house, 2, side=Side.SELL)
    await trading_states.write(house.engine, TradingState(State.REDUCING, "losses", market="upbit"), by="test")
    await resolve(house)
    assert await state(house, buy) is OrderState.CANCELLED
    assert await state(house, sell) is OrderState.ACCEPTED


async def test_an_order_made_by_hand_is_adopted_once_and_left_alone(house: House) -> None:
    order = await resting(house)
    house.venue.book.append(HAND_MADE)
    assert (await resolve(house))["adopted"] == 1
    assert (await resolve(house))["adopted"] == 0
    [adopted] = [found for found in await orders.resting(house.engine, "upbit", "KRW-BTC") if found.origin.adopted]
    assert adopted.venue_order_id == "v-by-hand"
    await trading_states.write(house.engine, TradingState(State.HALTED, "night", market="upbit"), by="test")
    await resolve(house, datetime.now(UTC) + timedelta(days=9))
    assert await state(house, adopted) is OrderState.ACCEPTED
    assert await state(house, order) is OrderState.CANCELLED


async def test_an_order_by_hand_in_a_symbol_we_do_not_trade_is_none_of_ours(house: House) -> None:
    await resting(house)
    house.venue.book.append(replace(HAND_MADE, symbol="KRW-DOGE"))
    assert (await resolve(house))["adopted"] == 0


async def test_an_order_that_may_be_the_unproven_one_is_not_adopted(house: House) -> None:
    await resting(house, 1, side=Side.SELL)
    order = await sent(house, 2)
    house.venue.absence = Absence(9, 0.0)
    house.venue.book.append(HAND_MADE)
    assert (await resolve(house))["adopted"] == 0
    assert await state(house, order) is OrderState.UNKNOWN


async def test_an_order_left_planned_by_a_run_that_ended_is_never_sent(house: House) -> None:
    order = await sent(house)
    house.venue.truth[order.intent.client_order_id] = filled(order.intent)
    left = replace(order.intent, client_order_id="left-behind")
    planned = await orders.plan(house.engine, left, origin=order.origin)
    await resolve(house)
    assert await state(house, planned) is OrderState.CANCELLED
    assert house.venue.sent == []


async def test_positions_follow_from_our_own_fills_alone(house: House) -> None:
    for number, side in ((1, Side.BUY), (2, Side.SELL)):
        order = await sent(house, number, side=side)
        part = Fill(f"t{number}", Decimal("0.75") / number, Decimal(100_000), Decimal(1), NOW)
        await orders.record(house.engine, order.id, Placement(f"v{number}", OrderState.CANCELLED, (part,), "asked"))
    assert await trades.net_units(house.engine, "upbit") == {"KRW-BTC": Decimal("0.375")}
    assert await trades.net_units(house.engine, "kis") == {}
