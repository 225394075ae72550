"""`autotrader doctor` over the running system: silent about nothing, and each fault by its own name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis
from world import ERROR_CHAT, TOKEN, World, wait_for

from sandbox.local import LocalPostgres
from sandbox.local.server import free_port

MARKETS = ("upbit", "kis", "yfinance")


@pytest.fixture(autouse=True)
def as_deployed(world: World) -> Iterator[redis.Redis]:
    """Redis with its append-only file on, as the doctor wants it; set back afterwards."""
    with redis.Redis.from_url(world.redis_url) as client:
        before = {name: client.config_get(name)[name] for name in ("appendonly", "maxmemory-policy")}
        client.config_set("appendonly", "yes")
        yield client
        for name, value in before.items():
            client.config_set(name, value)


def doctor(world: World, *options: str, **env: str) -> tuple[int, dict[str, str]]:
    """Exit code, and by its name what each line says after its verdict."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "doctor", *options],
        env={**world.env, **env},
        cwd=world.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    lines: dict[str, str] = {}
    for line in done.stdout.splitlines():
        verdict, (name, _, detail) = line[:8].strip(), line[8:].partition(": ")
        assert verdict in ("ok", "FAULT", "skipped"), line
        lines[f"{name} again" if name in lines else name] = f"{verdict} {detail}"
    faults = sum(text.startswith("FAULT") for text in lines.values())
    assert done.returncode == (1 if faults else 0)
    assert done.stderr.strip().splitlines()[-1:] == ([f"autotrader: {faults} at fault"] if faults else [])
    return done.returncode, lines


def test_with_everything_right_nothing_is_at_fault_and_the_test_alert_arrives(
    world: World, as_deployed: redis.Redis
) -> None:
    ports = {name: free_port() for name in (*MARKETS, "notifier", "beat")}
    for market in MARKETS:
        world.start(f"worker-{market}", "cli", "worker", market, PROMETHEUS_PORT=str(ports[market]))
    world.start("notifier", "cli", "notifier", PROMETHEUS_PORT=str(ports["notifier"]))
    world.start("beat", "cli", "beat", PROMETHEUS_PORT=str(ports["beat"]), SWEEP_AT_START="false")
    flower_port = free_port()
    state = str(world.directory / "flower" / "state")
    world.start("flower", "cli", "flower", f"--port={flower_port}", FLOWER_BASIC_AUTH="a:login", FLOWER_DB=state)
    heartbeats = [f"autotrader:heartbeat:{market}" for market in MARKETS]
    # the beat sends the first ones 30 s after its start
    wait_for("a heartbeat of each market", lambda: as_deployed.exists(*heartbeats) == len(MARKETS), 90)
    wait_for("Flower", lambda: "Visit me at" in (world.directory / "flower.log").read_text(), 40)

    given = [f"--metrics-port={port}" for port in ports.values()]
    code, lines = doctor(world, "--alert", *given, FLOWER_URL=f"http://127.0.0.1:{flower_port}")
    assert code == 0, lines
    skipped = {name for name, text in lines.items() if text.startswith("skipped")}
    assert skipped == {"backup", "backup off this device", "signoz", "signoz stores it"}
    for name in (
        "redis policy",
        "redis AOF",
        "database",
        "clock",
        "beat",
        "notifier",
        "TELEGRAM_CHAT_ID",
        "otlp metrics",
        "flower",
    ):
        assert lines[name].startswith("ok"), (name, lines)
    assert sum(name.startswith("metrics of") and text.startswith("ok") for name, text in lines.items()) == len(ports)
    run = lines["test alert"].split()[1]
    [message] = [text for text in world.messages(ERROR_CHAT) if run in text]
    assert "시험 알림" in message
    assert [span for span in world.sandbox.get("otlp/spans") if span["name"] == "autotrader doctor"]


def test_a_redis_that_forgets_is_at_fault(world: World, as_deployed: redis.Redis) -> None:
    as_deployed.config_set("maxmemory-policy", "allkeys-lru")
    as_deployed.config_set("appendonly", "no")
    _, lines = doctor(world)
    assert lines["redis policy"].startswith("FAULT is allkeys-lru")
    assert "maxmemory-policy noeviction" in lines["redis policy"]
    assert "appendonly yes" in lines["redis AOF"]


def test_servers_that_are_away_are_each_named(world: World) -> None:
    refused = f"127.0.0.1:{free_port()}"
    _, lines = doctor(
        world,
        REDIS_URL=f"redis://{refused}/0",
        CELERY_BROKER_URL=f"amqp://guest:secret-of-nobody@{refused}//",
        DATABASE_URL=f"postgresql+asyncpg://autotrader:secret-of-nobody@{refused}/x",
        UPBIT_BASE_URL=f"http://{refused}",
    )
    assert lines["redis"].startswith(f"FAULT {refused} is not reachable (connection refused)")
    assert lines["broker"].endswith("start it, or correct CELERY_BROKER_URL")
    assert "connection refused; start PostgreSQL" in lines["database"]
    assert lines["processes"].startswith("FAULT cannot be seen")
    assert "connection refused" in lines["venue upbit"]
    assert lines["venue kis"].startswith("ok")
    assert "secret-of-nobody" not in str(lines)


