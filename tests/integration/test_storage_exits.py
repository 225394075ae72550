"""What guards a position and a night's sleep: exits, marks, permissions, reports, and what traded, as stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import armings, exits, high_waters, pnl_reports, portfolio, runs
from storage import trades as traded
from storage.daily import report_of
from storage.engine import open_engine
from storage.errors import NotFound
from storage.recent import recent_exits
from trading.exits import Exit, ExitKind
from trading.pnl import book
from trading.reports import bounds
from trading.state import armed
from trading.types import Side

AT = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
STOP = Exit(
    ExitKind.STOP_LOSS, Decimal("0.5"), Decimal("94.9"), Decimal(95), Decimal("94.9") / 100 - 1, "the price fell"
)


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(emptied_database_url, pool_size=20, application_name="test")
    yield opened
    await opened.dispose()


async def begin(
    engine: AsyncEngine, what: Exit = STOP, symbol: str = "KRW-BTC", market: str = "upbit"
) -> exits.OpenExit:
    return await exits.begin(
        engine, market=market, symbol=symbol, exit=what, average_price=Decimal(100), trace_id="trace"
    )


# exits


async def test_an_exit_is_read_as_it_began(engine: AsyncEngine) -> None:
    begun = await begin(engine)
    assert begun.created
    assert (begun.exit, begun.average_price, begun.trace_id) == (STOP, Decimal(100), "trace")
    found = await exits.find_open(engine, "upbit", "KRW-BTC")
    assert found is not None
    assert (found.id, found.exit, found.created) == (begun.id, STOP, False)
    assert await exits.find_open(engine, "upbit", "KRW-ETH") is None
    assert await exits.find_open(engine, "kis", "KRW-BTC") is None


async def test_twenty_guards_at_once_begin_one_exit(engine: AsyncEngine) -> None:
    begun = await asyncio.gather(*(begin(engine) for _ in range(20)))
    assert sum(one.created for one in begun) == 1
    assert len({one.id for one in begun}) == 1


async def test_an_open_exit_stands_against_one_of_another_kind(engine: AsyncEngine) -> None:
    first = await begin(engine)
    target = Exit(ExitKind.TAKE_PROFIT, Decimal(2), Decimal(111), Decimal(110), Decimal("0.11"), "the price rose")
    again = await begin(engine, target)
    assert (again.id, again.exit.kind, again.created) == (first.id, ExitKind.STOP_LOSS, False)


async def test_an_exit_ends_once_and_makes_room_for_the_next(engine: AsyncEngine) -> None:
    begun = await begin(engine)
    ended = await asyncio.gather(*(exits.end(engine, begun.id, f"sold by {n}") for n in range(10)))
    assert sum(ended) == 1
    assert await exits.find_open(engine, "upbit", "KRW-BTC") is None
    assert not await exits.end(engine, begun.id, "given_up")
    row = (await recent_exits(engine))[0]
    assert row.outcome == f"sold by {ended.index(True)}"
    assert (row.kind, row.trigger_price, row.ended_at is not None) == (ExitKind.STOP_LOSS, Decimal(95), True)
    following = await begin(engine)
    assert following.created
    assert following.id != begun.id


async def test_exits_begun_while_others_end_are_never_two_at_once(engine: AsyncEngine) -> None:
    async def churn() -> None:
        for _ in range(5):
            one = await begin(engine)
            await exits.end(engine, one.id, "sold_all")

    await asyncio.gather(*(churn() for _ in range(8)))
    assert await exits.open_exits(engine, "upbit") == []


async def test_the_open_exits_of_a_market_are_its_own(engine: AsyncEngine) -> None:
    bitcoin, ether = await begin(engine), await begin(engine, symbol="KRW-ETH")
    await begin(engine, symbol="005930", market="kis")
    assert [one.id for one in await exits.open_exits(engine, "upbit")] == [bitcoin.id, ether.id]


async def test_an_exit_that_is_not_there_is_said_so(engine: AsyncEngine) -> None:
    with pytest.raises(NotFound):
        await exits.end(engine, uuid4(), "sold_all")


async def test_an_exit_of_a_position_whose_cost_is_unknown_has_no_rate(engine: AsyncEngine) -> None:
    begun = await exits.begin(engine, market="upbit", symbol="A", exit=STOP, average_price=Decimal(0))
    assert begun.exit.rate == 0


# marks


async def test_a_mark_never_falls_until_it_is_forgotten(engine: AsyncEngine) -> None:
    async def seen(price: str) -> Decimal:
        return await high_waters.raise_to(engine, "upbit", "KRW-BTC", Decimal(price))

    assert [await seen(price) for price in ("100.5", "99", "0.00000001", "101")] == [
        Decimal("100.5"),
        Decimal("100.5"),
        Decimal("100.5"),
        Decimal(101),
    ]
    assert await high_waters.raise_to(engine, "kis", "KRW-BTC", Decimal(5)) == 5
    await high_waters.forget(engine, "upbit", "KRW-BTC")
    await high_waters.forget(engine, "upbit", "KRW-BTC")
    assert await seen("7") == 7
    assert await high_waters.raise_to(engine, "kis", "KRW-BTC", Decimal(1)) == 5


async def test_prices_seen_at_once_leave_the_highest(engine: AsyncEngine) -> None:
    await asyncio.gather(*(high_waters.raise_to(engine, "upbit", "A", Decimal(n)) for n in range(1, 31)))
    assert await high_waters.raise_to(engine, "upbit", "A", Decimal(1)) == 30


# permissions


async def test_a_market_is_armed_until_its_time_and_no_other(engine: AsyncEngine) -> None:
    now = datetime.now(UTC)
    arming = await armings.arm(engine, "upbit", now + timedelta(hours=8), "operator")
    assert arming.until == now + timedelta(hours=8)
    later = arming.since + timedelta(minutes=1)
    rows = await armings.in_force(engine, later)
    assert rows == [arming]
    assert armed(rows, "upbit", later)
    assert not armed(rows, "kis", later)
    assert await armings.in_force(engine, arming.until) == []


async def test_the_newest_word_on_a_market_holds(engine: AsyncEngine) -> None:
    until = datetime.now(UTC) + timedelta(hours=8)
    await armings.arm(engine, "upbit", until, "operator")
    shorter = await armings.arm(engine, "upbit", until - timedelta(hours=7), "operator")
    kis = await armings.arm(engine, "kis", until, "operator")
    assert await armings.in_force(engine, datetime.now(UTC)) == [kis, shorter]
    disarmed = await armings.disarm(engine, "upbit", "operator")
    assert disarmed.since == disarmed.until
    # also for a process whose clock is behind, in which the row that disarms has not ended
    for behind in (timedelta(0), timedelta(hours=1)):
        now = datetime.now(UTC) - behind
        assert not armed(await armings.in_force(engine, now), "upbit", now)


async def test_nothing_is_armed_until_a_time_that_has_passed(engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="has passed"):
        await armings.arm(engine, "upbit", datetime.now(UTC) - timedelta(minutes=1), "operator")
    with pytest.raises(StatementError, match="no time zone"):
        await armings.arm(engine, "upbit", datetime(2030, 1, 1), "operator")  # noqa: DTZ001
    assert await armings.in_force(engine, datetime(2000, 1, 1, tzinfo=UTC)) == []


# what traded; written as it stands at the venue's end, the journal has tests of its own


async def order(
    engine: AsyncEngine, name: str, side: Side, *fills: tuple[str, str, datetime], symbol: str = "KRW-BTC"
) -> None:
    """An adopted order with these fills (units, price, time), written with the database's guards on."""
    units = sum((Decimal(fill[0]) for fill in fills), Decimal(0))
    async with engine.begin() as connection:
        order_id = await connection.scalar(
            text(
                "INSERT INTO orders (client_order_id, market, symbol, side, quantity, price, currency, state, adopted) "
                "VALUES (:name, 'upbit', :symbol, :side, 100, 100, 'KRW', 'planned', true) RETURNING id"
            ),
            {"name": name, "symbol": symbol, "side": side.value},
        )
        for old, new in ((None, "planned"), ("planned", "sending"), *([("sending", "accepted")] if units else [])):
            if old:
                await connection.execute(
                    text("UPDATE orders SET state = :new WHERE id = :id"), {"new": new, "id": order_id}
                )
            await connection.execute(
                text("INSERT INTO order_events (order_id, from_state, to_state) VALUES (:id, :old, :new)"),
                {"id": order_id, "old": old, "new": new},
            )
        for number, (quantity, price, at) in enumerate(fills):
            await connection.execute(
                text("INSERT INTO fills VALUES ('upbit', :trade, :id, :quantity, :price, 1, :at)"),
                {
                    "trade": f"{name}-{number}",
                    "id": order_id,
                    "quantity": Decimal(quantity),
                    "price": Decimal(price),
                    "at": at,
                },
            )


