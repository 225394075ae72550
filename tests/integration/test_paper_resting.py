"""Orders that rest in the paper book fill at their own price, once per quote, out of what they have reserved; and
whatever is done to an account, in whatever order, its books add up to the last digit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.engine import open_engine
from trading.types import (
    Holdings,
    Instrument,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    Quote,
    Side,
    TimeInForce,
)
from workers.errors import TimedOut
from workers.paper.broker import PaperBroker
from workers.ports import Absence

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
BTC = Instrument(
    market="upbit",
    symbol="KRW-BTC",
    name="Bitcoin",
    asset_type="crypto",
    currency="KRW",
    quantity_step=Decimal("0.00000001"),
    min_order_value=Decimal(500),
    fee_rate=Decimal("0.0005"),
)
ETH = replace(BTC, symbol="KRW-ETH", name="Ethereum")
OPENING = Decimal(10_000)


class Venue:
    """The market outside: a clock the test moves, the quotes of that moment, and who asked for them."""

    def __init__(self) -> None:
        self.time = NOW
        self.quotes: dict[str, Quote] = {}
        self.fault: TimedOut | None = None
        self.asked: list[str] = []
        for symbol in ("KRW-BTC", "KRW-ETH"):
            self.show(symbol, bid=990, ask=1010)

    def now(self) -> datetime:
        return self.time

    def show(self, symbol: str = "KRW-BTC", *, bid: int, ask: int, size: str | None = None) -> Quote:
        """A new quote, a second after the last."""
        self.time += timedelta(seconds=1)
        units = None if size is None else Decimal(size)
        middle = Decimal(bid + ask) / 2
        quote = Quote(symbol, middle, Decimal(bid), Decimal(ask), Decimal(10), self.time, units, units)
        self.quotes[symbol] = quote
        return quote

    async def quote(self, symbol: str) -> Quote:
        self.asked.append(symbol)
        if self.fault is not None:
            raise self.fault
        return self.quotes[symbol]


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(emptied_database_url, pool_size=20, application_name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
def venue() -> Venue:
    return Venue()


def paper(engine: AsyncEngine, venue: Venue, market: str = "upbit") -> PaperBroker:
    return PaperBroker(engine, market, opening_cash={"KRW": OPENING}, quotes=venue.quote, now=venue.now)


@pytest.fixture
def broker(engine: AsyncEngine, venue: Venue) -> PaperBroker:
    return paper(engine, venue)


def gtc(name: str, side: Side, quantity: str, price: int, symbol: str = "KRW-BTC") -> OrderIntent:
    return OrderIntent(name, "upbit", symbol, side, Decimal(quantity), Decimal(price), "KRW", TimeInForce.GTC)


async def place(broker: PaperBroker, venue: Venue, intent: OrderIntent) -> Placement:
    instrument = ETH if intent.symbol == "KRW-ETH" else BTC
    return await broker.place(intent, instrument, venue.quotes[intent.symbol])


def shown(placement: Placement | None) -> tuple[OrderState, list[tuple[str, str]]]:
    """State and fills as (quantity, price)."""
    assert placement is not None
    return placement.state, [(f"{fill.quantity:f}", f"{fill.price:f}") for fill in placement.fills]


def names(orders: Iterable[OpenOrder]) -> list[str | None]:
    return [order.client_order_id for order in orders]


def test_one_look_proves_that_there_is_no_paper_order(broker: PaperBroker) -> None:
    assert broker.absence == Absence(looks=1, seconds=15.0)


async def test_what_does_not_cross_rests_until_the_quote_reaches_it(broker: PaperBroker, venue: Venue) -> None:
    placed = await place(broker, venue, gtc("b1", Side.BUY, "2", 950))
    assert placed == Placement("paper-b1", OrderState.ACCEPTED)
    assert await broker.open_orders() == [
        OpenOrder("paper-b1", "b1", "KRW-BTC", Side.BUY, Decimal(2), Decimal(0), Decimal(950), "KRW", venue.time)
    ]
    venue.show(bid=950, ask=960)
    assert (await broker.find("b1")) == placed
    venue.show(bid=900, ask=910)
    found = await broker.find("b1")
    # at its own price: it was in the book before the sellers came down to it
    assert shown(found) == (OrderState.FILLED, [("2", "950")])
    assert found is not None
    assert (found.fills[0].trade_id, found.fills[0].fee, found.fills[0].at) == (
        "paper-b1-1",
        Decimal("0.95"),
        venue.time,
    )
    assert await broker.open_orders() == []


async def test_a_resting_sell_fills_at_its_limit_when_the_bid_reaches_it(broker: PaperBroker, venue: Venue) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "2", 1010))
    assert (await place(broker, venue, gtc("s1", Side.SELL, "2", 1050))).state is OrderState.ACCEPTED
    venue.show(bid=1100, ask=1110)
    assert shown(await broker.find("s1")) == (OrderState.FILLED, [("2", "1050")])
    holdings = await broker.holdings()
    assert holdings == Holdings("KRW", OPENING - Decimal("2021.01") + Decimal("2098.95"), {})


async def test_the_part_that_crosses_trades_at_once_and_the_rest_rests(broker: PaperBroker, venue: Venue) -> None:
    venue.show(bid=990, ask=1010, size="1.5")
    placed = await place(broker, venue, gtc("b1", Side.BUY, "5", 1020))
    assert shown(placed) == (OrderState.PARTLY_FILLED, [("1.5", "1010")])
    assert placed.reason is None
    assert (await broker.open_orders("KRW-BTC"))[0].filled == Decimal("1.5")
    venue.show(bid=990, ask=1020, size="10")
    found = await broker.find("b1")
    assert shown(found) == (OrderState.FILLED, [("1.5", "1010"), ("3.5", "1020")])
    assert found is not None
    assert [fill.trade_id for fill in found.fills] == ["paper-b1-1", "paper-b1-2"]


async def test_a_quote_fills_an_order_once_however_often_and_from_where_it_is_seen(
    engine: AsyncEngine, broker: PaperBroker, venue: Venue
) -> None:
    venue.show(bid=990, ask=1010, size="1")
    await place(broker, venue, gtc("b1", Side.BUY, "5", 1010))
    for _ in range(3):
        await broker.holdings()
        await paper(engine, venue).find("b1")
    assert shown(await broker.find("b1")) == (OrderState.PARTLY_FILLED, [("1", "1010")])
    # the same moment with more on offer is no new quote to this order
    venue.quotes["KRW-BTC"] = replace(venue.quotes["KRW-BTC"], ask_size=Decimal(9))
    assert shown(await broker.find("b1")) == (OrderState.PARTLY_FILLED, [("1", "1010")])
    venue.show(bid=990, ask=1010, size="1")
    assert shown(await broker.find("b1")) == (OrderState.PARTLY_FILLED, [("1", "1010"), ("1", "1010")])


async def test_a_quote_whose_clock_is_ahead_is_not_used_twice(broker: PaperBroker, venue: Venue) -> None:
    ahead = replace(venue.show(bid=990, ask=1010, size="1"), at=venue.time + timedelta(seconds=30))
    venue.quotes["KRW-BTC"] = ahead
    await place(broker, venue, gtc("b1", Side.BUY, "5", 1010))
    venue.time += timedelta(seconds=5)
    assert len((await broker.find("b1") or Placement(None, OrderState.UNKNOWN)).fills) == 1


async def test_a_quote_from_before_the_order_fills_nothing(broker: PaperBroker, venue: Venue) -> None:
    old = venue.show(bid=900, ask=910)
    fresh = venue.show(bid=990, ask=1010)
    await broker.place(gtc("b1", Side.BUY, "1", 950), BTC, fresh)
    venue.quotes["KRW-BTC"] = old
    assert shown(await broker.find("b1")) == (OrderState.ACCEPTED, [])


async def test_the_best_price_and_then_the_oldest_order_takes_what_is_on_offer(
    broker: PaperBroker, venue: Venue
) -> None:
    for name, price in (("low", 950), ("old", 960), ("young", 960)):
        await place(broker, venue, gtc(name, Side.BUY, "2", price))
        venue.show(bid=990, ask=1010)
    venue.show(bid=900, ask=910, size="3")
    assert names(await broker.open_orders()) == ["low", "young"]
    assert shown(await broker.find("old")) == (OrderState.FILLED, [("2", "960")])
    assert shown(await broker.find("young")) == (OrderState.PARTLY_FILLED, [("1", "960")])
    assert shown(await broker.find("low")) == (OrderState.ACCEPTED, [])


async def test_what_rests_goes_before_a_new_order(broker: PaperBroker, venue: Venue) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "2", 960))
    venue.show(bid=940, ask=950, size="3")
    assert shown(await place(broker, venue, gtc("b2", Side.BUY, "2", 970))) == (
        OrderState.PARTLY_FILLED,
        [("1", "950")],
    )
    assert shown(await broker.find("b1")) == (OrderState.FILLED, [("2", "960")])


async def test_resting_buys_reserve_cash_with_their_fee(broker: PaperBroker, venue: Venue) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "8", 900))
    need = Decimal("7203.6")
    assert (await broker.account(BTC)).cash == OPENING - need
    assert (await broker.account(ETH)).cash == OPENING - need
    assert await broker.holdings() == Holdings("KRW", OPENING, {})
    other = await place(broker, venue, gtc("b2", Side.BUY, "4", 900, "KRW-ETH"))
    assert other.reason == "insufficient_funds: balance 2796.4 KRW, need 3601.8 KRW"
    cancelled = await broker.cancel("b1")
    assert cancelled == Placement("paper-b1", OrderState.CANCELLED, (), "cancelled: on request, nothing had traded")
    assert (await broker.account(BTC)).cash == OPENING
    again = await place(broker, venue, replace(gtc("b3", Side.BUY, "4", 900, "KRW-ETH")))
    assert again.state is OrderState.ACCEPTED


async def test_resting_sells_reserve_units(broker: PaperBroker, venue: Venue) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "3", 1010))
    await place(broker, venue, gtc("s1", Side.SELL, "2", 1100))
    average = Decimal("1010.505")
    assert (await broker.account(BTC)).position == Position(Decimal(1), average)
    holdings = await broker.holdings()
    assert holdings is not None
    assert holdings.positions == {"KRW-BTC": Position(Decimal(3), average)}
    refused = await place(broker, venue, gtc("s2", Side.SELL, "2", 1100))
    assert refused.reason == "insufficient_position: balance 1 KRW-BTC, need 2"
    await broker.cancel("s1")
    assert (await place(broker, venue, gtc("s3", Side.SELL, "3", 1100))).state is OrderState.ACCEPTED
    assert (await broker.account(BTC)).position == Position(Decimal(0), average)


async def test_a_part_filled_order_is_cancelled_with_its_fills(broker: PaperBroker, venue: Venue) -> None:
    venue.show(bid=990, ask=1010, size="3")
    placed = await place(broker, venue, gtc("b1", Side.BUY, "9", 1010))
    cancelled = await broker.cancel("b1")
    assert cancelled == Placement(
        "paper-b1", OrderState.CANCELLED, placed.fills, "partly_filled: 3 of 9 traded, the rest is cancelled"
    )
    assert await broker.cancel("b1") == cancelled
    assert (await broker.account(BTC)).cash == OPENING - Decimal("3031.515")


async def test_a_cancellation_that_comes_too_late_says_filled(broker: PaperBroker, venue: Venue) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "1", 950))
    venue.show(bid=900, ask=910)
    assert shown(await broker.cancel("b1")) == (OrderState.FILLED, [("1", "950")])


async def test_a_rejected_order_stays_so_when_it_is_cancelled(broker: PaperBroker, venue: Venue) -> None:
    rejected = await place(broker, venue, gtc("s1", Side.SELL, "1", 1100))
    assert rejected.state is OrderState.REJECTED
    assert await broker.cancel("s1") == rejected


async def test_an_order_of_nobody_or_of_another_market_cannot_be_cancelled(
    engine: AsyncEngine, broker: PaperBroker, venue: Venue
) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "1", 950))
    other = paper(engine, venue, "kis")
    for asked, name in ((broker, "nothing"), (other, "b1")):
        assert await asked.find(name) is None
        with pytest.raises(ValueError, match=f"no such order: {name}"):
            await asked.cancel(name)
    assert await other.open_orders() == []
    with pytest.raises(ValueError, match="is one of upbit"):
        await other.place(replace(gtc("b1", Side.BUY, "1", 950), market="kis"), BTC, venue.quotes["KRW-BTC"])


async def test_the_same_order_again_returns_the_placement_as_it_is_now(broker: PaperBroker, venue: Venue) -> None:
    intent = gtc("b1", Side.BUY, "1", 950)
    first = await place(broker, venue, intent)
    assert await place(broker, venue, intent) == first
    venue.show(bid=900, ask=910)
    found = await broker.find("b1")
    assert shown(await place(broker, venue, intent)) == shown(found) == (OrderState.FILLED, [("1", "950")])


async def test_a_venue_that_fails_leaves_the_book_as_it_is_and_says_so(
    broker: PaperBroker, venue: Venue, caplog: pytest.LogCaptureFixture
) -> None:
    placed = await place(broker, venue, gtc("b1", Side.BUY, "1", 950))
    crossing = venue.show(bid=900, ask=910)
    caplog.set_level(logging.WARNING, "workers.paper.broker")
    venue.fault = TimedOut("upbit orderbook KRW-BTC: no answer")
    assert await broker.find("b1") == placed
    venue.fault = None
    venue.quotes["KRW-BTC"] = replace(crossing, ask=Decimal("NaN"))
    assert names(await broker.open_orders()) == ["b1"]
    venue.quotes["KRW-BTC"] = crossing
    venue.time += timedelta(seconds=61)
    assert names(await broker.open_orders()) == ["b1"]
    assert (await broker.holdings()) == Holdings("KRW", OPENING, {})
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert all(line.startswith("paper upbit: KRW-BTC: the book stays as it is: ") for line in said)
    for line, fault in zip(said, ("no answer", "bad_quote", "stale_quote: 61 s old"), strict=True):
        assert fault in line
    # none of them keeps an order from being cancelled
    assert (await broker.cancel("b1")).state is OrderState.CANCELLED


async def test_only_a_look_at_resting_orders_asks_the_venue_and_only_for_their_symbols(
    broker: PaperBroker, venue: Venue
) -> None:
    await broker.account(BTC)
    await broker.holdings()
    await broker.open_orders()
    await place(broker, venue, gtc("b1", Side.BUY, "1", 1010))
    await broker.find("b1")
    assert venue.asked == []
    await place(broker, venue, gtc("b2", Side.BUY, "1", 950, "KRW-ETH"))
    await broker.account(BTC)
    await broker.open_orders("KRW-BTC")
    assert venue.asked == []
    await broker.account(ETH)
    await broker.holdings()
    assert venue.asked == []
    await broker.open_orders()
    assert venue.asked == ["KRW-ETH"]


async def test_a_broker_without_quotes_matches_only_what_it_is_given(engine: AsyncEngine, venue: Venue) -> None:
    broker = PaperBroker(engine, "upbit", opening_cash={"KRW": OPENING}, now=venue.now)
    placed = await place(broker, venue, gtc("b1", Side.BUY, "1", 950))
    venue.show(bid=900, ask=910)
    assert await broker.find("b1") == placed
    await place(broker, venue, gtc("b2", Side.BUY, "1", 800))
    assert shown(await broker.find("b1")) == (OrderState.FILLED, [("1", "950")])


async def test_no_lock_and_no_connection_is_held_while_the_venue_is_asked(engine: AsyncEngine, venue: Venue) -> None:
    seen = []

    async def quote(symbol: str) -> Quote:
        seen.append(engine.pool.checkedout())  # type: ignore[attr-defined]
        async with engine.begin() as connection:
            await connection.execute(text("SELECT 1 FROM paper_accounts FOR UPDATE NOWAIT"))
            await connection.execute(text("SELECT 1 FROM paper_orders FOR UPDATE NOWAIT"))
        return venue.quotes[symbol]

    broker = PaperBroker(engine, "upbit", opening_cash={"KRW": OPENING}, quotes=quote, now=venue.now)
    await place(broker, venue, gtc("b1", Side.BUY, "1", 950))
    await broker.find("b1")
    await broker.open_orders()
    await broker.cancel("b1")
    assert seen == [0] * 3


async def test_concurrent_orders_never_reserve_more_than_there_is(engine: AsyncEngine, venue: Venue) -> None:
    """Twenty orders of 1,000.5 with their fee, of two worker processes: nine fit into 10,000."""
    brokers = [paper(engine, venue) for _ in range(2)]
    orders = [gtc(f"b{n}", Side.BUY, "1", 1000, ("KRW-BTC", "KRW-ETH")[n % 2]) for n in range(20)]
    placed = await asyncio.gather(*(place(brokers[n // 2 % 2], venue, order) for n, order in enumerate(orders)))
    states = [word.state for word in placed]
    assert (states.count(OrderState.ACCEPTED), states.count(OrderState.REJECTED)) == (9, 11)
    assert (await brokers[0].account(BTC)).cash == OPENING - 9 * Decimal("1000.5")
    for symbol in ("KRW-BTC", "KRW-ETH"):
        venue.show(symbol, bid=900, ask=910)
    assert await brokers[1].open_orders() == []
    holdings = await brokers[1].holdings()
    assert holdings is not None
    assert holdings.cash == OPENING - 9 * Decimal("1000.5")
    assert sum(position.quantity for position in holdings.positions.values()) == 9


async def test_many_who_look_at_once_see_one_fill(engine: AsyncEngine, broker: PaperBroker, venue: Venue) -> None:
    await place(broker, venue, gtc("b1", Side.BUY, "5", 950))
    venue.show(bid=900, ask=910, size="2")
    brokers = [paper(engine, venue) for _ in range(3)]
    words = await asyncio.gather(*(brokers[n % 3].find("b1") for n in range(12)))
    assert {shown(word)[0] for word in words} == {OrderState.PARTLY_FILLED}
    assert shown(await broker.find("b1"))[1] == [("2", "950")]


async def test_a_cancellation_and_a_fill_at_once_end_in_one_of_the_two(
    engine: AsyncEngine, broker: PaperBroker, venue: Venue
) -> None:
    for n in range(5):
        await place(broker, venue, gtc(f"b{n}", Side.BUY, "1", 950))
    venue.show(bid=900, ask=910, size="2")
    await asyncio.gather(*(paper(engine, venue).cancel(f"b{n}") for n in range(5)), broker.holdings())
    words = [await broker.find(f"b{n}") for n in range(5)]
    assert sorted(shown(word)[0] for word in words) == [OrderState.CANCELLED] * 3 + [OrderState.FILLED] * 2
    assert (await broker.account(BTC)).cash == OPENING - 2 * Decimal("950.475")


T = TypeVar("T")

BOOKS_CASH = Decimal(20_000)
FEE_RATE = Decimal("0.0015")
SYMBOLS = ("AAA", "BBB")
ENDED = {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED}

# few prices and small sizes, so that limits are met and depth runs out
prices = st.sampled_from([Decimal(price) for price in (980, 990, 1000, 1010, 1020)])
sizes = st.sampled_from([Decimal("1.25"), Decimal("0.5"), Decimal(3), Decimal(0), None])
quantities = st.sampled_from([Decimal(units) for units in ("2.5", "1.03", "4", "9", "0.5")])


class Accounts(RuleBasedStateMachine):
    """One account, two worker processes that trade in it, and a market that moves."""

    runner: asyncio.Runner
    engine: AsyncEngine
    reader: asyncpg.Connection
    seen: set[str]

    def __init__(self) -> None:
        super().__init__()
        self.market = f"m{uuid4().hex}"
        self.time = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
        self.quotes: dict[str, Quote] = {}
        self.history: list[Quote] = []
        self.down = False
        self.sent: list[OrderIntent] = []
        self.ended: dict[str, Placement] = {}
        self.brokers = [
            PaperBroker(
                self.engine,
                self.market,
                opening_cash={"KRW": BOOKS_CASH},
                quotes=self.quote,
                tick_size=lambda instrument, price: Decimal(10),
                now=lambda: self.time,
            )
            for _ in range(2)
        ]

    async def quote(self, symbol: str) -> Quote:
        if self.down:
            raise TimedOut(f"test quote {symbol}: no answer")
        return self.quotes[symbol]

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def instrument(self, symbol: str) -> Instrument:
        return Instrument(
            self.market, symbol, symbol, "equity_kr", "KRW", Decimal("0.01"), Decimal(10), fee_rate=FEE_RATE
        )

    def learn(self, name: str, word: Placement | None) -> None:
        """What has ended never changes again."""
        if word is not None and word.state in ENDED:
            assert self.ended.setdefault(name, word) == word

    def not_ended(self) -> list[str]:
        return [intent.client_order_id for intent in self.sent if intent.client_order_id not in self.ended]

    @initialize()
    def open_market(self) -> None:
        for symbol in SYMBOLS:
            self.move(symbol, Decimal(990), 2, None, None, 0)
            self.place(0, symbol, Side.BUY, TimeInForce.IOC, Decimal(5), Decimal(1010))

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        bid=prices,
        spread=st.integers(0, 3),
        bid_size=sizes,
        ask_size=sizes,
        lead=st.integers(-1, 1),
    )
    def move(
        self, symbol: str, bid: Decimal, spread: int, bid_size: Decimal | None, ask_size: Decimal | None, lead: int
    ) -> None:
        """A new quote, whose clock may be ahead of ours or behind."""
        self.time += timedelta(seconds=5)
        at = self.time + timedelta(seconds=lead)
        quote = Quote(symbol, bid, bid, bid + 10 * spread, Decimal(10), at, bid_size, ask_size)
        self.quotes[symbol] = quote
        self.history.append(quote)

    @rule(bids=st.tuples(prices, prices), size=sizes, worker=st.integers(0, 1))
    def tick(self, bids: tuple[Decimal, Decimal], size: Decimal | None, worker: int) -> None:
        """The market moves and somebody looks."""
        for symbol, bid in zip(SYMBOLS, bids, strict=True):
            self.move(symbol, bid, 1, size, size, 0)
        self.run(self.brokers[worker].open_orders())

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.down = down

    @rule(
        worker=st.integers(0, 1),
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(Side),
        quantity=quantities,
        price=prices,
    )
    def rest(self, worker: int, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
        self.place(worker, symbol, side, TimeInForce.GTC, quantity, price)

    @rule(worker=st.integers(0, 1), symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(Side), quantity=quantities)
    def take(self, worker: int, symbol: str, side: Side, quantity: Decimal) -> None:
        quote = self.quotes[symbol]
        limit = quote.ask if side is Side.BUY else quote.bid
        self.place(worker, symbol, side, TimeInForce.IOC, quantity, limit)

    def place(
        self, worker: int, symbol: str, side: Side, time_in_force: TimeInForce, quantity: Decimal, price: Decimal
    ) -> None:
        name = f"{self.market}-{len(self.sent)}"
        intent = OrderIntent(name, self.market, symbol, side, quantity, price, "KRW", time_in_force)
        self.sent.append(intent)
        word = self.run(self.brokers[worker].place(intent, self.instrument(symbol), self.quotes[symbol]))
        assert time_in_force is TimeInForce.GTC or word.state in ENDED
        self.learn(name, word)

    @precondition(lambda self: self.sent)
    @rule(worker=st.integers(0, 1), data=st.data())
    def place_again(self, worker: int, data: st.DataObject) -> None:
        intent = data.draw(st.sampled_from(self.sent))
        symbol = intent.symbol
        changed = replace(intent, quantity=intent.quantity + 1)
        word = self.run(self.brokers[worker].place(changed, self.instrument(symbol), self.quotes[symbol]))
        self.learn(intent.client_order_id, word)

    @precondition(lambda self: self.sent)
    @rule(worker=st.integers(0, 1), data=st.data())
    def find(self, worker: int, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.sent)).client_order_id
        self.learn(name, self.run(self.brokers[worker].find(name)))

    @precondition(lambda self: self.not_ended())
    @rule(worker=st.integers(0, 1), data=st.data())
    def cancel(self, worker: int, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.not_ended()))
        word = self.run(self.brokers[worker].cancel(name))
        assert word.state in ENDED
        self.learn(name, word)

    @precondition(lambda self: self.not_ended())
    @rule(data=st.data())
    def look_from_everywhere(self, data: st.DataObject) -> None:
        """A worker cancels while the others look."""
        name = data.draw(st.sampled_from(self.not_ended()))
        one, other = self.brokers

        async def all_at_once() -> Placement:
            cancelled, *_ = await asyncio.gather(
                one.cancel(name), other.holdings(), other.find(name), one.open_orders()
            )
            return cancelled

        self.learn(name, self.run(all_at_once()))

    @invariant()
    def the_books_add_up(self) -> None:
        account, orders, fills, positions = self.run(self.read())
        if account is None:
            assert not orders
            return
        flows, reserved = Decimal(0), Decimal(0)
        units, reserved_units = dict.fromkeys(SYMBOLS, Decimal(0)), dict.fromkeys(SYMBOLS, Decimal(0))
        for order in orders:
            self.seen.add(
                f"{order['time_in_force']} {order['state']} {(order['reason'] or '').partition(':')[0]}".strip()
            )
            buys = order["side"] == "buy"
            own = [fill for fill in fills if fill["client_order_id"] == order["client_order_id"]]
            assert [fill["trade_id"] for fill in own] == [
                f"paper-{order['client_order_id']}-{n}" for n in range(1, len(own) + 1)
            ]
            assert order["filled_quantity"] == sum(fill["quantity"] for fill in own)
            for fill in own:
                assert fill["price"] <= order["price"] if buys else fill["price"] >= order["price"]
                assert fill["fee"] == fill["price"] * fill["quantity"] * FEE_RATE
                value = fill["price"] * fill["quantity"]
                flows += -value - fill["fee"] if buys else value - fill["fee"]
                units[order["symbol"]] += fill["quantity"] if buys else -fill["quantity"]
            if order["state"] in ("accepted", "partly_filled"):
                rest = order["quantity"] - order["filled_quantity"]
                if buys:
                    reserved += rest * order["price"] * (1 + FEE_RATE)
                else:
                    reserved_units[order["symbol"]] += rest
        assert account["cash"] == BOOKS_CASH + flows
        assert 0 <= reserved <= account["cash"]
        held = {row["symbol"]: row["quantity"] for row in positions}
        for symbol in SYMBOLS:
            assert held.get(symbol, 0) == units[symbol]
            assert 0 <= reserved_units[symbol] <= units[symbol]
        self.check_told(account["cash"], reserved, units, reserved_units)
        self.check_depth(orders, fills)

    def check_told(
        self, cash: Decimal, reserved: Decimal, units: dict[str, Decimal], reserved_units: dict[str, Decimal]
    ) -> None:
        """What the broker says is what the tables say. Without quotes: an invariant must not trade."""
        broker = PaperBroker(self.engine, self.market, opening_cash={"KRW": BOOKS_CASH})
        for symbol in SYMBOLS:
            account = self.run(broker.account(self.instrument(symbol)))
            assert account.cash == cash - reserved
            assert account.position.quantity == units[symbol] - reserved_units[symbol]
        holdings = self.run(broker.holdings())
        assert holdings is not None
        assert holdings.cash == cash
        assert {symbol: held.quantity for symbol, held in holdings.positions.items()} == {
            symbol: held for symbol, held in units.items() if held
        }

    def check_depth(self, orders: list[asyncpg.Record], fills: list[asyncpg.Record]) -> None:
        """Between one quote and the next never more is traded than the quote shows."""
        by_id = {order["client_order_id"]: order for order in orders}
        for symbol in SYMBOLS:
            shown = [quote for quote in self.history if quote.symbol == symbol]
            ends = [later.at for _, later in pairwise(shown)] + [datetime.max.replace(tzinfo=UTC)]
            for quote, end in zip(shown, ends, strict=True):
                for side, size in ((Side.BUY, quote.ask_size), (Side.SELL, quote.bid_size)):
                    traded = sum(
                        fill["quantity"]
                        for fill in fills
                        if quote.at <= fill["at"] < end
                        and by_id[fill["client_order_id"]]["symbol"] == symbol
                        and by_id[fill["client_order_id"]]["side"] == side.value
                    )
                    assert size is None or traded <= size

    async def read(self) -> tuple[Any, list[Any], list[Any], list[Any]]:
        account = await self.reader.fetchrow("SELECT * FROM paper_accounts WHERE market = $1", self.market)
        orders = await self.reader.fetch("SELECT * FROM paper_orders WHERE market = $1", self.market)
        fills = await self.reader.fetch(
            "SELECT f.* FROM paper_fills f JOIN paper_orders o USING (client_order_id) WHERE o.market = $1 "
            "ORDER BY f.client_order_id, length(trade_id), trade_id",
            self.market,
        )
        positions = await self.reader.fetch("SELECT * FROM paper_positions WHERE market = $1", self.market)
        return account, orders, fills, positions


def test_the_books_add_up_whatever_is_done(module_database_url: str) -> None:
    url = make_url(module_database_url)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with asyncio.Runner() as runner:
        engine = open_engine(module_database_url, pool_size=8, application_name="test")
        reader = runner.run(asyncpg.connect(plain))
        try:
            seen: set[str] = set()
            opened = {"runner": runner, "engine": engine, "reader": reader, "seen": seen}
            machine = type("Accounts", (Accounts,), opened)
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=20,
                    stateful_step_count=20,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(reader.close())
            runner.run(engine.dispose())
    # or it would prove little
    assert seen >= {
        "gtc accepted",
        "gtc filled",
        "gtc cancelled cancelled",
        "gtc rejected insufficient_position",
        "ioc filled",
        "ioc cancelled partly_filled",
    }