def test_passwords_that_are_wrong_are_told_from_servers_that_are_away(world: World) -> None:
    right_redis, right_database = world.redis_url.split(":")[2].partition("@")[0], world.database_url.split(":")[2]
    _, lines = doctor(
        world,
        REDIS_URL=world.redis_url.replace(right_redis, "not-the-password"),
        DATABASE_URL=world.database_url.replace(right_database.partition("@")[0], "not-the-password"),
    )
    assert lines["redis"] == "FAULT refuses the login; correct user and password in REDIS_URL"
    assert "the password was refused; correct DATABASE_URL" in lines["database"]
    assert "not-the-password" not in str(lines)


def test_a_database_that_was_never_migrated_is_at_fault(world: World, postgres_server: LocalPostgres) -> None:
    empty = postgres_server.create_database("doctor_empty")
    try:
        _, lines = doctor(world, DATABASE_URL=empty)
    finally:
        postgres_server.drop_database("doctor_empty")
    assert "was never migrated; run: autotrader migrate" in lines["database"]


def test_what_telegram_refuses_is_named(world: World) -> None:
    _, lines = doctor(world, ERROR_REPORTING_CHAT_ID="nobody")
    assert lines["telegram"].startswith("ok the token is that of @autotrader_sandbox_bot")
    assert lines["TELEGRAM_CHAT_ID"].startswith("ok")
    assert lines["ERROR_REPORTING_CHAT_ID"].startswith("FAULT Telegram says 400 'Bad Request: chat not found'")

    world.sandbox.post("faults", {"service": "telegram", "kind": "error", "status": 401})
    _, lines = doctor(world)
    assert lines["telegram"].startswith("FAULT refuses TELEGRAM_TOKEN (401)")
    assert TOKEN not in str(lines)


def test_a_collector_that_does_not_take_it_is_at_fault(world: World) -> None:
    _, lines = doctor(world, OTEL_EXPORTER_OTLP_ENDPOINT=f"{world.sandbox.url}/otlp/v1/traces")
    assert "answers 404" in lines["otlp traces"]
    assert "without /v1/traces" in lines["otlp metrics"]
    world.sandbox.post("faults", {"service": "otlp", "kind": "hang", "path": "/v1/metrics"})
    _, lines = doctor(world)
    assert lines["otlp traces"].startswith("ok")
    assert "it hangs" in lines["otlp metrics"]
    assert "signoz stores it" not in lines


def test_processes_that_are_silent_are_at_fault(world: World, as_deployed: redis.Redis) -> None:
    as_deployed.set("autotrader:heartbeat:kis", "1")
    as_deployed.set("autotrader:notifier:sign", "1")
    as_deployed.rpush("upbit", *["a task"] * 101)
    port = free_port()
    _, lines = doctor(world, "--alert", PROMETHEUS_PORT=str(port), KIS_APP_SECRET="")
    assert lines["beat"] == "FAULT no beat runs, so nothing is scheduled; start it: autotrader beat"
    assert lines["notifier"].startswith("FAULT was last heard of")
    assert lines["worker upbit"].startswith("FAULT never was heard of; start it: autotrader worker upbit")
    assert lines["worker kis"].startswith("FAULT was last heard of")
    assert lines["queue upbit"].startswith("FAULT 101 in upbit")
    assert "is the notifier running?" in lines["test alert"]
    assert f"PROMETHEUS_PORT={port}, and nothing listens there" in lines["metrics"]
    assert "KIS_APP_KEY or KIS_APP_SECRET is missing" in lines["keys kis"]


def test_pages_open_to_all_and_foreign_metrics_are_at_fault(world: World) -> None:
    """The sandbox's start page stands for a foreign server; a Flower without our configuration is open to all."""
    port = free_port()
    argv = ("celery", "-A", "tasks", "flower", f"--port={port}", "--address=127.0.0.1", "--conf=/dev/null")
    world.start("open-flower", *argv, FLOWER_UNAUTHENTICATED_API="true")
    wait_for("Flower", lambda: "Visit me at" in (world.directory / "open-flower.log").read_text(), 40)
    foreign = world.sandbox.url.rpartition(":")[2]
    _, lines = doctor(
        world,
        f"--metrics-port={foreign}",
        FLOWER_URL=f"http://127.0.0.1:{port}",
        SIGNOZ_URL=world.sandbox.url,
    )
    assert "without a login; set FLOWER_BASIC_AUTH" in lines["flower"]
    assert lines["signoz"].startswith("FAULT answers 404 at /api/v1/health; does SIGNOZ_URL name it")
    assert lines[f"metrics of the process on {foreign}"].startswith("FAULT something else answers there (404)")


def test_settings_that_cannot_be_read_are_one_line_each(world: World) -> None:
    code, lines = doctor(world, REDIS_URL="localhost:6379", WORKER_CONCURRENCY="many")
    assert code == 1
    assert set(lines) == {"settings", "settings again"}
    workers, redis = sorted(lines.values(), key=lambda line: "REDIS_URL" in line)
    assert redis.startswith("FAULT setting REDIS_URL: must start with redis://")
    assert workers.startswith("FAULT setting WORKER_CONCURRENCY: ")
