"""A message that is gone, from the broker and from everywhere: its analysis is done all the same, or told as lost."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from nodes import LocalWorker
from world import World, wait_for

PENDING = "SELECT symbol, state, outcome, error FROM run_symbols"


def lose(world: World, hours: float) -> None:
    """A run of one symbol that was opened so long ago and whose message nobody has."""
    world.rows(
        "WITH run AS (INSERT INTO runs (market, slot, status, opened_at) VALUES "
        f"('upbit', now() - interval '{hours} hours', 'opened', now() - interval '{hours} hours') RETURNING id) "
        "INSERT INTO run_symbols (run_id, symbol) SELECT id, 'KRW-ETH' FROM run RETURNING symbol"
    )


def find(app: Celery) -> Any:
    sent = app.send_task("tasks.lost.find", args=("upbit",), queue="upbit.orders", ignore_result=False)
    return sent.get(timeout=60)


def test_an_analysis_whose_message_is_gone_is_done_once(
    world: World, celery_worker: LocalWorker, celery_setup_app: Celery
) -> None:
    lose(world, hours=0.1)
    assert find(celery_setup_app) == {"market": "upbit", "published_again": 1}
    # asked again at once, it is under way
    assert find(celery_setup_app)["published_again"] == 0
    [row] = wait_for("its end", lambda: [row for row in world.rows(PENDING) if row["state"] == "done"])
    assert row["outcome"] == "order_filled"
    assert len(world.rows("SELECT 1 FROM analyses")) == 1
    assert find(celery_setup_app)["published_again"] == 0


def test_what_is_too_old_to_be_of_use_is_ended_and_told(
    world: World, celery_worker: LocalWorker, celery_setup_app: Celery
) -> None:
    lose(world, hours=2)
    with pytest.raises(Exception, match="KRW-ETH came to no end; is a worker of upbit up"):
        find(celery_setup_app)
    [row] = world.rows(PENDING)
    assert (row["state"], row["error"]) == ("failed", "Lost: its message is gone")
    assert world.rows("SELECT 1 FROM analyses") == []