async def test_trades_are_what_a_profit_is_made_of(engine: AsyncEngine) -> None:
    await order(engine, "sell", Side.SELL, ("1", "120", AT + timedelta(hours=2)))
    await order(engine, "buy", Side.BUY, ("1", "100", AT), ("1", "102", AT + timedelta(hours=1)))
    found = await traded.trades(engine, {"upbit": "crypto", "kis": "equity_kr"})
    assert [(one.side, one.fill.trade_id) for one in found] == [
        (Side.BUY, "buy-0"),
        (Side.BUY, "buy-1"),
        (Side.SELL, "sell-0"),
    ]
    # 120 less the average of 100 and 102, the buys' fees in it, less the sale's own fee
    assert [sale.profit for sale in book(found).realised] == [120 - (Decimal(204) / 2) - 1]
    with pytest.raises(ValueError, match="no asset type is given for upbit"):
        await traded.trades(engine, {})


async def test_an_order_that_traded_in_parts_is_one_trade_of_the_day(engine: AsyncEngine) -> None:
    hour = timedelta(hours=1)
    await order(engine, "early", Side.BUY, ("1", "100", AT - hour))
    await order(engine, "parts", Side.BUY, ("1", "100", AT - hour), ("1", "100", AT), ("1", "100", AT + hour))
    await order(engine, "sell", Side.SELL, ("1", "100", AT + 2 * hour))
    await order(engine, "other", Side.BUY, ("1", "100", AT + 3 * hour), symbol="KRW-ETH")
    await order(engine, "none", Side.BUY)
    assert await traded.orders_filled_since(engine, "upbit", "KRW-BTC", AT) == 2
    assert await traded.orders_filled_since(engine, "upbit", "KRW-BTC", AT - hour) == 3
    assert await traded.orders_filled_since(engine, "kis", "KRW-BTC", AT) == 0
    assert await traded.last_fill_at(engine, "upbit", "KRW-BTC") == AT + 2 * hour
    assert await traded.last_fill_at(engine, "upbit", "KRW-XRP") is None


