from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import reading
from storage.engine import open_engine
from storage.reading import Slice, Wanted

START = datetime(2026, 11, 2, tzinfo=UTC)
ALL = Slice(200, 0)


def key(number: int) -> str:
    return str(uuid.UUID(int=number))


# ten runs an hour apart, each of BTC (bought, its order filled) and ETH (failed before it was analysed)
SEED = """
    SET session_replication_role = replica;
    INSERT INTO runs (id, market, slot, task_id, status, opened_at, finished_at)
        SELECT lpad(n::text, 32, '0')::uuid, CASE WHEN n < 8 THEN 'upbit' ELSE 'kis' END, at, 't', 'finished', at, at
        FROM generate_series(1, 10) n, LATERAL (SELECT '2026-11-02Z'::timestamptz + n * interval '1 hour' AS at) t;
    INSERT INTO run_symbols (run_id, symbol, state, outcome, finished_at)
        SELECT id, 'KRW-BTC', 'done', 'order_filled', slot FROM runs;
    INSERT INTO run_symbols (run_id, symbol, state, error, finished_at)
        SELECT id, 'KRW-ETH', 'failed', 'TimedOut: no answer', slot FROM runs;
    INSERT INTO analyses (id, run_id, market, symbol, decision, confidence, reasons, appropriate_buy_min,
            appropriate_buy_max, appropriate_sell_min, appropriate_sell_max, buy_hope_min, buy_hope_max,
            sell_target_min, sell_target_max, price, model, at, created_at)
        SELECT id, id, market, 'KRW-BTC', CASE WHEN market = 'upbit' THEN 'buy' ELSE 'hold' END,
            extract(hour FROM slot AT TIME ZONE 'UTC')::int * 10, '{up}', 1, 2, 3, 4, 1, 2, 5, 6, 2.50, 'rules',
            slot, slot
        FROM runs;
    INSERT INTO orders (id, client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency,
            state, filled_quantity, created_at, updated_at)
        SELECT id, 'o' || id, id, id, market, 'KRW-BTC', 'buy', 10, 2, 'KRW', 'filled', 10, slot, slot FROM runs;
    INSERT INTO fills SELECT market, 't' || id, id, 10, 2, 0.1, slot FROM runs;
    INSERT INTO portfolio_snapshots (run_id, market, currency, cash, positions_value, at)
        SELECT id, market, 'KRW', 100, 20, slot FROM runs;
    INSERT INTO pnl_reports (period, starts_at, body)
        SELECT 'day', slot, '{"currencies": []}'::jsonb FROM runs UNION SELECT 'week', '2026-11-01Z', '{}'::jsonb;
"""


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    url = make_url(emptied_database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    await connection.execute(SEED)
    await connection.close()
    engine = open_engine(emptied_database_url)
    yield engine
    await engine.dispose()


async def test_pages_join_to_the_whole_newest_first(engine: AsyncEngine) -> None:
    for read in (
        reading.analyses_page, reading.orders_page, reading.fills_page, reading.snapshots_page, reading.runs_page
    ):  # fmt: skip
        whole = await read(engine, Wanted(), ALL)
        assert whole.total == 10
        pages = [await read(engine, Wanted(), Slice(4, offset)) for offset in (0, 4, 8, 12)]
        assert [len(page.rows) for page in pages] == [4, 4, 2, 0]
        assert {page.total for page in pages} == {10}
        assert [row for page in pages for row in page.rows] == list(whole.rows)
        times = [row.get("at") or row.get("updated_at") or row["opened_at"] for row in whole.rows]
        assert times == sorted(times, reverse=True)


async def test_every_condition_of_an_analysis_counts(engine: AsyncEngine) -> None:
    async def confidences(**wanted: object) -> list[int]:
        page = await reading.analyses_page(engine, Wanted(**wanted), ALL)  # type: ignore[arg-type]
        assert page.total == len(page.rows)
        return [row["confidence"] for row in page.rows]

    assert await confidences(market="kis") == [100, 90, 80]
    assert await confidences(decision="hold") == [100, 90, 80]
    assert await confidences(symbol="KRW-ETH") == []
    assert await confidences(least_confidence=30, most_confidence=50) == [50, 40, 30]
    # from the time on, and before the other
    assert await confidences(since=START + timedelta(hours=2), before=START + timedelta(hours=4)) == [30, 20]
    assert await confidences(market="upbit", most_confidence=10) == [10]


async def test_an_analysis_is_listed_with_what_came_of_it(engine: AsyncEngine) -> None:
    [row] = (await reading.analyses_page(engine, Wanted(), Slice(1, 0))).rows
    assert (row["outcome"], row["error"], str(row["price"])) == ("order_filled", None, "2.50")


async def test_orders_and_fills_are_found_by_market_symbol_state_and_time(engine: AsyncEngine) -> None:
    late = START + timedelta(hours=9)
    assert (await reading.orders_page(engine, Wanted(market="kis", state="filled"), ALL)).total == 3
    assert (await reading.orders_page(engine, Wanted(state="unknown"), ALL)).total == 0
    assert (await reading.orders_page(engine, Wanted(since=late), ALL)).total == 2
    assert (await reading.fills_page(engine, Wanted(market="kis", symbol="KRW-BTC", before=late), ALL)).total == 1
    assert (await reading.snapshots_page(engine, Wanted(market="upbit"), ALL)).total == 7
    assert (await reading.reports_page(engine, "week", ALL)).total == 1
    assert (await reading.reports_page(engine, None, ALL)).total == 11


async def test_a_run_tells_how_far_it_is_and_what_became_of_each_symbol(engine: AsyncEngine) -> None:
    run_id = uuid.UUID(key(3))
    run = await reading.run(engine, run_id)
    assert run is not None
    assert (run["pending"], run["done"], run["failed"]) == (0, 1, 1)
    bitcoin, ether = await reading.symbols_of(engine, run_id)
    assert (bitcoin["symbol"], bitcoin["analysis_id"]) == ("KRW-BTC", run_id)
    assert (ether["error"], ether["analysis_id"]) == ("TimedOut: no answer", None)
    assert await reading.symbol_of(engine, run_id, "KRW-ETH") == ether
    assert await reading.run(engine, uuid.uuid4()) is None
    assert await reading.symbol_of(engine, run_id, "KRW-XRP") is None


async def test_symbols_are_known_by_market_and_by_time(engine: AsyncEngine) -> None:
    assert await reading.known_symbols(engine, "kis") == ["KRW-BTC"]
    assert await reading.known_symbols(engine, "yfinance") == []
    late = await reading.symbols_since(engine, START + timedelta(hours=10))
    assert sorted(late) == [
        (uuid.UUID("00000000-0000-0000-0000-000000000010"), name) for name in ("KRW-BTC", "KRW-ETH")
    ]
