"""The paper venue treats an order as a real one would: once, at the quote, with fees, and never beyond the balance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.engine import open_engine
from trading.types import Account, Instrument, OrderIntent, OrderState, Placement, Position, Quote, Side, TimeInForce
from workers.errors import VenueError
from workers.paper import rules
from workers.paper.broker import Holdings, PaperBroker
from workers.ports import Broker

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
BTC = Instrument(
    market="upbit",
    symbol="KRW-BTC",
    name="Bitcoin",
    asset_type="crypto",
    currency="KRW",
    quantity_step=Decimal("0.00000001"),
    min_order_value=Decimal(5_000),
    fee_rate=Decimal("0.0005"),
)
QUOTE = Quote("KRW-BTC", Decimal(100_000), Decimal(99_900), Decimal(100_100), Decimal(100), NOW)


class Clock:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(emptied_database_url, pool_size=20, application_name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(engine: AsyncEngine, clock: Clock) -> PaperBroker:
    return PaperBroker(engine, "upbit", opening_cash={"KRW": Decimal(1_000_000), "USD": Decimal(1_000)}, now=clock)


def order(name: str, side: Side, quantity: str, price: int | str = 100_100, symbol: str = "KRW-BTC") -> OrderIntent:
    return OrderIntent(name, "upbit", symbol, side, Decimal(quantity), Decimal(price), "KRW")


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_the_paper_broker_is_a_broker(broker: PaperBroker) -> None:
    port: Broker = broker
    assert port is broker


async def test_an_account_opens_with_its_cash_once(broker: PaperBroker, engine: AsyncEngine) -> None:
    accounts = await asyncio.gather(*(broker.account(BTC) for _ in range(20)))
    assert set(accounts) == {Account("KRW", Decimal(1_000_000), Position(Decimal(0), Decimal(0)))}
    assert await count(engine, "paper_accounts") == 1


async def test_a_buy_that_reaches_the_ask_fills_whole_at_the_ask(broker: PaperBroker) -> None:
    placed = await broker.place(order("b1", Side.BUY, "2", 101_000), BTC, QUOTE)
    (fill,) = placed.fills
    assert (placed.state, placed.reason) == (OrderState.FILLED, None)
    assert (fill.quantity, fill.price, fill.fee, fill.at) == (2, 100_100, Decimal("100.1"), NOW)
    account = await broker.account(BTC)
    assert account.cash == Decimal("1000000") - Decimal("200200") - Decimal("100.1")
    assert account.position == Position(Decimal(2), Decimal("100150.05"))


async def test_a_sell_that_reaches_the_bid_fills_whole_at_the_bid(broker: PaperBroker) -> None:
    await broker.place(order("b1", Side.BUY, "2"), BTC, QUOTE)
    before = await broker.account(BTC)
    placed = await broker.place(order("s1", Side.SELL, "0.5", 99_000), BTC, QUOTE)
    (fill,) = placed.fills
    assert (fill.price, fill.fee) == (99_900, Decimal("24.975"))
    after = await broker.account(BTC)
    assert after.cash == before.cash + Decimal("49950") - Decimal("24.975")
    assert after.position == Position(Decimal("1.5"), before.position.average_price)


async def test_a_position_sold_off_is_gone(broker: PaperBroker) -> None:
    await broker.place(order("b1", Side.BUY, "0.3"), BTC, QUOTE)
    await broker.place(order("s1", Side.SELL, "0.3", 99_900), BTC, QUOTE)
    assert (await broker.account(BTC)).position == Position(Decimal(0), Decimal(0))
    holdings = await broker.holdings()
    assert holdings is not None
    assert holdings.positions == {}


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 100_000), (Side.SELL, 100_000)])
async def test_what_does_not_cross_is_cancelled(broker: PaperBroker, side: Side, price: int) -> None:
    await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)
    before = await broker.account(BTC)
    placed = await broker.place(order("x1", side, "1", price), BTC, QUOTE)
    assert (placed.state, placed.fills) == (OrderState.CANCELLED, ())
    assert placed.reason is not None
    assert placed.reason.startswith("not_crossed: ")
    assert await broker.account(BTC) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": Decimal(100_150)}, "off_tick: price 100150 is no multiple of 100"),
        ({"quantity": Decimal("0.123456789")}, "off_step: quantity 0.123456789 is no multiple of 0.00000001"),
        ({"quantity": Decimal("0.01")}, "below_minimum: value 1001 KRW, at least 5000 KRW needed"),
        ({"quantity": Decimal(10)}, "insufficient_funds: balance 1000000 KRW, need 1001500.5 KRW"),
        ({"side": Side.SELL}, "insufficient_position: balance 0 KRW-BTC, need 1"),
    ],
)
async def test_a_rejection_names_its_figures(
    broker: PaperBroker, engine: AsyncEngine, change: dict[str, object], reason: str
) -> None:
    wrong = replace(order("b1", Side.BUY, "1"), **change)
    placed = await broker.place(wrong, BTC, QUOTE)
    assert placed == Placement(None, OrderState.REJECTED, (), reason)
    assert await broker.find("b1") == placed
    assert (await broker.account(BTC)).cash == 1_000_000
    assert await count(engine, "paper_fills") == 0


@pytest.mark.parametrize("time_in_force", TimeInForce)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quantity": Decimal(0)}, "bad_quantity: 0"),
        ({"quantity": Decimal(-1)}, "bad_quantity: -1"),
        ({"quantity": Decimal("NaN")}, "bad_quantity: NaN"),
        ({"price": Decimal(-100)}, "bad_price: -100"),
        ({"price": Decimal("Infinity")}, "bad_price: Infinity"),
    ],
)
async def test_what_is_no_order_is_rejected_without_a_trace(
    broker: PaperBroker, change: dict[str, object], reason: str, time_in_force: TimeInForce
) -> None:
    wrong = replace(order("b1", Side.BUY, "1"), time_in_force=time_in_force, **change)
    for _ in range(2):
        assert await broker.place(wrong, BTC, QUOTE) == Placement(None, OrderState.REJECTED, (), reason)
    assert await broker.find("b1") is None


async def test_the_tick_is_the_one_at_the_orders_price(engine: AsyncEngine, clock: Clock) -> None:
    def tick_size(instrument: Instrument, price: Decimal) -> Decimal:
        return Decimal(100) if price >= 100_000 else Decimal(50)

    broker = PaperBroker(engine, "upbit", opening_cash={"KRW": Decimal(1_000_000)}, tick_size=tick_size, now=clock)
    below = await broker.place(order("b1", Side.BUY, "1", 99_950), BTC, QUOTE)
    assert below.state is OrderState.CANCELLED
    above = await broker.place(order("b2", Side.BUY, "1", 100_150), BTC, QUOTE)
    assert above.reason == "off_tick: price 100150 is no multiple of 100"


async def test_an_ioc_order_trades_what_is_on_offer_and_its_rest_is_cancelled(broker: PaperBroker) -> None:
    thin = replace(QUOTE, ask_size=Decimal(3), bid_size=Decimal("0.5"))
    bought = await broker.place(order("b1", Side.BUY, "5"), BTC, thin)
    assert (bought.state, bought.reason) == (
        OrderState.CANCELLED,
        "partly_filled: 3 of 5 traded, the rest is cancelled",
    )
    assert [(fill.trade_id, fill.quantity, fill.price) for fill in bought.fills] == [("paper-b1-1", 3, 100_100)]
    sold = await broker.place(order("s1", Side.SELL, "1", 99_900), BTC, thin)
    assert (sold.state, sold.fills[0].quantity) == (OrderState.CANCELLED, Decimal("0.5"))
    account = await broker.account(BTC)
    assert account.position.quantity == Decimal("2.5")
    assert await broker.open_orders() == []


async def test_the_size_of_one_quote_is_not_sold_twice(broker: PaperBroker, clock: Clock) -> None:
    thin = replace(QUOTE, ask_size=Decimal(3))
    await broker.place(order("b1", Side.BUY, "2"), BTC, thin)
    second = await broker.place(order("b2", Side.BUY, "2"), BTC, thin)
    assert (second.state, second.fills[0].quantity) == (OrderState.CANCELLED, 1)
    third = await broker.place(order("b3", Side.BUY, "2"), BTC, thin)
    assert third.reason == "not_crossed: nothing is left of the 3 on offer at 100100"
    clock.time += timedelta(seconds=1)
    fresh = await broker.place(order("b4", Side.BUY, "2"), BTC, replace(thin, at=clock.time))
    assert fresh.state is OrderState.FILLED


@pytest.mark.parametrize("size", ["NaN", "-1", "Infinity"])
async def test_a_quote_with_an_impossible_size_is_refused(broker: PaperBroker, size: str) -> None:
    placed = await broker.place(order("b1", Side.BUY, "1"), BTC, replace(QUOTE, ask_size=Decimal(size)))
    assert placed.state is OrderState.REJECTED
    assert placed.reason is not None
    assert placed.reason.startswith("bad_quote: ")


async def test_money_is_exact_however_many_digits_it_has(broker: PaperBroker) -> None:
    tiny = replace(BTC, fee_rate=Decimal("0.00012345"), min_order_value=Decimal(0))
    quote = replace(QUOTE, bid=Decimal("1.23456789"), ask=Decimal("1.23456789"), tick_size=Decimal("0.00000001"))
    bought = order("b1", Side.BUY, "12345.67891234")
    placed = await broker.place(replace(bought, price=Decimal("1.23456789")), tiny, quote)
    with localcontext(prec=100):
        paid = Decimal("1.23456789") * Decimal("12345.67891234") * Decimal("1.00012345")
        assert (await broker.account(BTC)).cash == 1_000_000 - paid
        assert placed.fills[0].fee == Decimal("1.23456789") * Decimal("12345.67891234") * Decimal("0.00012345")


async def test_a_buy_needs_cash_for_its_limit_and_fee_not_only_for_the_fill(broker: PaperBroker) -> None:
    exactly = order("b1", Side.BUY, "9.98", 100_100)
    assert (await broker.place(replace(exactly, price=Decimal(101_000)), BTC, QUOTE)).state is OrderState.REJECTED
    assert (await broker.place(replace(exactly, client_order_id="b2"), BTC, QUOTE)).state is OrderState.FILLED


@pytest.mark.parametrize("seconds", [61, -61])
async def test_a_stale_quote_is_refused(broker: PaperBroker, clock: Clock, seconds: int) -> None:
    clock.time = NOW + timedelta(seconds=seconds)
    placed = await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)
    assert placed.state is OrderState.REJECTED
    assert placed.reason == f"stale_quote: {seconds} s old, at most 60 s allowed"


async def test_a_quote_of_a_minute_is_still_good(broker: PaperBroker, clock: Clock) -> None:
    clock.time = NOW + timedelta(seconds=60)
    assert (await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)).state is OrderState.FILLED


@pytest.mark.parametrize("ask", ["0", "NaN", "99800"])
async def test_a_quote_without_a_market_is_refused(broker: PaperBroker, ask: str) -> None:
    placed = await broker.place(order("b1", Side.BUY, "1"), BTC, replace(QUOTE, ask=Decimal(ask)))
    assert placed.state is OrderState.REJECTED
    assert placed.reason is not None
    assert placed.reason.startswith("bad_quote: ")


async def test_the_same_order_again_returns_the_first_placement(broker: PaperBroker, clock: Clock) -> None:
    first = await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)
    clock.time = NOW + timedelta(hours=1)
    dearer = replace(QUOTE, ask=Decimal(200_000))
    assert await broker.place(order("b1", Side.BUY, "3"), BTC, dearer) == first
    assert await broker.find("b1") == first
    assert (await broker.account(BTC)).position.quantity == 1


async def test_a_rejection_stays_one_when_asked_again(broker: PaperBroker) -> None:
    first = await broker.place(order("b1", Side.SELL, "1", 99_900), BTC, QUOTE)
    await broker.place(order("b2", Side.BUY, "1"), BTC, QUOTE)
    assert await broker.place(order("b1", Side.SELL, "1", 99_900), BTC, QUOTE) == first


async def test_one_order_placed_by_many_workers_fills_once(broker: PaperBroker, engine: AsyncEngine) -> None:
    placed = await asyncio.gather(*(broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE) for _ in range(20)))
    assert len(set(placed)) == 1
    assert await count(engine, "paper_fills") == 1
    assert (await broker.account(BTC)).position.quantity == 1


async def test_concurrent_buys_never_overspend(engine: AsyncEngine, clock: Clock) -> None:
    """Forty orders of 100,150.05 each through two brokers, as two worker processes have them: nine fit."""
    brokers = [PaperBroker(engine, "upbit", opening_cash={"KRW": Decimal(1_000_000)}, now=clock) for _ in range(2)]
    symbols = [replace(BTC, symbol=f"KRW-{n}") for n in range(4)]
    placed = await asyncio.gather(
        *(
            brokers[n % 2].place(
                order(f"b{n}", Side.BUY, "1", symbol=symbols[n % 4].symbol),
                symbols[n % 4],
                replace(QUOTE, symbol=symbols[n % 4].symbol),
            )
            for n in range(40)
        )
    )
    assert [word.state for word in placed].count(OrderState.FILLED) == 9
    assert [word.state for word in placed].count(OrderState.REJECTED) == 31
    holdings = await brokers[0].holdings()
    assert holdings is not None
    assert holdings.cash == 1_000_000 - 9 * Decimal("100150.05")
    assert sum(position.quantity for position in holdings.positions.values()) == 9


async def test_concurrent_sells_never_oversell(broker: PaperBroker) -> None:
    await broker.place(order("b1", Side.BUY, "3"), BTC, QUOTE)
    placed = await asyncio.gather(
        *(broker.place(order(f"s{n}", Side.SELL, "1", 99_900), BTC, QUOTE) for n in range(10))
    )
    assert [word.state for word in placed].count(OrderState.FILLED) == 3
    assert (await broker.account(BTC)).position.quantity == 0


async def test_a_placement_that_is_cut_off_leaves_nothing_behind(broker: PaperBroker, engine: AsyncEngine) -> None:
    await broker.account(BTC)
    async with engine.begin() as other:
        await other.execute(text("SELECT 1 FROM paper_accounts FOR UPDATE"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)
    assert await broker.find("b1") is None
    assert (await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)).state is OrderState.FILLED


async def test_markets_have_accounts_of_their_own(broker: PaperBroker, engine: AsyncEngine, clock: Clock) -> None:
    us = PaperBroker(engine, "yfinance", opening_cash={"USD": Decimal(500)}, now=clock)
    await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)
    apple = replace(BTC, market="yfinance", symbol="AAPL", currency="USD")
    assert await us.account(apple) == Account("USD", Decimal(500), Position(Decimal(0), Decimal(0)))


async def test_holdings_list_every_position_with_its_cost(broker: PaperBroker) -> None:
    assert await broker.holdings() is None
    await broker.place(order("b1", Side.BUY, "1"), BTC, QUOTE)
    assert await broker.holdings() == Holdings(
        "KRW", Decimal("899849.95"), {"KRW-BTC": Position(Decimal(1), Decimal("100150.05"))}
    )


async def test_an_order_the_venue_never_saw_is_not_found(broker: PaperBroker) -> None:
    assert await broker.find("nothing") is None


async def test_a_currency_without_opening_cash_is_a_named_error(broker: PaperBroker) -> None:
    with pytest.raises(VenueError, match="no opening cash in EUR"):
        await broker.account(replace(BTC, currency="EUR"))


async def test_an_account_holds_one_currency(broker: PaperBroker) -> None:
    await broker.account(BTC)
    with pytest.raises(VenueError, match="the account is in KRW, not in USD"):
        await broker.account(replace(BTC, currency="USD"))


async def test_an_order_for_something_else_is_a_mistake_of_the_caller(broker: PaperBroker) -> None:
    for wrong in (replace(order("b1", Side.BUY, "1"), market="kis"), order("b1", Side.BUY, "1", symbol="KRW-ETH")):
        with pytest.raises(ValueError, match="order for"):
            await broker.place(wrong, BTC, QUOTE)


async def test_money_is_neither_made_nor_lost(broker: PaperBroker, engine: AsyncEngine) -> None:
    """After 200 random orders, cash and positions are what the fills alone come to."""
    chance = random.Random(20260102)
    for n in range(200):
        side = chance.choice(list(Side))
        quote = replace(QUOTE, ask=Decimal(chance.randrange(900, 1100) * 100), bid=Decimal(90_000))
        quantity = str(Decimal(chance.randrange(1, 5_000_000_00)) / 10**8)
        await broker.place(order(f"o{n}", side, quantity, chance.randrange(880, 1100) * 100), BTC, quote)
    async with engine.connect() as connection:
        told = (
            await connection.execute(
                text("""
                    SELECT sum(CASE side WHEN 'buy' THEN -f.quantity * f.price - fee
                            ELSE f.quantity * f.price - fee END) AS money,
                        sum(CASE side WHEN 'buy' THEN f.quantity ELSE -f.quantity END) AS units,
                        count(DISTINCT side) AS sides, count(*) AS fills
                    FROM paper_fills f JOIN paper_orders USING (client_order_id)
                """)
            )
        ).one()
    account = await broker.account(BTC)
    assert (told.sides, told.fills > 20) == (2, True)
    assert account.cash == 1_000_000 + told.money
    assert account.position.quantity == told.units


def test_amounts_are_written_as_people_write_them() -> None:
    assert rules.amount(Decimal("1E+6")) == "1000000"
    assert rules.amount(Decimal("0.10")) == "0.1"
    assert rules.amount(Decimal("1E-8")) == "0.00000001"
