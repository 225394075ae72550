"""How tasks and runs stand, asked from outside: real results in Redis, real rows in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, states
from celery.exceptions import TaskRevokedError
from house import House

from cli import progress as following
from operate import run_progress
from sandbox.local import LocalRedis
from storage import reading, runs
from tasks import standing
from tasks.analysis import task_id_of

SLOT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


@pytest.fixture
def results(redis_server: LocalRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The result backend that is asked."""
    with Celery("tests", backend=redis_server.url, set_as_current=False) as app:
        app.conf.result_serializer = "json"
        monkeypatch.setattr(standing, "app", app)
        yield app.backend


def told(percent: int, step: str) -> dict[str, Any]:
    return {"percent": percent, "done": 1, "of": 3, "step": step}


async def test_following_ends_on_every_end_and_where_nothing_is_heard(
    results: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = {name: str(uuid.uuid4()) for name in ("done", "failed", "expired", "running", "lost")}
    results.store_result(ids["done"], {"outcome": "hold"}, states.SUCCESS)
    results.store_result(ids["failed"], ValueError("it went wrong"), states.FAILURE)
    results.store_result(ids["expired"], TaskRevokedError("expired"), states.REVOKED)
    results.store_result(ids["running"], told(33, "analysing"), "PROGRESS")
    found = await following.follow(ids, title="replay", silence=1)
    assert {name: stands.ended for name, stands in found.items()} == {
        "done": True, "failed": True, "expired": True, "running": False, "lost": False,
    }  # fmt: skip
    assert found["done"].result == {"outcome": "hold"}
    assert (found["running"].percent, found["running"].step) == (33, "analysing")
    assert found["lost"] == standing.Standing()
    shown = capsys.readouterr().err
    assert "replay: failed: 실패: ValueError: it went wrong" in shown
    assert "replay: expired: 실패: TaskRevokedError: expired" in shown
    assert "replay: running: 33% 분석" in shown


async def test_a_run_says_which_symbols_run_and_which_failed(house: House, results: Any) -> None:
    symbols = ("KRW-ADA", "KRW-BTC", "KRW-ETH", "KRW-XRP")
    run = await runs.open_run(house.engine, market="upbit", slot=SLOT, task_id="the-sweep", symbols=symbols)
    await runs.finish_symbol(house.engine, run.id, "KRW-ADA", "hold")
    await runs.fail_symbol(house.engine, run.id, "KRW-XRP", "BadReply: no JSON")
    results.store_result(task_id_of(run.id, "KRW-BTC"), told(66, "trading"), "PROGRESS")

    found = await run_progress(house.engine, run.id)
    assert found is not None
    assert (found.market, found.percent, found.ended) == ("upbit", 50, False)
    assert [(symbol.symbol, symbol.state, symbol.percent) for symbol in found.symbols] == [
        ("KRW-ADA", "done", 100), ("KRW-BTC", "running", 66), ("KRW-ETH", "pending", 0), ("KRW-XRP", "failed", 100),
    ]  # fmt: skip
    [running] = found.running
    assert (running.step, running.task_id) == ("trading", task_id_of(run.id, "KRW-BTC"))
    assert [symbol.error for symbol in found.failed] == ["BadReply: no JSON"]
    assert await run_progress(house.engine, uuid.uuid4()) is None

    since = datetime.now(UTC) - timedelta(hours=1)
    assert await reading.run_of_task(house.engine, "the-sweep", since) == run.id
    assert await reading.run_of_task(house.engine, "the-sweep", since + timedelta(days=1)) is None
    assert await reading.run_at(house.engine, "upbit", SLOT) == run.id
    assert await reading.run_at(house.engine, "kis", SLOT) is None
