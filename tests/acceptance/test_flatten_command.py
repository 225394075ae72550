"""An operator who wants out: one command, and the worker sells everything, once, and says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest
from nodes import LocalWorker
from test_operator import says
from world import TRADE_CHAT, World, wait_for

SYMBOL = "KRW-ETH"


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"NOTIFY_LANGUAGE": "en"}


def test_one_command_sells_everything_once_and_stops_buying(world: World, celery_worker: LocalWorker) -> None:
    world.start("notifier", "cli", "notifier")
    assert "outcome: order_filled" in says(world, "analyze", "upbit", SYMBOL)
    # the command asks, and sells nothing unless the market is typed
    argv = [sys.executable, "-m", "cli", "flatten", "upbit"]
    asked = subprocess.run(
        argv, env=world.env, cwd=world.directory, input="yes\n", capture_output=True, text=True, timeout=90, check=False
    )
    assert asked.returncode == 1
    assert "nothing was sold" in asked.stderr
    assert world.rows("SELECT * FROM risk_exits") == []

    said = says(world, "flatten", "upbit", "--yes")
    assert f"upbit {SYMBOL}: selling " in said
    assert "upbit: the worker was told to sell at once" in said
    # no beat runs here: it is the message of the command that the worker takes
    [exit] = wait_for("the sale", lambda: world.rows("SELECT * FROM risk_exits WHERE ended_at IS NOT NULL"))
    assert (exit["kind"], exit["symbol"], exit["outcome"]) == ("flatten", SYMBOL, "sold_all")
    [order] = world.rows("SELECT * FROM orders WHERE side = 'sell'")
    assert (order["state"], order["exit_id"], order["filled_quantity"]) == ("filled", exit["id"], exit["quantity"])
    assert world.rows("SELECT * FROM paper_positions WHERE quantity > 0") == []

    assert "upbit: our own fills hold nothing" in says(world, "flatten", "upbit", "--yes")
    assert "1. state-upbit: upbit is reducing until it is taken back: flatten" in says(world, "locks")

    titles = ("Asked to close the position, selling", "Flatten done: all sold")
    wait_for("the messages", lambda: all(any(title in told for told in world.messages(TRADE_CHAT)) for title in titles))
