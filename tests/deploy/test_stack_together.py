"""`make up` as one types it on a small machine: all processes as one service in less memory, with the same trading; and
there a backup while it trades, everything lost, and everything back by one command.

The tests are one story of one stack, in the order in which they stand here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import memory_table
import pytest
from engine import ROOT, Engine
from rehearsal import LEVELS, analyse, errors, faults_of_the_books, pending, swept
from stack import QUICK, TRADE_CHAT, Stack, wait_for

BACKUP = ROOT / "deploy" / "backup" / "backup.py"
TABLES = ("runs", "run_symbols", "analyses", "orders", "order_events", "fills", "paper_accounts")


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., AbstractContextManager[Stack]]) -> Iterator[Stack]:
    with new_stack("together", overlays=("sandbox", "together"), settings=QUICK) as made:
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
    # the next sweep may be ordering just now
    wait_for(lambda: f"orders and cash agree: {faults_of_the_books(stack)}", lambda: not faults_of_the_books(stack))
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


def test_a_stack_that_lost_its_tables_is_back_by_one_command(
    engine: Engine, stack: Stack, say: Callable[[str], None]
) -> None:
    done = backup(engine, stack, "make")
    dump = Path(done.stdout.splitlines()[-1])
    assert dump.parent == stack.folder / "backups"
    assert "ON THE SAME DISK" in done.stderr
    assert "백업: 0시간 전" in stack.exec("trader", "autotrader", "status").splitlines()

    # without the traders, so that there is something exact to compare with
    trader = stack.containers()["trader"]
    engine.docker("stop", "--time", "60", trader)
    dump = Path(backup(engine, stack, "make", "--label", "pre-deploy").stdout.splitlines()[-1])
    before = contents(stack)
    say(f"backed up {dump.stat().st_size:,} bytes: {before['runs'].split()[0]} runs")
    psql(stack, f"SET session_replication_role = replica; TRUNCATE {', '.join(TABLES)} CASCADE")
    assert {rows.split()[0] for rows in contents(stack).values()} == {"0"}

    done = backup(engine, stack, "restore", dump.name)

    assert contents(stack) == before
    aside = done.stdout.splitlines()[-1]
    assert psql(stack, "SELECT count(*) FROM runs", aside) == "0"
    halted = "SELECT state || ' by ' || set_by FROM trading_states WHERE market IS NULL ORDER BY seq DESC LIMIT 1"
    assert psql(stack, halted) == "halted by restore"


def test_a_restore_stops_those_who_trade_and_starts_them_again(engine: Engine, stack: Stack) -> None:
    trader = stack.containers()["trader"]
    engine.docker("start", trader)
    begun = stack.engine_state(trader)["StartedAt"]
    done = backup(engine, stack, "restore", "latest")
    assert "stopping trader" in done.stderr
    state = stack.engine_state(trader)
    assert state["Running"]
    assert state["StartedAt"] != begun
    wait_for("the trader is well again", lambda: stack.works("trader"))
    assert len(backup(engine, stack, "list").stdout.split("put aside by a restore")) == 3


def test_make_down_leaves_only_what_is_kept(stack: Stack, engine: Engine) -> None:
    stack.make("down")
    assert stack.containers() == {}
    mine = ("--filter", f"label=com.docker.compose.project={stack.project}", "--format", "{{.Name}}")
    kept = {name.removeprefix(f"{stack.project}_") for name in engine.docker("volume", "ls", *mine).split()}
    assert {"postgres", "redis", "state"} <= kept


def backup(engine: Engine, stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a timer or an operator runs it: with nothing but the Python of the operating system."""
    argv = ["python3", "-I", "-S", str(BACKUP), *arguments]
    # the environment wins over the containers, and the stack is what is to be found
    env = {"DATABASE_URL": ""}
    return engine.run(*argv, "--root", str(stack.folder), "--project", stack.project, env=env, timeout=600)


def psql(stack: Stack, sql: str, database: str = "autotrader") -> str:
    return stack.exec("postgres", "psql", "-U", "autotrader", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", sql)


def contents(stack: Stack) -> dict[str, str]:
    """The number of rows of each table, and a hash over all of them."""
    sql = "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} t"
    return {table: psql(stack, sql.format(table)) for table in TABLES}
