"""A process that cannot work says why in one line and exits 1."""

from __future__ import annotations

import subprocess
import sys

import pytest
from world import World

from sandbox.local import LocalPostgres
from sandbox.local.server import free_port

ANY_POOL = ("celery", "-A", "tasks", "worker", "-Q", "upbit", "-n", "upbit@%h")
WORKER = (*ANY_POOL, "-P", "threads")
BEAT = ("celery", "-A", "tasks", "beat")


def ends(world: World, *argv: str, **env: str) -> str:
    """Run a process of the system to its end; returns its one line."""
    done = subprocess.run(
        [sys.executable, "-m", *argv],
        env={**world.env, **env},
        cwd=world.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("autotrader: ")]
    return line


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_any_pool_but_threads_is_refused(world: World, pool: str) -> None:
    line = ends(world, *ANY_POOL, "-P", pool)
    assert line == (
        f"autotrader: the pool {pool!r} cannot run these tasks, only 'threads' can: start the worker with -P threads"
    )


@pytest.mark.parametrize("argv", [WORKER, BEAT, ("cli", "sweep", "upbit")])
def test_redis_away(world: World, argv: tuple[str, ...]) -> None:
    port = free_port()
    line = ends(world, *argv, REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert f"Redis at 127.0.0.1:{port} is not reachable" in line
    assert "start it, or set REDIS_URL" in line


@pytest.mark.parametrize("argv", [WORKER, ("cli", "migrate")])
def test_postgresql_away(world: World, argv: tuple[str, ...]) -> None:
    port = free_port()
    line = ends(world, *argv, DATABASE_URL=f"postgresql+asyncpg://autotrader:secret@127.0.0.1:{port}/autotrader")
    assert f"PostgreSQL at 127.0.0.1:{port}" in line
    assert "connection refused; start PostgreSQL, or correct DATABASE_URL" in line
    assert "secret" not in line


def test_a_database_without_migrations(world: World, postgres_server: LocalPostgres) -> None:
    empty = postgres_server.create_database(f"empty_{free_port()}")
    assert "was never migrated; run: autotrader migrate" in ends(world, *WORKER, DATABASE_URL=empty)


def test_a_port_in_use(world: World) -> None:
    taken = world.sandbox.url.rsplit(":", 1)[1]
    line = ends(world, *WORKER, PROMETHEUS_PORT=taken)
    assert f"port {taken} for Prometheus cannot be opened" in line
    assert "set PROMETHEUS_PORT to a free port, or 0" in line


def test_an_unknown_market_on_the_command_line(world: World) -> None:
    assert "unknown market 'binance': use one of upbit, kis, yfinance" in ends(world, "cli", "worker", "binance")


def test_a_notifier_without_a_token(world: World) -> None:
    assert "TELEGRAM_TOKEN is missing" in ends(world, "cli", "notifier", TELEGRAM_TOKEN="")


def test_a_language_model_that_is_none(world: World) -> None:
    for models, said in (("nobody:model-1", "'nobody:model-1'"), ("gemini-2.5-flash,google:", "'google:'")):
        line = ends(world, *WORKER, ANALYST="llm", GOOGLE_API_KEYS="key-of-the-refusals", LLM_MODELS=models)
        assert line.startswith(f"autotrader: LLM_MODELS: {said} cannot be used (")
        assert line.endswith("; write google:MODEL or PROVIDER:MODEL")
        assert "key-of-the-refusals" not in line
