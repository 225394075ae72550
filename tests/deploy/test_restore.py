"""On the compose stack: a backup while it trades, everything lost, and everything back by one command."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from engine import ROOT, Engine
from stack import Stack, wait_for

SCRIPT = ROOT / "deploy" / "backup" / "backup.py"
TABLES = ("runs", "run_symbols", "analyses", "orders", "order_events", "fills", "paper_accounts")


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., AbstractContextManager[Stack]]) -> Iterator[Stack]:
    with new_stack("restore", overlays=("sandbox", "together")) as made:
        made.up()
        wait_for("the first analyses", lambda: made.rows("SELECT 1 FROM analyses LIMIT 1"))
        yield made


def backup(engine: Engine, stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a timer or an operator runs it: with nothing but the Python of the operating system."""
    argv = ["python3", "-I", "-S", str(SCRIPT), *arguments]
    # the environment wins over the containers, and the stack is what is to be found
    env = {"DATABASE_URL": ""}
    return engine.run(*argv, "--root", str(stack.folder), "--project", stack.project, env=env, timeout=600)


def psql(stack: Stack, sql: str, database: str = "autotrader") -> str:
    return stack.exec("postgres", "psql", "-U", "autotrader", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", sql)


def contents(stack: Stack) -> dict[str, str]:
    """The number of rows of each table, and a hash over all of them."""
    sql = "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} t"
    return {table: psql(stack, sql.format(table)) for table in TABLES}


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
