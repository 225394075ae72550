"""What the API says of the system's health, and what it still does while parts are away."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator, Mapping

import pytest
import redis
from calls import OPERATE, Client, start_api
from nodes import LocalWorker
from world import World, wait_for

from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from storage.redis import HEARTBEAT_KEY, NOTIFIER_SIGN_KEY


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"KIS_SYMBOLS": "", "YFINANCE_SYMBOLS": "", "SWEEP_AT_START": "false"}


@pytest.fixture
def other_redis() -> Iterator[LocalRedis]:
    """A Redis that the test may stop."""
    with LocalRedis() as server:
        yield server


def not_ready(client: Client) -> set[str]:
    checks = client.get("/readyz").json["checks"]
    return {name for name, check in checks.items() if not check["ready"]}


def test_ready_while_all_work_and_not_without_the_worker(world: World, celery_worker: LocalWorker) -> None:
    client = start_api(world)
    assert client.get("/readyz").status == 503
    assert not_ready(client) == {"worker-upbit", "beat", "notifier"}
    world.start("beat", "cli", "beat")
    world.start("notifier", "cli", "notifier")
    celery_worker.app.send_task("tasks.heartbeat.heartbeat", args=("upbit",), queue="upbit")
    wait_for("readiness", lambda: client.get("/readyz").status == 200)
    assert client.get("/readyz", token=None).json == {"ready": True, "checks": {}}

    celery_worker.kill()
    # its last heartbeat, as it is when nothing came for longer than WORKER_SILENT_SECONDS
    with redis.Redis.from_url(world.redis_url) as store:
        store.set(HEARTBEAT_KEY.format(market="upbit"), f"{time.time() - 130:.3f}")
    wait_for("the loss", lambda: not_ready(client) == {"worker-upbit"})
    unready = client.get("/readyz")
    assert unready.status == 503
    assert re.search(r"last sign 13\d s ago.*autotrader worker upbit", unready.json["checks"]["worker-upbit"]["says"])
    assert client.get("/readyz", token=None).json == {"ready": False, "checks": {}}
    assert client.get("/healthz", token=None).status == 200


def test_a_notifier_that_is_dead_is_seen_though_nothing_waits_to_be_told(world: World) -> None:
    client = start_api(world)
    world.start("notifier", "cli", "notifier")
    wait_for("the notifier", lambda: "notifier" not in not_ready(client))
    [pid] = [state.pid for state in world.processes.states() if state.name == "notifier"]
    os.kill(pid, signal.SIGKILL)
    wait_for("its end", lambda: any(state.exit_code is not None for state in world.processes.states()))
    # as it is when the last sign is longer ago than is allowed
    with redis.Redis.from_url(world.redis_url) as store:
        assert float(store.get(NOTIFIER_SIGN_KEY) or 0) > time.time() - 60
        store.set(NOTIFIER_SIGN_KEY, f"{time.time() - 25:.3f}")
    wait_for("the loss", lambda: "notifier" in not_ready(client))
    says = client.get("/readyz").json["checks"]["notifier"]["says"]
    assert re.search(r"last sign 2\d s ago.*autotrader notifier", says)


def test_without_redis_trading_can_still_be_halted(world: World, other_redis: LocalRedis) -> None:
    client = start_api(world, REDIS_URL=other_redis.url)
    assert "redis" not in not_ready(client)
    other_redis.stop(abruptly=True)
    wait_for("the loss", lambda: "redis" in not_ready(client))
    assert client.get("/readyz", token=None).status == 503
    assert client.get("/healthz", token=None).status == 200

    began = time.monotonic()
    halted = client.post("/api/halt", {"reason": "Redis is away"})
    assert halted.status == 200, halted.body
    assert time.monotonic() - began < 5
    assert client.get("/api/trading-state").json["in_force"][0]["state"] == "halted"
    asked = client.post("/api/analyze/upbit/KRW-BTC")
    assert (asked.status, asked.code) == (503, "unavailable")
    assert other_redis.url not in asked.body.decode()
    assert world.rows("SELECT 1 FROM runs") == []


def test_without_the_database_it_starts_and_says_so_without_its_password(world: World) -> None:
    url = f"postgresql+asyncpg://trader:hunter2hunter2@127.0.0.1:{free_port()}/nothing"
    client = start_api(world, DATABASE_URL=url)
    assert "postgresql" in not_ready(client)
    asked = client.get("/api/orders")
    assert (asked.status, asked.code) == (503, "unavailable")
    assert client.post("/api/halt", {"reason": "now"}).status == 503
    assert "hunter2" not in asked.body.decode() + (world.directory / "api.log").read_text()


def test_metrics_are_at_the_port_and_behind_the_token(world: World) -> None:
    port = free_port()
    client = start_api(world, PROMETHEUS_PORT=str(port))
    client.get("/api/runs/00000000-0000-0000-0000-000000000000")
    client.get("/no/such/path")
    client.get("/analysis-results/?limit=1")
    client.get("/analysis-results/?market=upbit&limit=1")
    assert client.get("/metrics", token=None).status == 401
    shown = client.get("/metrics").body.decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        assert "http_server_requests_total" in reply.read().decode()
    assert 'http_server_requests_total{method="GET",route="/api/runs/{run_id}",status_code="404"} 1.0' in shown
    assert 'http_server_requests_total{method="GET",route="other",status_code="404"} 1.0' in shown
    assert 'http_server_requests_total{method="POST",route="/api/halt",status_code="500"} 0.0' in shown
    assert 'http_server_errors_total{error_type="internal",method="POST",route="/api/halt"} 0.0' in shown
    assert 'http_request_duration_seconds_count{endpoint="/api/runs/{run_id}",method="GET"} 1.0' in shown
    assert "/no/such/path" not in shown
    for has_filters in ("false", "true"):
        listed = f'endpoint="/analysis-results/",has_filters="{has_filters}",status="200"'
        assert f"analysis_api_requests_total{{{listed}}} 1.0" in shown
        assert f"analysis_api_duration_milliseconds_count{{{listed}}} 1.0" in shown
    assert 'endpoint="/api/analyze/{market}/{symbol}",has_filters="false",status="500"} 0.0' in shown
    assert 'endpoint="/api/runs' not in shown.split("analysis_api_requests_total")[1]
    assert 'bot_running{process="api"} 1.0' in shown
    wait_for(
        "the dependencies",
        lambda: (
            'autotrader_dependency_up{dependency="postgresql",process="api"} 1.0'
            in client.get("/metrics").body.decode()
        ),
    )


def test_it_stops_at_once_and_well(world: World) -> None:
    client = start_api(world)
    assert client.get("/api/trading-state", token=OPERATE).status == 200
    began = time.monotonic()
    assert world.processes.stop()["api"] == 0
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"API_READ_TOKEN": "short"}, "API_READ_TOKEN has 5 characters: take at least 16"),
        ({"API_PORT": "1", "API_HOST": "203.0.113.1"}, "set API_PORT to a free port"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(world: World, env: Mapping[str, str], says: str) -> None:
    world.start("api", "cli", "api", **env)
    wait_for("the end", lambda: world.processes.states()[0].exit_code is not None)
    assert world.processes.states()[0].exit_code == 1
    output = (world.directory / "api.log").read_text()
    [line] = [line for line in output.splitlines() if line.startswith("autotrader: ")]
    assert says in line
    assert "Traceback" not in output


def test_without_tokens_it_starts_says_so_and_answers_401(world: World) -> None:
    client = start_api(world, API_READ_TOKEN="", API_OPERATE_TOKEN="")
    assert client.get("/api/orders").status == 401
    assert client.get("/api/orders", token="").status == 401
    assert client.get("/healthz", token=None).status == 200
    assert "no token is set" in (world.directory / "api.log").read_text()
