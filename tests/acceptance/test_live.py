"""Orders with real money, against the sandbox's Upbit: both switches, the stop-loss, and whose journal it is."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery
from nodes import LocalWorker
from test_operator import refuses, says
from world import TRADE_CHAT, World, wait_for

SYMBOL = "KRW-ETH"
COIN = "ETH"


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {
        "TRADING_MODE": "live",
        "UPBIT_ACCESS_KEY": f"live-{uuid.uuid4().hex}",
        "UPBIT_SECRET_KEY": "the-secret-of-the-live-account",
        "IGNORE_MARKET_HOURS": "false",
        "NOTIFY_LANGUAGE": "en",
    }


@pytest.fixture(autouse=True)
def funded(world: World) -> None:
    """The account of the key holds ten million won."""
    world.sandbox.delete("upbit/price")
    world.sandbox.post("upbit/accounts", {
        "access_key": world.env["UPBIT_ACCESS_KEY"],
        "secret_key": world.env["UPBIT_SECRET_KEY"],
        "balances": {"KRW": "10000000"},
    })  # fmt: skip


def account(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.sandbox.get(f"upbit/accounts?access_key={world.env['UPBIT_ACCESS_KEY']}")
    return found


def held(world: World, currency: str) -> Decimal:
    rows = {row["currency"]: row for row in account(world)["balances"]}
    return Decimal(rows[currency]["balance"]) + Decimal(rows[currency]["locked"]) if currency in rows else Decimal(0)


def counted(world: World, name: str, **attributes: str) -> float:
    points = [
        point
        for metric in world.sandbox.get("otlp/metrics")
        if metric["name"] == name
        for point in metric["points"]
        if attributes.items() <= point["attributes"].items()
    ]
    return sum(float(point["value"]) for point in points)


def test_no_order_is_sent_before_both_switches_are_on(world: World, celery_worker: LocalWorker) -> None:
    assert "upbit: live, not armed: no order is sent" in says(world, "status")
    assert "live, but not armed" in celery_worker.logs()
    assert "outcome: not_armed" in says(world, "analyze", "upbit", SYMBOL)
    assert account(world)["orders"] == []

    assert "trades on paper: set TRADING_MODE=live" in refuses(world, "arm", "kis", "--for", "8h")
    assert "must be above 0 and at most 7d" in refuses(world, "arm", "upbit", "--for", "30d")
    assert "must be a duration" in refuses(world, "arm", "upbit", "--for", "soon")
    assert "orders are sent with real money" in says(world, "arm", "upbit", "--for", "8h")
    assert "upbit: LIVE, armed until" in says(world, "status")
    assert "outcome: order_filled" in says(world, "analyze", "upbit", SYMBOL)
    [order] = account(world)["orders"]
    assert order["identifier"].startswith("upbit-b1-1-")
    assert f"upbit (live): {int(held(world, 'KRW')):,}" in says(world, "positions").replace(".", " ", 1)

    assert "is not armed" in says(world, "disarm", "upbit")
    assert "outcome: not_armed" in says(world, "analyze", "upbit", SYMBOL)
    assert len(account(world)["orders"]) == 1


def test_a_price_that_falls_is_sold_recorded_counted_and_told(
    world: World, celery_worker: LocalWorker, celery_setup_app: Celery
) -> None:
    world.start("notifier", "cli", "notifier")
    says(world, "arm", "upbit", "--for", "1h")
    assert "outcome: order_filled" in says(world, "analyze", "upbit", SYMBOL)
    [bought] = account(world)["orders"]
    assert held(world, COIN) > 0

    assert guard(celery_setup_app) == {"market": "upbit", "outcome": "checked", "symbols": {}}
    world.sandbox.post(
        "upbit/price", {"symbol": SYMBOL, "price": str(int(Decimal(bought["price"]) * 9 / 10_000) * 1000)}
    )
    # the task ends normally: an exit is an outcome
    assert guard(celery_setup_app)["symbols"] == {SYMBOL: "sold_all"}

    assert held(world, COIN) == 0
    [_, sold] = sorted(account(world)["orders"], key=lambda order: order["created_at"])
    assert (sold["side"], sold["ord_type"], sold["time_in_force"]) == ("ask", "limit", "ioc")
    [ledger] = world.rows("SELECT * FROM risk_exits")
    assert (ledger["kind"], ledger["symbol"], ledger["outcome"]) == ("stop_loss", SYMBOL, "sold_all")
    [order] = world.rows("SELECT * FROM orders WHERE side = 'sell'")
    assert (order["state"], order["exit_id"], order["client_order_id"]) == ("filled", ledger["id"], sold["identifier"])
    wait_for("the metric of the exit", lambda: counted(world, "risk_exit_total", symbol=SYMBOL, kind="stop_loss") == 1)
    texts = wait_for("the messages", lambda: [text for text in world.messages(TRADE_CHAT) if "Stop-loss" in text])
    assert any(SYMBOL in text for text in texts)

    assert guard(celery_setup_app)["symbols"] == {}
    assert len(account(world)["orders"]) == 2


def guard(app: Celery) -> dict[str, Any]:
    """Have the worker look at the positions now, as the beat does every few seconds."""
    sent = app.send_task("tasks.guard.guard", args=("upbit",), queue="upbit.orders", ignore_result=False)
    result: dict[str, Any] = sent.get(timeout=60)
    assert sent.state == "SUCCESS"
    return result


def test_a_journal_is_never_shared_by_two_accounts(world: World, celery_worker: LocalWorker) -> None:
    world.start(
        "paper",
        "celery",
        "-A",
        "tasks",
        "worker",
        "-P",
        "threads",
        "-Q",
        "upbit",
        "-n",
        "paper@%h",
        TRADING_MODE="paper",
    )
    said = wait_for("the refusal", lambda: refusal(world))
    assert "the database has the orders of upbit's account live:" in said
    assert world.env["UPBIT_ACCESS_KEY"] not in said


def refusal(world: World) -> str:
    log = world.directory / "paper.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return next((line for line in lines if line.startswith("autotrader: ")), "")
