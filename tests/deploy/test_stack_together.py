"""`make up` as one types it on a small machine: all processes as one service, half the memory, the same trading."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import memory_table
import pytest
from engine import Engine
from rehearsal import LEVELS, analyse, errors, faults_of_the_books, pending, swept
from stack import TRADE_CHAT, Stack, wait_for


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., AbstractContextManager[Stack]]) -> Iterator[Stack]:
    with new_stack("together", overlays=("sandbox", "together")) as made:
        made.make("up")
        yield made


def test_make_up_ends_with_everything_healthy(stack: Stack) -> None:
    assert stack.not_well() == []
    running = set(stack.containers())
    assert {"trader", "postgres", "redis", "nginx", "flower", "sandbox"} <= running
    assert not running & {"worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api"}


def test_the_one_service_sweeps_all_markets(stack: Stack) -> None:
    wait_for("a sweep of every market", lambda: swept(stack))
    wait_for("every symbol done", lambda: not pending(stack))
    assert stack.rows("SELECT symbol, error FROM run_symbols WHERE state = 'failed'") == []
    assert faults_of_the_books(stack) == []
    runs = stack.api("/api/runs")["items"]
    assert {run["market"] for run in runs} == set(LEVELS)
    analyses = {row["id"] for row in stack.rows("SELECT id FROM analyses")}
    wait_for("every analysis told", lambda: all(any(i in t for t in stack.messages(TRADE_CHAT)) for i in analyses))
    assert errors(stack) == []


def test_each_of_its_processes_is_seen_by_the_name_of_its_own(stack: Stack) -> None:
    for number, name in enumerate(("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api"), 9101):
        ask = f"import urllib.request as u; print(u.urlopen('http://{name}:{number}/metrics', timeout=20).status)"
        assert stack.exec("flower", "python", "-c", ask) == "200", f"{name}:{number}"


def test_the_memory_of_the_one_service_is_measured(stack: Stack, engine: Engine, say: Callable[[str], None]) -> None:
    held = memory_table.measure(engine, stack.project)
    say("memory after the sweep, all processes as one service:\n" + memory_table.table(held))
    [trader] = [one for one in held if one.service == "trader"]
    assert trader.processes >= 7, "a worker per market, beat, notifier, API and what they are forked from"
    assert 0 < trader.pss < trader.limit


def test_the_one_service_comes_back_when_it_is_killed(stack: Stack, say: Callable[[str], None]) -> None:
    before = stack.inspect("trader")
    for market, symbols in LEVELS.items():
        analyse(stack, market, next(iter(symbols)))
    stack.kill_9("trader")
    wait_for("it has been started again", lambda: stack.inspect("trader")["RestartCount"] > before["RestartCount"])
    wait_for("all its processes work", lambda: stack.works("trader"))
    wait_for("every container is healthy", lambda: not stack.not_well())
    wait_for("every symbol of every run has come to its end", lambda: not pending(stack), 400)
    wait_for("orders and cash agree", lambda: not faults_of_the_books(stack))
    assert json.loads(wait_for("the API answers", lambda: stack.get("/readyz")[1]))["ready"]


def test_make_down_leaves_only_what_is_kept(stack: Stack, engine: Engine) -> None:
    stack.make("down")
    assert stack.containers() == {}
    mine = ("--filter", f"label=com.docker.compose.project={stack.project}", "--format", "{{.Name}}")
    kept = {name.removeprefix(f"{stack.project}_") for name in engine.docker("volume", "ls", *mine).split()}
    assert {"postgres", "redis", "state"} <= kept
