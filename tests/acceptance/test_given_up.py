"""A task that takes its worker with it each time it runs: given up after some workers, told, and written down."""

from __future__ import annotations

import re
import time
import urllib.request
import uuid
from collections.abc import Mapping

import pytest
import redis
from kombu import Connection
from nodes import LocalWorker
from world import ERROR_CHAT, World, wait_for

from sandbox.local.server import free_port
from tasks.redeliveries import LOST_WORKERS_KEY, MOST_LOST_WORKERS

VISIBILITY_SECONDS = 9
DEADLY, INNOCENT = "KRW-BTC", "KRW-ETH"


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {
        "VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY_SECONDS),
        "ANALYZE_DEADLINE_SECONDS": "6",
        "LLM_DEADLINE_SECONDS": "5",
        "SWEEP_DEADLINE_SECONDS": "6",
        "HTTP_TIMEOUT_SECONDS": "5",
        "WORKER_CONCURRENCY": "2",
        "UPBIT_SYMBOLS": f"{DEADLY},{INNOCENT}",
        "PROMETHEUS_PORT": str(free_port()),
    }


def asked(world: World, symbol: str) -> bool:
    """Whether the candles of a symbol were asked for."""
    return any(
        "candles/days" in request["path"] and symbol in str(request) for request in world.sandbox.get("requests")
    )


def lost_workers(world: World, symbol: str) -> int:
    """How many workers were lost with the analysis of a symbol by the time that it last began to run."""
    [run] = world.rows("SELECT id FROM runs")
    with redis.Redis.from_url(world.redis_url, decode_responses=True) as client:
        found = client.get(LOST_WORKERS_KEY.format(task_id=uuid.uuid5(run["id"], symbol)))
    return int(str(found or 0))


def give_out_again(world: World) -> None:
    """What any worker does with the messages of a lost one when the visibility timeout is over, without the wait."""
    with Connection(world.redis_url) as broker:
        channel = broker.default_channel
        for tag in channel.client.hkeys("unacked"):
            channel.qos.restore_by_tag(tag.decode())


def state_of(world: World, symbol: str) -> tuple[str, str | None]:
    [row] = world.rows(f"SELECT state, error FROM run_symbols WHERE symbol = '{symbol}'")
    return row["state"], row["error"]


def test_a_task_that_costs_a_worker_each_time_is_given_up_and_what_ran_beside_it_is_not(
    world: World, celery_worker: LocalWorker
) -> None:
    world.start("notifier", "cli", "notifier", PROMETHEUS_PORT="0")
    # while their candles hang the worker can be killed; those of the innocent one hang no second time
    for symbol, count in ((DEADLY, 100), (INNOCENT, 1)):
        fault = {"service": "upbit", "kind": "hang", "seconds": 60, "symbol": symbol, "path": "candles/days"}
        world.sandbox.post("faults", {**fault, "count": count})
    celery_worker.app.send_task("tasks.analysis.sweep", args=("upbit",), queue="upbit")
    wait_for("both at once", lambda: asked(world, DEADLY) and asked(world, INNOCENT))
    published = time.time()
    for killed in range(MOST_LOST_WORKERS):
        wait_for(f"its run after {killed} kills", lambda so_far=killed: lost_workers(world, DEADLY) == so_far)
        assert state_of(world, DEADLY) == ("pending", None)
        celery_worker.kill()
        celery_worker.container.reload()
        # a message that comes back sooner was handed back, and lost no worker
        time.sleep(max(0.0, published + VISIBILITY_SECONDS - time.time()))
        give_out_again(world)
        celery_worker.container.restart()

    wait_for("its end", lambda: state_of(world, DEADLY)[0] == "failed")
    assert str(state_of(world, DEADLY)[1]).startswith(f"LostTooOften: {MOST_LOST_WORKERS} workers were lost")
    wait_for("the end of the run", lambda: world.rows("SELECT 1 FROM runs WHERE status = 'finished'"))
    assert state_of(world, INNOCENT) == ("done", None)

    def told() -> list[str]:
        return [text for text in world.messages(ERROR_CHAT) if "LostTooOften" in text]

    [message] = wait_for("the message", told)
    assert "CRITICAL: LostTooOften" in message
    assert DEADLY in message
    with urllib.request.urlopen(f"http://127.0.0.1:{world.env['PROMETHEUS_PORT']}/metrics") as reply:
        counts = reply.read().decode()
    assert re.search(r'celery_task_failed_total\{[^}]*error_type="LostTooOften"[^}]*\} 1\.0', counts)
    assert 'scheduler_job_failure_total{job_name="trading_job"} 1.0' in counts
    # nobody has it any more
    with Connection(world.redis_url) as broker:
        client = broker.default_channel.client
        wait_for("its acknowledgement", lambda: not client.hlen("unacked") and not client.llen("upbit"))
