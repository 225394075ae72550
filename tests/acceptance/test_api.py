"""`autotrader api` with a real worker, Redis and PostgreSQL: started, asked, and left without what it needs."""

from __future__ import annotations

from typing import Any

import pytest
from calls import OPERATE, READ, Client, start_api
from nodes import LocalWorker
from world import ERROR_CHAT, World, wait_for

from sandbox.local.server import free_port


@pytest.fixture
def client(world: World) -> Client:
    return start_api(world)


def ended(client: Client, task_id: str) -> dict[str, Any]:
    def state() -> dict[str, Any] | None:
        task: dict[str, Any] = client.get(f"/api/tasks/{task_id}").json
        return task if task["state"] in {"SUCCESS", "FAILURE"} else None

    found: dict[str, Any] = wait_for("the end of the task", state)
    return found


def test_an_analysis_is_asked_for_by_its_korean_name_followed_and_read(
    world: World, celery_worker: LocalWorker, client: Client
) -> None:
    asked = client.post("/api/analyze/upbit/이더리움")
    assert asked.status == 202, asked.body
    started = asked.json
    assert started["symbol"] == "KRW-ETH"
    task = ended(client, started["task_id"])
    assert task["state"] == "SUCCESS"
    assert task["result"] == {"outcome": "order_filled", "market": "upbit", "symbol": "KRW-ETH"}
    assert task["progress"] == {"total": 1, "done": 1, "failed": 0, "pending": 0, "percent": 100}
    assert task["run_id"] == started["run_id"]

    listed = client.get("/analysis-results/?market=upbit&symbol=KRW-ETH&decision=buy&min_confidence=1").json
    assert listed["total"] == 1
    [row] = listed["items"]
    assert (row["id"], row["outcome"]) == (task["analysis_id"], "order_filled")
    assert client.get("/analysis-results/?decision=sell").json["total"] == 0

    told = client.get(f"/analysis-results/{row['id']}").json
    assert set(told["ranges"]) == {"appropriate_buy", "appropriate_sell", "buy_hope", "sell_target"}
    [order] = told["orders"]
    assert order["state"] == "filled"
    assert isinstance(order["price"], str)
    assert isinstance(told["ranges"]["buy_hope"]["min"], str)
    assert client.get("/api/orders").json["items"][0]["id"] == order["id"]
    [fill] = client.get("/api/fills?symbol=KRW-ETH").json["items"]
    assert fill["trade_id"] == order["fills"][0]["trade_id"]
    assert fill["at"].endswith("Z")
    run = client.get(f"/api/runs/{started['run_id']}").json
    assert run["progress"]["percent"] == 100
    assert [symbol["outcome"] for symbol in run["symbols"]] == ["order_filled"]
    [account] = client.get("/api/positions").json
    assert [position["symbol"] for position in account["positions"]] == ["KRW-ETH"]
    wait_for("the snapshot", lambda: client.get("/api/portfolio-snapshots").json["total"])
    assert client.get("/api/profit-reports").json["total"] == 0


def test_the_trace_goes_on_from_the_request_into_the_worker(
    world: World, celery_worker: LocalWorker, client: Client
) -> None:
    asked = client.post("/api/analyze/upbit/KRW-BTC").json
    ended(client, asked["task_id"])

    def joined() -> bool:
        spans = world.sandbox.get("otlp/spans")
        roots = [span for span in spans if span["name"] == "POST /api/analyze/{market}/{symbol}"]
        traces = {span["trace_id"] for span in roots}
        names = {(span["name"], span["service"]) for span in spans if span["trace_id"] in traces}
        return names >= {
            ("POST /api/analyze/{market}/{symbol}", "autotrader-api"),
            ("apply_async/tasks.analysis.analyze_and_trade", "autotrader-api"),
            ("run/tasks.analysis.analyze_and_trade", "autotrader-worker-upbit"),
            ("analyze_coin: KRW-BTC", "autotrader-worker-upbit"),
        }

    wait_for("one trace over both processes", joined)


def test_a_halt_stops_orders_until_it_is_taken_back(world: World, celery_worker: LocalWorker, client: Client) -> None:
    halted = client.post("/api/halt", {"market": "upbit", "symbol": "비트코인", "reason": "점검"})
    assert halted.status == 200, halted.body
    assert "점검".encode() in halted.body
    assert halted.json["changed"]["symbol"] == "KRW-BTC"
    assert client.get("/api/trading-state").json["in_force"] == halted.json["in_force"]
    assert outcome(client, "KRW-BTC") == "trading_state"
    assert outcome(client, "KRW-ETH") == "order_filled"
    resumed = client.post("/api/resume", {"market": "upbit", "symbol": "KRW-BTC"})
    assert resumed.json["in_force"] == []
    assert outcome(client, "KRW-BTC") == "order_filled"


