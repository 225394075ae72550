"""An analysis that waited too long is not run, and does not vanish either."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest
from nodes import LocalWorker
from world import ERROR_CHAT, World, wait_for


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"WORKER_CONCURRENCY": "1", "HTTP_TIMEOUT_SECONDS": "10"}


def test_an_analysis_that_expired_in_the_queue_is_told_and_ends_its_run(
    world: World, celery_worker: LocalWorker
) -> None:
    world.start("notifier", "cli", "notifier")
    world.sandbox.post("faults", {"service": "upbit", "kind": "slow", "seconds": 3.0, "path": "candles/days"})
    run = str(uuid.uuid4())
    world.rows(f"INSERT INTO runs (id, market, slot, status) VALUES ('{run}', 'upbit', now(), 'opened')")
    world.rows(f"INSERT INTO run_symbols (run_id, symbol) VALUES ('{run}', 'KRW-BTC'), ('{run}', 'KRW-ETH')")

    task = "tasks.analysis.analyze_and_trade"
    celery_worker.app.send_task(task, args=("upbit", "KRW-BTC", run), queue="upbit")
    celery_worker.app.send_task(task, args=("upbit", "KRW-ETH", run), queue="upbit", expires=1)

    wait_for("the run's end", lambda: world.rows("SELECT 1 FROM runs WHERE status = 'finished'"))
    states = {row["symbol"]: row for row in world.rows("SELECT symbol, state, error FROM run_symbols")}
    assert states["KRW-BTC"]["state"] == "done"
    assert states["KRW-ETH"]["state"] == "failed"
    assert "waited in the queue upbit until it expired" in states["KRW-ETH"]["error"]
    [alert] = wait_for("the alert", lambda: world.messages(ERROR_CHAT))
    assert "KRW-ETH" in alert
    assert "Expired" in alert


def test_a_symbol_that_is_not_in_its_run_fails(world: World, celery_worker: LocalWorker) -> None:
    result = celery_worker.app.send_task(
        "tasks.analysis.analyze_and_trade", args=("upbit", "KRW-BTC", str(uuid.uuid4())), queue="upbit"
    )
    with pytest.raises(Exception, match="has no symbol KRW-BTC"):
        result.get(timeout=20)