async def test_the_oldest_unproven_order_is_named_with_its_age(engine: AsyncEngine) -> None:
    assert await traded.oldest_unknown(engine) is None
    await order(engine, "proven", Side.BUY, ("1", "100", AT))
    assert (await traded.oldest_unknown(engine), await traded.unproven_count(engine)) == (None, 0)
    await order(engine, "older", Side.BUY)
    await asyncio.sleep(0.2)
    await order(engine, "newer", Side.SELL)
    oldest = await traded.oldest_unknown(engine)
    assert oldest is not None
    assert oldest.client_order_id == "older"
    assert 0.2 <= oldest.age_seconds < 60
    # a look that changes the row does not make the order any younger
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE orders SET reason = 'asked' WHERE client_order_id = 'older'"))
    again = await traded.oldest_unknown(engine)
    assert again is not None
    assert (again.client_order_id, again.age_seconds > oldest.age_seconds) == ("older", True)
    assert await traded.unproven_count(engine) == 2


# what it is worth, and the reports


async def test_the_equity_of_a_period_is_led_by_the_last_snapshot_before_it(engine: AsyncEngine) -> None:
    async def seen(hours: int, cash: int, market: str = "upbit") -> None:
        at = AT + timedelta(hours=hours)
        run = await runs.open_run(engine, market=market, slot=at, task_id="t", symbols=("A",))
        await portfolio.snapshot(
            engine, run_id=run.id, market=market, currency="KRW", cash=Decimal(cash), positions_value=Decimal(1), at=at
        )

    for hours, cash in ((3, 130), (-5, 95), (-1, 99), (2, 120)):
        await seen(hours, cash)
    await seen(1, 7, market="kis")
    assert [point.total for point in await portfolio.equity(engine, "upbit", AT)] == [100, 121, 131]
    # one at the very start is the one before
    assert [point.total for point in await portfolio.equity(engine, "upbit", AT + timedelta(hours=2))] == [121, 131]
    assert [point.total for point in await portfolio.equity(engine, "kis", AT)] == [8]
    assert await portfolio.equity(engine, "yfinance", AT) == []


async def test_a_report_is_stored_once_and_stands(engine: AsyncEngine) -> None:
    await order(engine, "buy", Side.BUY, ("3", "100", AT))
    await order(engine, "sell", Side.SELL, ("1", "120", AT))
    report = await report_of(engine, "day", bounds("day", AT)[0], {"upbit": 60})
    assert await pnl_reports.latest(engine, "day") is None
    stored = await asyncio.gather(
        *(pnl_reports.store_once(engine, "day", report.starts_at, asdict(report)) for _ in range(10))
    )
    assert sum(stored) == 1
    assert not await pnl_reports.store_once(engine, "day", report.starts_at, {"changed": True})
    assert await pnl_reports.store_once(engine, "day", report.starts_at - timedelta(days=1), {})
    assert await pnl_reports.store_once(engine, "week", report.starts_at, {})
    latest = await pnl_reports.latest(engine, "day")
    assert latest is not None
    assert latest.starts_at == report.starts_at
    market = latest.body["markets"][0]
    assert report.markets[0].profit is not None
    assert Decimal(market["profit"]["realised"]) == report.markets[0].profit.realised
    assert (market["currency"], market["profit"]["symbols"][0]["symbol"]) == ("KRW", "KRW-BTC")
    assert latest.realised() == report.realised() == {"KRW": report.markets[0].profit.realised}