def test_a_task_is_followed_from_before_its_worker_is_up_to_its_failure(world: World, client: Client) -> None:
    asked = client.post("/api/analyze/upbit/KRW-XRP").json
    waiting = client.get(f"/api/tasks/{asked['task_id']}").json
    assert (waiting["state"], waiting["symbol"], waiting["error"]) == ("PENDING", "KRW-XRP", None)
    assert waiting["progress"] == {"total": 1, "done": 0, "failed": 0, "pending": 1, "percent": 0}
    world.sandbox.post("faults", {"service": "upbit", "symbol": "KRW-XRP", "kind": "html", "status": 503})
    world.start("worker", "cli", "worker", "upbit")
    failed = ended(client, asked["task_id"])
    assert failed["state"] == "FAILURE"
    assert failed["error"]["type"] == "BadReply"
    assert "HTML" in failed["error"]["message"]
    assert "://" not in failed["error"]["message"]
    assert failed["progress"]["failed"] == 1


def outcome(client: Client, symbol: str) -> str:
    task = ended(client, client.post(f"/api/analyze/upbit/{symbol}").json["task_id"])
    return str(task["result"]["outcome"])


def test_what_is_not_to_be_is_refused_with_its_cure(world: World, client: Client) -> None:
    assert client.get("/api/orders", token=None).status == 401
    assert client.get("/api/orders", token="wrong" * 5).status == 401
    assert client.get("/api/orders", token=OPERATE).status == 200
    assert client.post("/api/halt", {"reason": "x"}, token=READ).status == 403
    assert client.get("/api/trading-state").json["in_force"] == []
    unknown = client.post("/api/analyze/upbit/비트코잉")
    assert (unknown.status, unknown.code) == (404, "not_found")
    assert {"symbol": "KRW-BTC", "name": "비트코인"} in unknown.json["error"]["candidates"]
    elsewhere = client.post("/api/analyze/binance/BTC")
    assert (elsewhere.status, elsewhere.code) == (404, "not_found")
    assert [found["symbol"] for found in elsewhere.json["error"]["candidates"]] == ["upbit", "kis", "yfinance"]
    assert client.get("/api/tasks/00000000-0000-0000-0000-000000000000").status == 404
    assert client.get("/api/runs/00000000-0000-0000-0000-000000000000").status == 404
    assert client.post("/api/halt", b"x" * 20_000).status == 413
    invalid = client.post("/api/halt", {"reason": "x", "symbol": "KRW-BTC"})
    assert invalid.status == 422
    assert "a symbol needs its market" in invalid.json["error"]["fault"]
    assert client.post("/api/halt", b"{").status == 422
    for answer in (unknown, invalid):
        assert answer.json["error"]["cure"]
        assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]
        assert float(answer.headers["x-process-time"]) >= 0


def test_too_many_requests_are_told_when_to_come_back(world: World) -> None:
    client = start_api(world, API_REQUESTS_PER_MINUTE="3")
    answers = [client.get("/api/trading-state") for _ in range(8)]
    [*_, last] = answers
    assert last.status == 429
    assert 0 < int(last.headers["retry-after"]) <= 61
    assert client.get("/healthz", token=None).status == 200
    # each token has its own share
    assert client.get("/api/trading-state", token=OPERATE).status == 200


def test_a_failure_reaches_the_error_chat_with_its_trace_and_shows_only_a_request_id(world: World) -> None:
    # as a migration that was not run would show
    client = start_api(world, PROMETHEUS_PORT=str(free_port()))
    world.start("notifier", "cli", "notifier")
    world.rows("ALTER TABLE pnl_reports RENAME TO elsewhere")
    failed = client.get("/api/profit-reports")
    assert (failed.status, failed.code) == (500, "internal")
    assert "pnl_reports" not in failed.body.decode()
    counted = client.get("/metrics").body.decode()
    assert 'bot_errors_total{error_type="ProgrammingError"} 1.0' in counted
    route = 'method="GET",route="/api/profit-reports"'
    assert f'http_server_errors_total{{error_type="internal",{route}}} 1.0' in counted
    [alert] = wait_for("the alert", lambda: world.messages(ERROR_CHAT))
    assert "GET /api/profit-reports" in alert

    def traces() -> list[str]:
        spans = world.sandbox.get("otlp/spans")
        return [span["trace_id"] for span in spans if span["name"] == "GET /api/profit-reports"]

    [trace] = wait_for("the span", traces)
    assert trace in alert
