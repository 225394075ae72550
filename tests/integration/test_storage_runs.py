"""A slot of a market is one run, its symbols end once, and exactly one caller finishes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import portfolio, runs
from storage.engine import open_engine
from storage.errors import NotFound
from storage.recent import recent_runs

SLOT = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
SYMBOLS = ("KRW-BTC", "KRW-ETH", "KRW-XRP")


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(emptied_database_url, pool_size=20, application_name="test")
    yield opened
    await opened.dispose()


async def opened(engine: AsyncEngine, task_id: str = "task-1", market: str = "upbit") -> runs.OpenedRun:
    return await runs.open_run(engine, market=market, slot=SLOT, task_id=task_id, symbols=SYMBOLS, trace_id="t")


async def test_a_free_slot_is_opened_with_its_symbols_pending(engine: AsyncEngine) -> None:
    run = await opened(engine)
    assert run.fresh
    assert not run.duplicate
    assert await runs.pending_symbols(engine, run.id) == sorted(SYMBOLS)


async def test_twenty_sweeps_at_once_open_one_run(engine: AsyncEngine) -> None:
    results = await asyncio.gather(*(opened(engine, f"task-{n}") for n in range(20)))
    assert sum(run.fresh for run in results) == 1
    assert sum(run.duplicate for run in results) == 19
    assert len({run.id for run in results}) == 1
    assert len(await runs.pending_symbols(engine, results[0].id)) == len(SYMBOLS)


async def test_each_market_has_its_own_slots(engine: AsyncEngine) -> None:
    assert (await opened(engine)).fresh
    assert (await opened(engine, market="kis")).fresh


async def test_a_redelivered_sweep_goes_on_until_it_has_published(engine: AsyncEngine) -> None:
    first = await opened(engine)
    again = await opened(engine)
    assert (again.id, again.fresh, again.resumed, again.duplicate) == (first.id, False, True, False)
    assert await runs.mark_published(engine, first.id)
    assert not await runs.mark_published(engine, first.id)
    assert (await opened(engine)).duplicate


async def test_another_beat_finds_the_slot_taken(engine: AsyncEngine) -> None:
    await opened(engine)
    assert (await opened(engine, "task-2")).duplicate


async def test_a_skipped_slot_is_taken_and_says_why(engine: AsyncEngine) -> None:
    skipped = await runs.skip_run(engine, market="kis", slot=SLOT, task_id="task-1", reason="closed")
    assert skipped.fresh
    assert (await opened(engine, market="kis")).duplicate
    assert (await runs.skip_run(engine, market="kis", slot=SLOT, task_id="task-1", reason="closed")).duplicate
    row = (await recent_runs(engine))[0]
    assert (row.status, row.reason, row.pending) == ("skipped", "closed", 0)
    assert row.finished_at is not None


async def test_a_slot_without_a_time_zone_is_refused(engine: AsyncEngine) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        await runs.open_run(engine, market="upbit", slot=datetime(2026, 1, 2), task_id="t", symbols=())  # noqa: DTZ001


async def test_the_first_word_on_a_symbol_stays(engine: AsyncEngine) -> None:
    run = await opened(engine)
    assert await runs.fail_symbol(engine, run.id, "KRW-BTC", "TimedOut", task_id="task-9")
    assert not await runs.finish_symbol(engine, run.id, "KRW-BTC", "bought")
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM run_symbols WHERE symbol = 'KRW-BTC'"))).one()
    assert (row.state, row.error, row.outcome, row.task_id) == ("failed", "TimedOut", None, "task-9")


async def test_a_symbol_that_is_not_of_the_run_is_an_error(engine: AsyncEngine) -> None:
    run = await opened(engine)
    with pytest.raises(NotFound, match="KRW-DOGE"):
        await runs.finish_symbol(engine, run.id, "KRW-DOGE", "hold")
    with pytest.raises(NotFound):
        await runs.fail_symbol(engine, uuid4(), "KRW-BTC", "TimedOut")


async def test_a_run_with_pending_symbols_is_not_finished(engine: AsyncEngine) -> None:
    run = await opened(engine)
    await runs.finish_symbol(engine, run.id, "KRW-BTC", "hold")
    assert not await runs.finish_run_if_complete(engine, run.id)


async def test_a_run_may_finish_before_its_sweep_notes_that_it_published(engine: AsyncEngine) -> None:
    run = await opened(engine)
    for symbol in SYMBOLS:
        await runs.finish_symbol(engine, run.id, symbol, "hold")
    assert await runs.finish_run_if_complete(engine, run.id)
    assert not await runs.mark_published(engine, run.id)
    assert (await recent_runs(engine))[0].status == "finished"


async def test_exactly_one_of_many_workers_finishes_a_run(engine: AsyncEngine) -> None:
    async def work(run_id: UUID, symbol: str) -> bool:
        await runs.finish_symbol(engine, run_id, symbol, "hold")
        return await runs.finish_run_if_complete(engine, run_id)

    for attempt in range(10):
        symbols = [f"S{n}" for n in range(20)]
        slot = SLOT + timedelta(minutes=attempt)
        run = await runs.open_run(engine, market="upbit", slot=slot, task_id="t", symbols=symbols)
        await runs.mark_published(engine, run.id)
        assert sum(await asyncio.gather(*(work(run.id, symbol) for symbol in symbols))) == 1


async def test_a_run_of_no_symbols_can_finish(engine: AsyncEngine) -> None:
    run = await runs.open_run(engine, market="upbit", slot=SLOT, task_id="t", symbols=())
    assert await runs.finish_run_if_complete(engine, run.id)


async def test_a_symbol_named_twice_is_there_once(engine: AsyncEngine) -> None:
    run = await runs.open_run(engine, market="upbit", slot=SLOT, task_id="t", symbols=("A", "A"))
    assert await runs.pending_symbols(engine, run.id) == ["A"]


async def snapshot(
    engine: AsyncEngine, run: runs.OpenedRun, cash: str, value: str, hours: int = 0
) -> portfolio.Snapshot:
    return await portfolio.snapshot(
        engine,
        run_id=run.id,
        market="upbit",
        currency="KRW",
        cash=Decimal(cash),
        positions_value=Decimal(value),
        at=SLOT + timedelta(hours=hours),
    )


async def test_a_snapshot_is_taken_once_per_run_and_summed_by_the_database(engine: AsyncEngine) -> None:
    run = await opened(engine)
    taken = await snapshot(engine, run, "70.5", "29.25")
    assert taken.total == Decimal("99.75")
    assert await snapshot(engine, run, "1", "1") == taken


async def test_latest_and_opening_values_are_per_market(engine: AsyncEngine) -> None:
    for hours, total in enumerate(("100", "120", "90")):
        slot = SLOT + timedelta(hours=hours)
        run = await runs.open_run(engine, market="upbit", slot=slot, task_id="t", symbols=())
        await snapshot(engine, run, total, "0", hours)
    assert (await portfolio.latest(engine))["upbit"].total == 90
    assert await portfolio.opening(engine) == {"upbit": portfolio.Opening("KRW", Decimal(100))}


async def test_a_paper_account_opened_with_what_it_was_given(engine: AsyncEngine) -> None:
    run = await opened(engine)
    await snapshot(engine, run, "99", "0")
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO paper_accounts VALUES ('upbit', 'KRW', 99, 100)"))
        await connection.execute(text("INSERT INTO paper_accounts VALUES ('yfinance', 'USD', 5, 7)"))
    assert await portfolio.opening(engine) == {
        "upbit": portfolio.Opening("KRW", Decimal(100)),
        "yfinance": portfolio.Opening("USD", Decimal(7)),
    }
