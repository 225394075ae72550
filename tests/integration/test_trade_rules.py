"""Rules of ladders and of the resolver that hold whatever the venue says, over a real database and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from house import BUY, INSTRUMENT, NOW, QUOTE, RANGE, STRATEGY, House, Venue, settings
from redis.asyncio import Redis

from notifications.alert import Claim, Contents, read_payload
from notifications.ledger import Idle, Ledger
from notifications.message import Chat
from notifications.trades import TradeNotifier
from sandbox.local import LocalRedis
from storage import analyses, armings, orders, runs
from storage.engine import open_engine
from storage.exits import begin
from storage.journal import JournalOrder, Origin
from storage.redis import open_redis
from tasks.orders import BOOK_KEY, BOOK_SECONDS, UNPROVEN_SECONDS, resolve_market
from tasks.trade import Analysed, trade
from trading.exits import Exit, ExitKind
from trading.types import (
    Analysis,
    Decision,
    Instrument,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    PriceRange,
    PriceRanges,
    Quote,
    Side,
    TimeInForce,
)
from workers.errors import TimedOut
from workers.ports import Absence
from workers.runtime import Runtime

SELL = replace(BUY, decision=Decision.SELL)
THREE: dict[str, object] = {
    "all": {"levels": 3, "level_value": 100_000, "max_position_share": "1", "min_interval": "0s"}
}
# to buy at 100 000 (the ask), 95 000 and 92 000
DOWNWARDS = PriceRanges(
    PriceRange(Decimal(95_000), Decimal(101_000)), RANGE, PriceRange(Decimal(90_000), Decimal(92_000)), RANGE
)
LIVE_UPBIT: dict[str, object] = {"trading_mode": "live", "upbit_access_key": "a", "upbit_secret_key": "s"}
LIVE_KIS: dict[str, object] = {
    "trading_mode": "live",
    "kis_account": "12345678-01",
    "kis_app_key": "k",
    "kis_app_secret": "s",
}
KRX_OPEN = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
KRX_CLOSED = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@dataclass
class Watched(Venue):
    """A venue that writes down everything it is asked, in turn."""

    asked: list[str] = field(default_factory=list)

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        self.asked.append(f"place {intent.side}")
        return await super().place(intent, instrument, quote)

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        self.asked.append(f"cancel {venue_order_id}")
        return await super().cancel(client_order_id, venue_order_id)

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        self.asked.append("book")
        # as long as a request takes, so that others come in between
        await asyncio.sleep(0.02)
        return await super().open_orders(symbol)

    async def instrument(self, symbol: str) -> Instrument:
        return replace(INSTRUMENT, market=self.market, symbol=symbol)


@pytest.fixture
def venue(house: House) -> Watched:
    house.venue = Watched()
    return house.venue


@pytest.fixture
def silent() -> TradeNotifier:
    return TradeNotifier(Redis(), "ko", enabled=False)


@pytest.fixture
async def second(house: House, venue: Watched, redis_server: LocalRedis) -> AsyncIterator[House]:
    """Another process of the same house: connections of its own, the same account."""
    engine, redis = open_engine(house.engine.url.render_as_string(hide_password=False)), open_redis(redis_server.url)
    yield House(engine, redis, venue, house.settings)
    await redis.aclose()
    await engine.dispose()


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


async def resolve(house: House, market: str = "upbit", now: datetime | None = None) -> dict[str, Any]:
    return await resolve_market(cast(Runtime, house), market, now or datetime.now(UTC))


async def sent(house: House, market: str = "upbit", symbol: str = "KRW-BTC") -> JournalOrder:
    """An order that was sent and is not proven, of an exit, which needs no analysis."""
    wanted = Exit(ExitKind.STOP_LOSS, Decimal(1), QUOTE.price, QUOTE.price, Decimal(0), "test")
    of = await begin(house.engine, market=market, symbol=symbol, exit=wanted, average_price=QUOTE.price)
    intent = OrderIntent(
        f"test-{symbol}", market, symbol, Side.SELL, Decimal(1), Decimal(100_000), "KRW", TimeInForce.GTC
    )
    order = await orders.plan(house.engine, intent, origin=Origin(exit_id=of.id))
    assert await orders.claim(house.engine, order.id)
    return await orders.get(house.engine, order.id)


async def resting(house: House, market: str = "upbit", symbol: str = "KRW-BTC") -> JournalOrder:
    """An order of ours in the venue's book, and the book that shows it."""
    order = await sent(house, market, symbol)
    order = await orders.record(house.engine, order.id, Placement("v1", OrderState.ACCEPTED))
    intent = order.intent
    house.venue.book.append(
        OpenOrder("v1", intent.client_order_id, symbol, intent.side, Decimal(1), Decimal(0), intent.price, "KRW", NOW)
    )
    return order


