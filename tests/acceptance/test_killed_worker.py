"""A worker that is killed in the middle of its work: nothing is lost and nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import pytest
from nodes import LocalWorker
from world import SYMBOLS, TRADE_CHAT, World, wait_for

VISIBILITY_SECONDS = 15
TITLES = ("AI 분석 완료", "주문 접수", "체결")


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {
        "VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY_SECONDS),
        "ANALYZE_DEADLINE_SECONDS": "12",
        "SWEEP_DEADLINE_SECONDS": "12",
        "HTTP_TIMEOUT_SECONDS": "10",
        # two at a time, so that some symbols run, some wait in the worker and some in the queue
        "WORKER_CONCURRENCY": "2",
    }


def collecting(world: World) -> bool:
    """Two symbols' candles are being asked for."""
    asked = [request for request in world.sandbox.get("requests") if "candles/days" in request["path"]]
    return len(asked) >= 2


def ordering(world: World) -> bool:
    """The first order is on its way or has just been filled."""
    return bool(world.rows("SELECT 1 FROM orders"))


@pytest.mark.parametrize("moment", [collecting, ordering])
def test_a_killed_workers_symbols_are_analysed_again_and_no_order_is_placed_twice(
    world: World, celery_worker: LocalWorker, moment: Callable[[World], bool]
) -> None:
    world.start("notifier", "cli", "notifier")
    world.sandbox.post("faults", {"service": "upbit", "kind": "slow", "seconds": 1.0, "path": "candles/days"})
    celery_worker.app.send_task(
        "tasks.analysis.sweep", args=("upbit",), queue="upbit", headers={"x_sent_at": time.time()}
    )
    wait_for(f"{moment.__name__} before the kill", lambda: moment(world))
    celery_worker.kill()
    killed = time.monotonic()
    assert world.rows("SELECT 1 FROM run_symbols WHERE state = 'pending'"), "the sweep had ended before the kill"
    celery_worker.container.restart()

    done = "SELECT symbol FROM run_symbols WHERE state = 'done'"
    wait_for("every symbol done", lambda: len(world.rows(done)) == len(SYMBOLS), VISIBILITY_SECONDS + 40)
    again = "SELECT max(finished_at) - min(opened_at) AS took FROM runs JOIN run_symbols ON run_id = id"
    assert time.monotonic() - killed < VISIBILITY_SECONDS + 40, world.rows(again)

    assert world.rows("SELECT count(*) AS n FROM runs") == [{"n": 1}]
    assert world.rows("SELECT symbol FROM analyses GROUP BY symbol HAVING count(*) > 1") == []
    # an order whose sender was killed before the venue had it is proven not to exist by then; one that was planned and
    # never sent is ended
    wait_for("every order proven", lambda: proven(world, celery_worker), 40)
    others = "SELECT DISTINCT state FROM orders WHERE venue_order_id IS NULL"
    assert {row["state"] for row in world.rows(others)} <= {"not_created", "cancelled"}
    orders = world.rows("SELECT symbol, state FROM orders WHERE venue_order_id IS NOT NULL")
    assert len(orders) >= 3
    assert len({order["symbol"] for order in orders}) == len(orders)
    assert {order["state"] for order in orders} <= {"filled", "partly_filled"}
    assert world.rows("SELECT count(*) AS n FROM paper_orders") == [{"n": len(orders)}]
    # an order that was asked for after the kill may have traded in two parts
    assert world.rows("SELECT count(DISTINCT order_id) AS n FROM fills") == [{"n": len(orders)}]
    off = "SELECT client_order_id FROM orders o WHERE filled_quantity <> (SELECT coalesce(sum(quantity), 0) FROM fills"
    assert world.rows(f"{off} WHERE order_id = o.id)") == []
    spent = "SELECT opening_cash - cash - (SELECT sum(quantity * price + fee) FROM fills) AS off FROM paper_accounts"
    assert world.rows(spent)[0]["off"] == 0

    # one message of each analysis, and one of each ladder, unless it was its sender that was killed: then the first
    # word of it is what it filled
    wait_for("all fills told", lambda: headlines(world, TITLES)["체결"] >= len(orders))
    wait_for("all analyses told", lambda: headlines(world, TITLES)["AI 분석 완료"] >= len(SYMBOLS))
    time.sleep(1)
    told = headlines(world, TITLES)
    assert told["AI 분석 완료"] == len(SYMBOLS)
    assert len(orders) - 2 <= told["주문 접수"] <= len(orders)
    assert told["체결"] <= world.rows("SELECT count(*) AS n FROM fills")[0]["n"]


def proven(world: World, worker: LocalWorker) -> bool:
    """Have the worker look at its orders, as the beat does every few seconds; whether none is unproven."""
    sent = worker.app.send_task("tasks.orders.resolve", args=("upbit",), queue="upbit.orders", ignore_result=False)
    sent.get(timeout=30)
    return not world.rows("SELECT 1 FROM orders WHERE state IN ('sending', 'unknown')")


def headlines(world: World, titles: Iterable[str]) -> dict[str, int]:
    """How many messages of the trade chat have each of `titles` in their first line."""
    first = [text.splitlines()[0] for text in world.messages(TRADE_CHAT)]
    return {title: sum(title in line for line in first) for title in titles}
