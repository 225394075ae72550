"""From an analysis to at most one order, whatever happened to the task before."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from notifications.trades import TradeNotifier
from settings import Settings
from storage import analyses, orders, runs, trading_states
from storage.engine import open_engine
from tasks.trade import Analysed, trade
from trading.state import State, TradingState
from trading.types import (
    Account,
    Analysis,
    Decision,
    Fill,
    Holdings,
    Instrument,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    PriceRange,
    PriceRanges,
    Quote,
)
from workers.errors import BadCredentials, Throttled, TimedOut, Unproven, Unreachable, VenueError
from workers.runtime import Runtime

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
INSTRUMENT = Instrument(
    "upbit", "KRW-BTC", "비트코인", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
QUOTE = Quote("KRW-BTC", Decimal(100_000), Decimal(99_900), Decimal(100_000), Decimal(100), NOW)
RANGE = PriceRange(Decimal(90_000), Decimal(110_000))
BUY = Analysis(Decision.BUY, 80, ("up",), PriceRanges(RANGE, RANGE, RANGE, RANGE), "rules-1", Decimal(100_000), NOW)


@dataclass
class Venue:
    """A venue in memory that counts what it is sent; `replies` and `truth` script what it says."""

    replies: list[Placement | Exception] = field(default_factory=list)
    truth: dict[str, Placement | Exception] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    cash: Decimal = Decimal(1_000_000)

    async def account(self, instrument: Instrument) -> Account:
        return Account("KRW", self.cash, Position(Decimal(0), Decimal(0)))

    async def holdings(self) -> Holdings | None:
        return None

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        self.sent.append(intent.client_order_id)
        reply = self.replies.pop(0) if self.replies else filled(intent)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def find(self, client_order_id: str) -> Placement | None:
        said = self.truth.get(client_order_id)
        if isinstance(said, Exception):
            raise said
        return said


def filled(intent: OrderIntent) -> Placement:
    fill = Fill(f"t-{intent.client_order_id}", intent.quantity, intent.price, Decimal(1), NOW)
    return Placement(f"v-{intent.client_order_id}", OrderState.FILLED, (fill,))


@dataclass
class House:
    """What `trade` needs of a runtime."""

    engine: AsyncEngine
    venue: Venue
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))  # type: ignore[call-arg]

    def broker(self, _: str) -> Venue:
        return self.venue


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    engine = open_engine(database_url)
    yield House(engine, Venue())
    await engine.dispose()


@pytest.fixture
def silent() -> TradeNotifier:
    return TradeNotifier(Redis(), "ko", enabled=False)


async def stored(house: House, analysis: Analysis = BUY) -> Analysed:
    run = await runs.open_run(house.engine, market="upbit", slot=NOW, task_id="t", symbols=["KRW-BTC"])
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
    first = await stored(house)
    await go(house, silent, first)
    run = await runs.open_run(
        house.engine, market="upbit", slot=NOW.replace(hour=4), task_id=str(uuid.uuid4()), symbols=["KRW-BTC"]
    )
    row = await analyses.store(
        house.engine, run_id=run.id, market="upbit", symbol="KRW-BTC", analysis=BUY, indicators={}
    )
    assert await go(house, silent, Analysed(run.id, row.id, INSTRUMENT, BUY, QUOTE)) == "order_filled"
    assert len(set(house.venue.sent)) == 2


async def test_a_halted_scope_sends_nothing_and_a_resumed_one_does(house: House, silent: TradeNotifier) -> None:
    await trading_states.write(house.engine, TradingState(State.HALTED, "holiday", market="upbit"), by="test")
    analysed = await stored(house)
    assert await go(house, silent, analysed) == "trading_halted"
    assert house.venue.sent == []
    await trading_states.write(house.engine, TradingState(State.ACTIVE, "back", market="upbit"), by="test")
    assert await go(house, silent, analysed) == "order_filled"


async def test_another_market_is_not_halted(house: House, silent: TradeNotifier) -> None:
    await trading_states.write(house.engine, TradingState(State.HALTED, "holiday", market="kis"), by="test")
    assert await go(house, silent, await stored(house)) == "order_filled"


async def test_a_reducing_scope_buys_nothing(house: House, silent: TradeNotifier) -> None:
    await trading_states.write(house.engine, TradingState(State.REDUCING, "too much of it"), by="test")
    assert await go(house, silent, await stored(house)) == "trading_reducing"
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
