"""Which queues a worker serves, and that it starts with no strategy it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest
from nodes import LocalWorker
from test_refusals import WORKER, ends
from world import World


def test_a_markets_worker_also_serves_its_orders_and_nothing_else(celery_worker: LocalWorker) -> None:
    node = celery_worker.hostname()
    replies = celery_worker.app.control.inspect([node], timeout=15, limit=1).active_queues()
    assert sorted(queue["name"] for queue in replies[node]) == ["upbit", "upbit.orders"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ('{"markets": {"binance": {}}}', "unknown market binance: use one of upbit, kis, yfinance"),
        ('{"all": {"stop_los_rate": "0.05"}}', "unknown setting stop_los_rate: did you mean stop_loss_rate"),
    ],
)
def test_a_strategy_that_cannot_be_read_ends_the_worker_with_one_line(
    world: World, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "malformed.json"
    file.write_text(content, encoding="utf-8")
    assert said in ends(world, *WORKER, STRATEGY_FILE=str(file))


def test_a_strategy_file_that_is_not_there_ends_the_worker_with_its_path(world: World, tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.json")
    assert missing in ends(world, *WORKER, STRATEGY_FILE=missing)
