"""An analysis that somebody asks for by hand: queued, or said not to be."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from kombu.exceptions import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from operate import request_analysis
from storage import reading, runs
from storage.engine import open_engine
from tasks import analysis


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(emptied_database_url)
    yield engine
    await engine.dispose()


async def test_it_has_a_run_and_the_task_id_that_a_second_publish_would_have(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str, uuid.UUID]] = []

    async def publish(*args: object) -> None:
        sent.append(args)  # type: ignore[arg-type]

    monkeypatch.setattr(analysis, "publish", publish)
    asked = [await request_analysis(engine, "upbit", symbol) for symbol in ("KRW-BTC", "KRW-ETH")]
    assert sent == [("upbit", "KRW-BTC", asked[0].run_id), ("upbit", "KRW-ETH", asked[1].run_id)]
    assert asked[0].task_id == analysis.task_id_of(asked[0].run_id, "KRW-BTC")
    run = await reading.run(engine, asked[0].run_id)
    assert run is not None
    assert run["status"] == "published"


async def test_one_that_cannot_be_queued_is_not_done_later_either(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def publish(*_: object) -> None:
        raise OperationalError("connection refused by redis://:secret@host")

    monkeypatch.setattr(analysis, "publish", publish)
    with pytest.raises(OperationalError):
        await request_analysis(engine, "upbit", "KRW-BTC")
    assert await runs.left_pending(engine, "upbit", -60) == []
    [run] = (await reading.runs_page(engine, reading.Wanted(), reading.Slice(10, 0))).rows
    assert (run["status"], run["failed"]) == ("finished", 1)
    [symbol] = await reading.symbols_of(engine, run["id"])
    assert symbol["error"] == "could not be queued (OperationalError)"
