"""Closing every position: whole, once, and nothing but what our own fills hold."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from house import STRATEGY, House, Venue, settings
from sqlalchemy import text

from notifications.ledger import PREFIX
from operate import CannotAnswer, request_flatten, resume, set_trading_state
from sandbox.local import LocalRedis
from settings import Settings
from storage import armings, exits, orders, trading_states
from storage.engine import open_engine
from storage.journal import JournalOrder, Origin
from storage.redis import open_redis
from tasks.desks import desk_of
from tasks.guard import guard_market
from tasks.placing import place
from trading.exits import flatten
from trading.state import State, TradingState
from trading.types import Fill, Holdings, OrderIntent, OrderState, Placement, Position, Side, TimeInForce
from workers.paper.broker import PaperBroker
from workers.ports import Absence
from workers.runtime import Runtime

BTC, XRP = "KRW-BTC", "KRW-XRP"
BY = "telegram:42 (kim)"


@dataclass
class PaperHouse(House):
    """A house whose orders go to the paper broker, at the quotes of the venue in memory."""

    async def broker(self, _: str) -> Any:
        return PaperBroker(
            self.engine,
            "upbit",
            opening_cash={"KRW": Decimal(10_000_000)},
            quotes=self.venue.quote,
            tick_size=self.venue.tick_size,
        )


@pytest.fixture
async def paper(emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path) -> AsyncIterator[PaperHouse]:
    engine, redis = open_engine(emptied_database_url), open_redis(redis_server.url)
    await redis.flushdb()
    yield PaperHouse(engine, redis, Venue(), own(emptied_database_url, redis_server, tmp_path))
    await redis.aclose()
    await engine.dispose()


@pytest.fixture
def mine(house: House, emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path) -> House:
    """The house of the venue in memory, whose settings name its own servers."""
    house.settings = own(emptied_database_url, redis_server, tmp_path)
    return house


def own(database_url: str, redis: LocalRedis, directory: Path, **values: object) -> Settings:
    strategy = cast(dict[str, object], values.pop("strategy", STRATEGY))
    given = {"upbit_symbols": [BTC], "notify_language": "en", **values}
    return settings(directory, strategy, database_url=database_url, redis_url=redis.url, **given)


async def buy(house: House, symbol: str, quantity: str) -> JournalOrder:
    desk = await desk_of(cast(Runtime, house), "upbit", symbol)
    intent = order_of(symbol, Side.BUY, quantity, price=100_000, rests=False)
    origin = Origin(exit_id=await ended_exit(house, symbol))
    return await place(desk, intent, await house.venue.quote(symbol), origin=origin, leg=1)


async def filled_buy(house: House, symbol: str, quantity: str) -> None:
    """A buy of ours that the journal has as filled, without a venue."""
    intent = order_of(symbol, Side.BUY, quantity, price=100_000, rests=False)
    order = await orders.plan(house.engine, intent, origin=Origin(exit_id=await ended_exit(house, symbol)))
    await orders.claim(house.engine, order.id)
    fill = Fill(f"t-{intent.client_order_id}", intent.quantity, intent.price, Decimal(0), datetime.now(UTC))
    placed = Placement(f"v-{intent.client_order_id}", OrderState.FILLED, (fill,))
    await orders.record(house.engine, order.id, placed)


def order_of(symbol: str, side: Side, quantity: str, *, price: int, rests: bool) -> OrderIntent:
    force = TimeInForce.GTC if rests else TimeInForce.IOC
    name = f"test-{uuid.uuid4().hex[:12]}"
    return OrderIntent(name, "upbit", symbol, side, Decimal(quantity), Decimal(price), "KRW", force)


async def ended_exit(house: House, symbol: str) -> uuid.UUID:
    """An exit that has ended, for orders that need an origin."""
    async with house.engine.begin() as connection:
        found: uuid.UUID = (
            await connection.execute(
                text(
                    "INSERT INTO risk_exits (market, symbol, kind, quantity, price, trigger_price, average_price, "
                    "reason, ended_at, outcome) "
                    "VALUES ('upbit', :symbol, 'take_profit', 1, 1, 1, 1, 'earlier', now(), 'sold_all') RETURNING id"
                ),
                {"symbol": symbol},
            )
        ).scalar_one()
    return found


async def guard(house: House) -> dict[str, Any]:
    result = await guard_market(cast(Runtime, house), "upbit", datetime.now(UTC))
    return cast(dict[str, Any], result["symbols"])


async def flattened(house: House) -> list[tuple[str, Decimal, str | None]]:
    async with house.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT symbol, quantity, outcome FROM risk_exits WHERE kind = 'flatten' ORDER BY at, symbol")
        )
        return [(row.symbol, row.quantity, row.outcome) for row in rows]


async def sales(house: House) -> list[tuple[str, Decimal]]:
    async with house.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT symbol, filled_quantity FROM orders WHERE side = 'sell' ORDER BY symbol, created_at")
        )
        return [(row.symbol, row.filled_quantity) for row in rows]


def hold(house: House, quantity: str) -> None:
    """The account holds so many units of BTC, all of them free."""
    position = Position(Decimal(quantity), Decimal(100_000))
    house.venue.held = position
    house.venue.everything = Holdings("KRW", house.venue.cash, {BTC: position})


async def test_every_position_is_sold_whole_once_however_often_it_is_asked_for(paper: PaperHouse) -> None:
    # the second symbol is enabled no more
    await buy(paper, BTC, "2")
    await buy(paper, XRP, "3")
    said = await asyncio.gather(*(request_flatten(paper.settings, "upbit", BY) for _ in range(3)))
    assert sum("upbit KRW-BTC: selling 2" in one for one in said) == 1
    assert sum("upbit KRW-BTC: is being sold already (Flatten, since" in one for one in said) == 2
    assert [(symbol, units) for symbol, units, _ in await flattened(paper)] == [(BTC, 2), (XRP, 3)]
    # one of them stopped the buying, and told of it
    assert await count(paper, "trading_states") == 1
    assert await told_states(paper) == 1

    await asyncio.gather(guard(paper), guard(paper))
    assert [outcome for *_, outcome in await flattened(paper)] == ["sold_all", "sold_all"]
    assert await sales(paper) == [(BTC, 2), (XRP, 3)]
    holdings = await (await paper.broker("upbit")).holdings()
    assert holdings.positions == {}

    assert "upbit: our own fills hold nothing" in await request_flatten(paper.settings, "", BY)
    assert await guard(paper) == {}
    assert len(await sales(paper)) == 2


async def test_what_the_market_does_not_take_at_once_is_sold_at_the_next_look(mine: House) -> None:
    await filled_buy(mine, BTC, "2")
    hold(mine, "2")
    part = Fill("part", Decimal("0.5"), Decimal(99_900), Decimal(1), datetime.now(UTC))
    mine.venue.replies = [Placement("v1", OrderState.CANCELLED, (part,), "partly_filled: 0.5 of 2")]
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "order_cancelled"}
    hold(mine, "1.5")
    assert await guard(mine) == {BTC: "sold_all"}
    assert [intent.quantity for intent in mine.venue.intents] == [Decimal(2), Decimal("1.5")]
    assert {intent.time_in_force for intent in mine.venue.intents} == {TimeInForce.IOC}


async def test_buying_stops_at_once_and_the_row_says_who_asked(paper: PaperHouse) -> None:
    await buy(paper, BTC, "2")
    halted = TradingState(State.HALTED, "hands off", market="upbit")
    await trading_states.write(paper.engine, halted, by="cli:root")
    for _ in range(2):
        await request_flatten(paper.settings, "upbit", BY)
    [row] = await trading_states.written(paper.engine, datetime.now(UTC))
    assert (row.state.state, row.state.market, row.state.until, row.by) == (State.REDUCING, "upbit", None, BY)
    assert await count(paper, "trading_states") == 2
    assert await guard(paper) == {BTC: "sold_all"}
    assert "trading of upbit goes on" in await resume(paper.settings, "upbit", BY)


async def test_buying_stays_stopped_after_a_halt_that_ends_by_itself(paper: PaperHouse) -> None:
    await buy(paper, BTC, "2")
    await request_flatten(paper.settings, "upbit", BY)
    said = await set_trading_state(paper.settings, "halted", "upbit", "", "maintenance", 1)
    first, second = said.splitlines()
    assert first.startswith("trading of upbit is halted until ")
    assert second == "in force after that: trading of upbit is reducing: flatten: every position is being closed"
    later = datetime.now(UTC) + timedelta(hours=2)
    [row] = await trading_states.written(paper.engine, later)
    assert (row.state.state, row.state.until, row.by) == (State.REDUCING, None, BY)
    # a halt holds the sales back, and asking again sells
    assert await guard(paper) == {BTC: "trading_state"}
    await request_flatten(paper.settings, "upbit", BY)
    assert await guard(paper) == {BTC: "sold_all"}


async def count(house: House, table: str) -> int:
    async with house.engine.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def told_states(house: House) -> int:
    """How often a changed trading state was recorded to be told."""
    records = [await cast(Any, house.redis.hmget(key, "p", "n")) for key in await house.redis.keys(f"{PREFIX}rec:*")]
    return sum(int(times) for payload, times in records if json.loads(payload)["kind"] == "trading_state")


async def test_what_the_account_holds_besides_our_own_fills_stays(mine: House) -> None:
    await filled_buy(mine, BTC, "2")
    hold(mine, "5")
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "sold_all"}
    [intent] = mine.venue.intents
    assert (intent.side, intent.quantity) == (Side.SELL, 2)
    hold(mine, "3")
    assert "our own fills hold nothing" in await request_flatten(mine.settings, "upbit", BY)
    # also where an exit was opened on what had been read before the sale was written down
    late = flatten(Position(Decimal(2), Decimal(0)), Decimal(100_000), BY)
    await exits.begin(mine.engine, market="upbit", symbol=BTC, exit=late, average_price=Decimal(0))
    assert await guard(mine) == {BTC: "nothing_held"}
    assert len(mine.venue.sent) == 1


async def test_resting_orders_of_both_sides_make_way(mine: House) -> None:
    await filled_buy(mine, BTC, "2")
    hold(mine, "2")
    for number, (side, price) in enumerate(((Side.BUY, 80_000), (Side.SELL, 130_000))):
        intent = order_of(BTC, side, "1", price=price, rests=True)
        order = await orders.plan(mine.engine, intent, origin=Origin(exit_id=await ended_exit(mine, BTC)))
        await orders.claim(mine.engine, order.id)
        await orders.record(mine.engine, order.id, Placement(f"v{number}", OrderState.ACCEPTED))
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "sold_all"}
    assert await orders.resting(mine.engine, "upbit", BTC) == []
    assert [intent.quantity for intent in mine.venue.intents] == [2]


async def resting_buy(house: House) -> JournalOrder:
    intent = order_of(BTC, Side.BUY, "1", price=80_000, rests=True)
    order = await orders.plan(house.engine, intent, origin=Origin(exit_id=await ended_exit(house, BTC)))
    await orders.claim(house.engine, order.id)
    return await orders.record(house.engine, order.id, Placement("v-rests", OrderState.ACCEPTED))


async def test_buys_that_rest_are_taken_back_and_what_they_brought_in_is_sold(mine: House) -> None:
    rests = await resting_buy(mine)
    part = Fill("part", Decimal("0.5"), Decimal(80_000), Decimal(1), datetime.now(UTC))
    bought = Placement("v-rests", OrderState.CANCELLED, (part,), "asked")
    mine.venue.cancels[rests.intent.client_order_id] = bought
    assert "upbit KRW-BTC: open buys are taken back" in await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "order_cancelled"}
    hold(mine, "0.5")
    assert await guard(mine) == {BTC: "sold_all"}
    assert [intent.quantity for intent in mine.venue.intents] == [Decimal("0.5")]


async def test_buys_that_brought_nothing_in_end_it_without_a_sale(mine: House) -> None:
    await resting_buy(mine)
    hold(mine, "3")
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "nothing_held"}
    assert mine.venue.sent == []
    assert await orders.resting(mine.engine, "upbit", BTC) == []
    assert await guard(mine) == {}


async def test_a_buy_that_is_not_proven_keeps_it_open_and_the_rest_is_sold(mine: House) -> None:
    await filled_buy(mine, BTC, "2")
    hold(mine, "2")
    intent = order_of(BTC, Side.BUY, "1", price=100_000, rests=False)
    order = await orders.plan(mine.engine, intent, origin=Origin(exit_id=await ended_exit(mine, BTC)))
    await orders.claim(mine.engine, order.id)
    mine.venue.absence = Absence(1000, 1000.0)
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "order_filled"}
    hold(mine, "0")
    assert await guard(mine) == {BTC: "blocked_by_unproven_order"}
    fill = Fill("late", Decimal(1), Decimal(100_000), Decimal(1), datetime.now(UTC))
    mine.venue.truth[intent.client_order_id] = Placement("v-late", OrderState.FILLED, (fill,))
    hold(mine, "1")
    assert await guard(mine) == {BTC: "sold_all"}
    assert [intent.quantity for intent in mine.venue.intents] == [2, 1]


async def test_a_symbol_that_is_switched_off_is_sold_too(
    mine: House, emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path
) -> None:
    off: dict[str, object] = {"markets": {"upbit": {BTC: {"enabled": False}}}}
    mine.settings = own(emptied_database_url, redis_server, tmp_path, strategy=off)
    await filled_buy(mine, BTC, "2")
    hold(mine, "2")
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "sold_all"}


async def test_a_halted_symbol_waits_and_is_named(mine: House) -> None:
    await filled_buy(mine, BTC, "2")
    hold(mine, "2")
    halted = TradingState(State.HALTED, "two orders could be ours", market="upbit", symbol=BTC)
    await trading_states.write(mine.engine, halted, by="resolver")
    said = await request_flatten(mine.settings, "upbit", BY)
    assert "upbit KRW-BTC: the sale waits, trading is halted: two orders could be ours" in said
    assert await guard(mine) == {BTC: "trading_state"}
    await resume(mine.settings, "upbit", BY, BTC)
    assert await guard(mine) == {BTC: "sold_all"}


async def test_a_live_market_that_is_not_armed_sells_nothing_and_says_so(
    mine: House, emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path
) -> None:
    live = {"trading_mode": "live", "upbit_access_key": "a", "upbit_secret_key": "s"}
    mine.settings = own(emptied_database_url, redis_server, tmp_path, **live)
    await filled_buy(mine, BTC, "2")
    hold(mine, "2")
    with pytest.raises(CannotAnswer, match="upbit: live and not armed, nothing is sold"):
        await request_flatten(mine.settings, "upbit", BY)
    # asked for all, the others are done
    assert "upbit: live and not armed" in await request_flatten(mine.settings, "", BY)
    assert await flattened(mine) == []
    await armings.arm(mine.engine, "upbit", datetime.now(UTC) + timedelta(hours=1), "test")
    await request_flatten(mine.settings, "upbit", BY)
    assert await guard(mine) == {BTC: "sold_all"}
