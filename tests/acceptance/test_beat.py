"""The beat fires once per slot, whoever else runs, and a stand-by takes over."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from nodes import LocalWorker, WorkerProcess
from world import World, wait_for

from beat.sessions import is_open

TAKEOVER_SECONDS = 40.0


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {
        "IGNORE_MARKET_HOURS": "false",
        "KIS_SYMBOLS": "005930",
        "YFINANCE_SYMBOLS": "",
        "UPBIT_SYMBOLS": "KRW-BTC",
        "UPBIT_SWEEP_MINUTES": "1440",
        "KIS_SWEEP_MINUTES": "1440",
    }


def test_two_beats_make_one_run_and_the_second_takes_over(world: World, celery_worker: LocalWorker) -> None:
    kis = WorkerProcess("kis", world.env, world.directory)
    try:
        assert kis.ready()
        world.start("beat-1", "celery", "-A", "tasks", "beat")
        wait_for(
            "the first run", lambda: world.rows("SELECT 1 FROM runs WHERE market = 'upbit' AND status = 'finished'")
        )
        world.start("beat-2", "celery", "-A", "tasks", "beat")

        session = is_open("kis", datetime.now(UTC))
        [run] = wait_for("the run of KIS", lambda: world.rows("SELECT status, reason FROM runs WHERE market = 'kis'"))
        if session.open:
            assert run["status"] != "skipped"
        else:
            assert run == {"status": "skipped", "reason": session.reason}

        first = next(state.pid for state in world.processes.states() if state.name == "beat-1")
        os.kill(first, signal.SIGKILL)
        log = world.directory / "beat-2.log"
        wait_for("the stand-by to take the lock", lambda: "Acquired lock" in log.read_text(), TAKEOVER_SECONDS)
        # its sweep at start meets the slot's run and ends as a duplicate
        wait_for("the duplicate", lambda: "'outcome': 'duplicate'" in celery_worker.logs(), TAKEOVER_SECONDS)
        assert world.rows("SELECT count(*) AS n FROM runs WHERE market = 'upbit'") == [{"n": 1}]
    finally:
        kis.teardown()


def test_a_heartbeat_goes_through_each_queue(world: World, celery_worker: LocalWorker) -> None:
    import redis

    celery_worker.app.send_task("tasks.heartbeat.heartbeat", args=("upbit",), queue="upbit")
    with redis.Redis.from_url(world.redis_url, decode_responses=True) as client:
        beaten = wait_for("the heartbeat", lambda: client.get("autotrader:heartbeat:upbit"))
    assert abs(datetime.now(UTC).timestamp() - float(beaten)) < 30
