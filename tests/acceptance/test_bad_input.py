"""What a venue may answer: the symbol fails with one clear line and an alert, the others go on."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from nodes import LocalWorker
from world import ERROR_CHAT, World, wait_for

UNKNOWN = "KRW-NOPE"
FAULTS = {
    "KRW-ETH": ({"kind": "html", "status": 503}, "HTML"),
    # JSON has no NaN: a venue that has no number sends null
    "KRW-XRP": ({"kind": "candles", "variant": "nan"}, "opening_price: is null"),
    "KRW-SOL": ({"kind": "candles", "variant": "zero"}, "a price must be above zero"),
    "KRW-DOGE": ({"kind": "candles", "variant": "few"}, "too few candles: has 3, needs 60"),
}


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"UPBIT_SYMBOLS": ",".join(["KRW-BTC", *FAULTS, UNKNOWN])}


def test_each_bad_answer_fails_its_symbol_with_one_clear_alert_and_the_others_run(
    world: World, celery_worker: LocalWorker
) -> None:
    world.start("notifier", "cli", "notifier")
    for symbol, (fault, _) in FAULTS.items():
        world.sandbox.post("faults", {"service": "upbit", "symbol": symbol, **fault})
    sweep = celery_worker.app.send_task("tasks.analysis.sweep", args=("upbit",), queue="upbit")
    assert sweep.get(timeout=20)["outcome"] == "published"
    wait_for("the run's end", lambda: world.rows("SELECT 1 FROM runs WHERE status = 'finished'"))

    ended = {row["symbol"]: row for row in world.rows("SELECT symbol, state, error, task_id FROM run_symbols")}
    assert ended["KRW-BTC"]["state"] == "done"
    errors = wait_for(
        "an alert per fault",
        lambda: len(texts := world.messages(ERROR_CHAT)) >= len(FAULTS) + 1 and texts,
    )
    assert len(errors) == len(FAULTS) + 1
    trace = world.rows("SELECT trace_id FROM runs")[0]["trace_id"]
    for symbol, says in [*((symbol, says) for symbol, (_, says) in FAULTS.items()), (UNKNOWN, UNKNOWN)]:
        assert ended[symbol]["state"] == "failed"
        assert says in ended[symbol]["error"], ended[symbol]
        assert "\n" not in ended[symbol]["error"]
        assert "://" not in ended[symbol]["error"]
        [alert] = [text for text in errors if f"종목: {symbol}\n" in text]
        assert trace in alert
        assert says in alert


def test_an_unknown_market_fails_the_task_and_is_told(world: World, celery_worker: LocalWorker) -> None:
    world.start("notifier", "cli", "notifier")
    sweep = celery_worker.app.send_task("tasks.analysis.sweep", args=("binance",), queue="upbit")
    with pytest.raises(Exception, match="unknown market 'binance': use one of upbit, kis, yfinance"):
        sweep.get(timeout=20)
    assert sweep.state == "FAILURE"
    [alert] = wait_for("the alert", lambda: world.messages(ERROR_CHAT))
    assert "unknown market 'binance'" in alert


def test_equal_errors_are_one_message(world: World, celery_worker: LocalWorker) -> None:
    world.start("notifier", "cli", "notifier")
    for _ in range(5):
        celery_worker.app.send_task("tasks.analysis.sweep", args=("binance",), queue="upbit")
    wait_for("the alert", lambda: world.messages(ERROR_CHAT))
    wait_for("five failures", lambda: celery_worker.logs().count("raised unexpected: UnknownMarket") == 5)
    assert len(world.messages(ERROR_CHAT)) == 1