async def state(house: House, order: JournalOrder) -> OrderState:
    return (await orders.get(house.engine, order.id)).state


async def told(house: House) -> list[tuple[Claim, Contents]]:
    """All messages that wait in the ledger, each once however often it was told."""
    ledger, found = Ledger(house.redis), []
    while isinstance(claim := await ledger.claim(list(Chat)), Claim):
        found.append((claim, read_payload(claim.payload)))
    assert isinstance(claim, Idle)
    return found


async def bought_below(house: House, silent: TradeNotifier) -> Analysed:
    """A ladder of three buys that all rest."""
    house.venue.replies = [Placement(f"buy{number}", OrderState.ACCEPTED) for number in (1, 2, 3)]
    first = await stored(house, replace(BUY, ranges=DOWNWARDS))
    assert await go(house, silent, first) == "order_accepted"
    return first


async def test_a_sale_takes_the_resting_buys_out_before_it_sells(
    house: House, venue: Watched, silent: TradeNotifier, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, THREE)
    buys = await bought_below(house, silent)
    venue.held = Position(Decimal(1), Decimal(90_000))
    venue.asked.clear()
    assert await go(house, silent, await stored(house, SELL, hours=1)) == "order_filled"
    assert await states(house, buys) == ["cancelled"] * 3
    assert sorted(venue.asked[:3]) == ["cancel buy1", "cancel buy2", "cancel buy3"]
    assert set(venue.asked[3:]) == {"place sell"}
    assert await orders.resting(house.engine, "upbit", "KRW-BTC") == []


async def test_a_sale_that_is_not_made_leaves_the_resting_buys_alone(
    house: House, venue: Watched, silent: TradeNotifier, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, THREE)
    buys = await bought_below(house, silent)
    venue.asked.clear()
    assert await go(house, silent, await stored(house, SELL, hours=1)) == "nothing_to_sell"
    assert (await states(house, buys), venue.asked) == (["accepted"] * 3, [])


async def test_a_buy_leaves_the_resting_sells_alone(house: House, venue: Watched, silent: TradeNotifier) -> None:
    sell = await resting(house)
    assert await go(house, silent, await stored(house)) == "order_filled"
    assert venue.asked == ["place buy"]
    assert await state(house, sell) is OrderState.ACCEPTED


@pytest.mark.parametrize(("accepted", "outcome"), [(0, "order_rejected"), (1, "order_accepted"), (2, "order_accepted")])
async def test_a_rung_that_the_venue_rejects_ends_the_ladder(
    house: House, venue: Watched, silent: TradeNotifier, tmp_path: Path, accepted: int, outcome: str
) -> None:
    house.settings = settings(tmp_path, THREE)
    venue.replies = [
        *(Placement(f"v{number}", OrderState.ACCEPTED) for number in range(accepted)),
        Placement(None, OrderState.REJECTED, reason="insufficient_funds_bid"),
    ]
    analysed = await stored(house, replace(BUY, ranges=DOWNWARDS))
    assert await go(house, silent, analysed) == outcome
    assert venue.asked == ["place buy"] * (accepted + 1)
    # nor does the same task, delivered again, go on with the further ones
    assert await go(house, silent, analysed) == outcome
    assert len(venue.sent) == accepted + 1
    assert await states(house, analysed) == ["accepted"] * accepted + ["rejected"]


async def test_a_rung_without_an_answer_ends_the_ladder(
    house: House, venue: Watched, silent: TradeNotifier, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, THREE)
    venue.absence = Absence(9, 0.0)
    venue.replies = [Placement("v1", OrderState.ACCEPTED), TimedOut("upbit: no answer")]
    analysed = await stored(house, replace(BUY, ranges=DOWNWARDS))
    with pytest.raises(TimedOut):
        await go(house, silent, analysed)
    assert await go(house, silent, analysed) == "blocked_by_unproven_order"
    assert len(venue.sent) == 2
    assert await states(house, analysed) == ["accepted", "unknown"]


async def test_what_has_rested_too_long_is_cancelled_also_where_the_market_is_not_armed(
    house: House, venue: Watched, silent: TradeNotifier, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, {"all": {**STRATEGY["all"], "max_order_age": "1h"}}, **LIVE_UPBIT)
    assert await armings.in_force(house.engine, datetime.now(UTC)) == []
    order = await resting(house)
    await resolve(house, now=datetime.now(UTC) + timedelta(minutes=59))
    assert (await state(house, order), "cancel v1" in venue.asked) == (OrderState.ACCEPTED, False)
    await house.redis.delete(BOOK_KEY.format(market="upbit"))
    await resolve(house, now=datetime.now(UTC) + timedelta(minutes=61))
    assert (await state(house, order), "cancel v1" in venue.asked) == (OrderState.CANCELLED, True)
    # while nothing new is sent
    assert await go(house, silent, await stored(house)) == "not_armed"
    assert venue.sent == []


