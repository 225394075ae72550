"""How far a task is, as the API, the command line and Flower show it while a real worker is at it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from calls import Client, start_api
from nodes import LocalWorker
from test_flower import LOGIN, Flower
from world import SYMBOLS, World, wait_for

from sandbox.processes import ProcessState


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"NOTIFY_LANGUAGE": "en", "TELEGRAM_ENABLED": "false", "FLOWER_BASIC_AUTH": LOGIN}


def slow(world: World, symbol: str, seconds: float) -> None:
    world.sandbox.post("faults", {"service": "upbit", "symbol": symbol, "kind": "slow", "seconds": seconds})


def broken(world: World, symbol: str) -> None:
    world.sandbox.post("faults", {"service": "upbit", "symbol": symbol, "kind": "html", "status": 503})


def run(world: World, *argv: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *argv],
        env=world.env, cwd=world.directory, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def state_of(world: World, name: str) -> ProcessState:
    [state] = [state for state in world.processes.states() if state.name == name]
    return state


def in_state(client: Client, task_id: str, *states: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        task: dict[str, Any] = client.get(f"/api/tasks/{task_id}").json
        return task if task.get("state") in states else None

    found: dict[str, Any] = wait_for(f"{task_id} in {states}", there, 60)
    return found


def test_a_running_analysis_says_what_it_is_at_and_flower_shows_it(world: World, celery_worker: LocalWorker) -> None:
    flower, client = Flower(world), start_api(world)
    wait_for("Flower to know the worker", lambda: celery_worker.hostname() in flower.text("/api/workers?refresh=1"))
    slow(world, "KRW-ETH", 2.5)
    task_id = client.post("/api/analyze/upbit/이더리움").json["task_id"]

    def shown() -> dict[str, Any] | None:
        status, _ = flower.ask(f"/api/task/info/{task_id}")
        task: dict[str, Any] = flower.json(f"/api/task/info/{task_id}") if status == 200 else {}
        return task if task.get("state") == "PROGRESS" else None

    running = in_state(client, task_id, "PROGRESS")
    assert (running["percent"], running["step"]) == (0, "collecting")
    assert running["progress"]["percent"] == 0
    assert wait_for("Flower to show it", shown)["result"] == "0% collecting"
    page = flower.text(f"/task/{task_id}")
    assert "PROGRESS" in page
    assert "0% collecting" in page

    ended = in_state(client, task_id, "SUCCESS")
    assert (ended["percent"], ended["step"]) == (100, None)
    assert ended["result"]["outcome"] == "order_filled"

    def succeeded() -> bool:
        task = flower.json(f"/api/task/info/{task_id}")
        return task["state"] == "SUCCESS" and "order_filled" in task["result"]

    wait_for("Flower to show its end", succeeded)

    by_hand = run(world, "analyze", "upbit", "KRW-ETH")
    assert by_hand.returncode == 0, by_hand.stderr
    assert "outcome: order_filled" in by_hand.stdout
    assert "collecting" not in by_hand.stdout
    assert "upbit: KRW-ETH: 0% collecting" in by_hand.stderr.splitlines()
    assert "100%" not in by_hand.stderr


def test_a_sweep_is_followed_to_its_end_by_whoever_does_not_stop_following(
    world: World, celery_worker: LocalWorker
) -> None:
    client = start_api(world)
    for symbol in SYMBOLS:
        if symbol != "KRW-XRP":
            slow(world, symbol, 1.5)
    broken(world, "KRW-XRP")
    world.start("sweep", "cli", "sweep", "upbit")
    task_id = world.processes.wait_for_line("sweep", lambda line: line if len(line) == 36 else None, 60)

    def working() -> dict[str, Any] | None:
        answer = client.get(f"/api/tasks/{task_id}")
        task: dict[str, Any] = answer.json if answer.status == 200 else {}
        return task if task.get("running") and task["running"][0]["step"] else None

    task = wait_for("symbols that run", working, 60)
    assert (task["market"], task["percent"] < 100) == ("upbit", True)
    assert {symbol["symbol"] for symbol in task["running"]} <= set(SYMBOLS)
    assert {symbol["step"] for symbol in task["running"]} <= {"", "collecting", "analysing", "trading"}

    world.processes.wait_for_line("sweep", lambda line: re.match("sweep of upbit: KRW-[A-Z]+: 0% coll", line), 60)
    os.kill(state_of(world, "sweep").pid, signal.SIGINT)
    assert wait_for("the end of the following", lambda: state_of(world, "sweep").exit_code, 60) == 130
    assert "the tasks go on in their workers" in (world.directory / "sweep.log").read_text()

    # the slot is taken, so the same run is followed
    done = run(world, "sweep", "upbit")
    assert done.returncode == 1, done.stderr
    assert f"upbit: {len(SYMBOLS)} symbols, {len(SYMBOLS) - 1} done, 1 failed (run " in done.stdout
    assert re.search(rf"^sweep of upbit: KRW-ETH: order_filled \(\d/{len(SYMBOLS)}\)$", done.stderr, re.MULTILINE)
    [why] = [line for line in done.stderr.splitlines() if line.startswith("autotrader: ")]
    assert why.startswith("autotrader: KRW-XRP: BadReply: ")
    assert "Traceback" not in done.stderr

    ended = client.get(f"/api/tasks/{task_id}").json
    assert (ended["state"], ended["percent"], ended["running"]) == ("SUCCESS", 100, [])
    assert ended["progress"]["failed"] == 1
    [failure] = ended["failures"]
    assert failure["symbol"] == "KRW-XRP"
    assert failure["error"].startswith("BadReply")
    of_symbol = client.get(f"/api/tasks/{failure['task_id']}").json
    assert (of_symbol["state"], of_symbol["symbol"]) == ("FAILURE", "KRW-XRP")


def test_a_replay_says_how_far_it_is_and_flower_shows_it(world: World, celery_worker: LocalWorker) -> None:
    flower, client = Flower(world), start_api(world)
    wait_for("Flower to know the worker", lambda: celery_worker.hostname() in flower.text("/api/workers?refresh=1"))
    argv = ("--market", "upbit", "--simulated", "--seed", "4", "--symbols", "KRW-BTC", "--json")
    world.start("replay", "cli", "replay", *argv, "--from", "2026-01-01", "--to", "2026-06-30")

    def task_of_it() -> str | None:
        tasks = flower.json("/api/tasks?taskname=tasks.replay.replay_symbol")
        return next(iter(tasks), None)

    task_id = wait_for("Flower to know the replay's task", task_of_it, 90)
    month = r"20(25|26)-\d\d"

    def walking() -> dict[str, Any] | None:
        task: dict[str, Any] = client.get(f"/api/tasks/{task_id}").json
        return task if task.get("state") == "PROGRESS" and re.fullmatch(month, task["step"] or "") else None

    running = wait_for("the days that it goes through", walking, 60)
    assert 0 <= running["percent"] < 100
    shown = wait_for("Flower to show them", lambda: at_days(flower, task_id), 60)
    assert re.fullmatch(rf"\d+% {month}", shown)
    # as Ctrl-C does
    os.kill(state_of(world, "replay").pid, signal.SIGINT)
    assert wait_for("the end of the replay", lambda: state_of(world, "replay").exit_code, 60) == 130


def at_days(flower: Flower, task_id: str) -> str | None:
    task = flower.json(f"/api/task/info/{task_id}")
    return str(task["result"]) if task["state"] == "PROGRESS" and "-" in str(task["result"]) else None


def test_without_a_worker_a_sweep_is_not_followed_for_ever(world: World) -> None:
    started = run(world, "sweep", "upbit", "--no-wait")
    assert started.returncode == 0, started.stderr
    assert len(started.stdout.strip()) == 36
    unheard = run(world, "sweep", "upbit", "--timeout", "1")
    assert unheard.returncode == 1
    assert "is the worker running? (autotrader worker upbit)" in unheard.stderr
    assert "Traceback" not in unheard.stderr