async def test_an_order_that_stays_unproven_is_told_once_in_the_error_chat(
    house: House, second: House, venue: Watched
) -> None:
    venue.absence = Absence(99, 0.0)
    order = await sent(house)
    assert UNPROVEN_SECONDS == 60
    await resolve(house, now=order.created_at + timedelta(seconds=60))
    assert await Ledger(house.redis).depth() == 0
    for seconds in (61, 66, 3_600):
        now = order.created_at + timedelta(seconds=seconds)
        await asyncio.gather(*(resolve(one, now=now) for one in (house, second)))
        assert await Ledger(house.redis).depth() == 1
    assert await state(house, order) is OrderState.UNKNOWN
    [(claim, contents)] = await told(house)
    assert (contents.message.chat, contents.kind, contents.symbol) == (Chat.ERROR, "order_unproven", "KRW-BTC")
    assert order.intent.client_order_id in claim.fingerprint
    assert "KRW-BTC" in contents.message.text
    assert venue.sent == []


async def test_an_order_that_is_proven_in_time_is_not_told_as_unproven(house: House, venue: Watched) -> None:
    order = await sent(house)
    venue.truth[order.intent.client_order_id] = Placement("v1", OrderState.ACCEPTED)
    await resolve(house, now=order.created_at + timedelta(seconds=59))
    await resolve(house, now=order.created_at + timedelta(seconds=99))
    assert [contents for _, contents in await told(house) if contents.message.chat == Chat.ERROR] == []


async def test_the_book_is_read_once_in_15_seconds_by_all_processes_together(
    house: House, second: House, venue: Watched
) -> None:
    await resting(house)
    await asyncio.gather(*(resolve(one) for one in (house, second) for _ in range(6)))
    assert venue.asked == ["book"]
    left = await house.redis.pttl(BOOK_KEY.format(market="upbit"))
    assert BOOK_SECONDS == 15
    assert 0 < left <= 15_000
    # once that time is over one of them looks again
    await house.redis.pexpire(BOOK_KEY.format(market="upbit"), 1)
    await asyncio.sleep(0.05)
    await asyncio.gather(*(resolve(one) for one in (second, house) for _ in range(6)))
    assert venue.asked == ["book", "book"]


async def test_a_look_at_the_book_that_failed_is_not_repeated_at_once_either(house: House, venue: Watched) -> None:
    order = await resting(house)

    async def away(symbol: str | None = None) -> list[OpenOrder]:
        venue.asked.append("book")
        raise TimedOut("upbit: no answer")

    venue.open_orders = away  # type: ignore[method-assign]
    with pytest.raises(TimedOut):
        await resolve(house)
    await resolve(house)
    assert venue.asked == ["book"]
    assert await state(house, order) is OrderState.ACCEPTED


async def test_one_markets_book_does_not_wait_for_anothers(house: House, venue: Watched, tmp_path: Path) -> None:
    house.settings = settings(tmp_path, dict(STRATEGY), **(LIVE_UPBIT | LIVE_KIS))
    await resolve(house, "upbit", KRX_OPEN)
    await resolve(house, "kis", KRX_OPEN)
    assert venue.asked == ["book", "book"]


async def test_the_book_of_a_live_market_is_read_in_its_session_and_else_where_something_rests(
    house: House, venue: Watched, tmp_path: Path
) -> None:
    house.settings = settings(tmp_path, dict(STRATEGY), **LIVE_KIS)
    venue.market = "kis"
    await resolve(house, "kis", KRX_CLOSED)
    assert venue.asked == []
    assert await house.redis.exists(BOOK_KEY.format(market="kis")) == 0
    # others may order in the account while the market is open
    await resolve(house, "kis", KRX_OPEN)
    assert venue.asked == ["book"]
    await house.redis.delete(BOOK_KEY.format(market="kis"))
    order = await resting(house, "kis", "005930")
    await resolve(house, "kis", KRX_CLOSED)
    assert venue.asked == ["book", "book"]
    assert await state(house, order) is OrderState.ACCEPTED


async def test_the_book_of_a_paper_account_is_read_only_where_something_rests(house: House, venue: Watched) -> None:
    await resolve(house)
    assert venue.asked == []
    await resting(house)
    await resolve(house)
    assert venue.asked == ["book"]
