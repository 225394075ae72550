"""The whole system in its containers, as `make up` runs it: it trades, is locked in, survives kills, and tells of them.

The tests are one story of one stack, in the order in which they stand here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import memory_table
import pytest
from engine import Engine, EngineFailed
from rehearsal import LEVELS, analyse, errors, faults_of_the_books, pending, rising_markets, swept
from stack import ERROR_CHAT, TRADE_CHAT, Stack, wait_for

from notifications.life_words import LIFE_KO

WORKERS = ("worker-upbit", "worker-kis", "worker-yfinance")
# the stores come last: by then the tasks of the killed workers have been done by others
KILLED = (*WORKERS, "api", "flower", "nginx", "beat", "notifier", "redis", "postgres")
AS_ROOT = ("certificates",)
"""It hands keys that only root can read to nginx; its capabilities are counted below."""


@pytest.fixture(scope="module")
def stack(
    new_stack: Callable[..., AbstractContextManager[Stack]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with new_stack("apart", extra=[rising_markets(tmp_path_factory.mktemp("rising"))]) as made:
        made.up()
        yield made


def test_every_container_is_healthy(stack: Stack) -> None:
    assert stack.not_well() == []
    assert set(stack.configured()) == set(stack.containers())


def test_every_container_is_locked_in(stack: Stack, engine: Engine) -> None:
    for service, wanted in stack.configured().items():
        found = stack.inspect(service)
        host, name = found["HostConfig"], f"{service}: "
        assert host["ReadonlyRootfs"], name + "its root can be written to"
        assert host["CapDrop"] == ["ALL"], name + "it keeps capabilities"
        assert "no-new-privileges:true" in host["SecurityOpt"], name + "it may gain privileges"
        assert not host["Privileged"], name + "it is privileged"
        assert host["Memory"] == int(wanted["mem_limit"]) > 0, name + "its memory is not limited as the file says"
        assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"]), name + "its log grows for ever"
        policy = "no" if service == "migrate" else "unless-stopped"
        assert host["RestartPolicy"]["Name"] == policy, name + "it does not come back"
        for port in (one for ports in (host["PortBindings"] or {}).values() for one in ports):
            assert port["HostIp"] == "127.0.0.1", name + f"port {port['HostPort']} is open to the network"
        if found["State"]["Running"]:
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{found['State']['Pid']}/status").read_text().splitlines()
            )
            if service not in AS_ROOT:
                assert status["Uid"].split()[1] != "0", name + "it runs as root"
                assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0, name + "it has capabilities"
            assert status["NoNewPrivs"] == "1", name + "it may gain privileges"


@pytest.mark.parametrize("service", [*WORKERS, "beat", "notifier", "api", "flower", "postgres", "redis", "nginx"])
def test_the_kernel_holds_it_to_its_memory_and_its_root(stack: Stack, service: str) -> None:
    limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert int(stack.exec(service, "sh", "-c", limit)) == stack.inspect(service)["HostConfig"]["Memory"]
    with pytest.raises(EngineFailed, match="Read-only file system"):
        stack.exec(service, "sh", "-c", "echo x > /usr/written")


def test_a_sweep_of_all_markets_fills_orders_on_paper(stack: Stack, say: Callable[[str], None]) -> None:
    wait_for("a sweep of every market", lambda: swept(stack))
    counted = stack.rows("""
        SELECT r.market, count(DISTINCT s.symbol) AS symbols, count(DISTINCT a.id) AS analyses,
            count(DISTINCT o.id) AS orders, count(DISTINCT f.trade_id) AS fills,
            count(DISTINCT s.symbol) FILTER (WHERE s.state = 'failed') AS failed
        FROM runs r JOIN run_symbols s ON s.run_id = r.id
        LEFT JOIN analyses a ON a.run_id = r.id AND a.symbol = s.symbol
        LEFT JOIN orders o ON o.analysis_id = a.id LEFT JOIN fills f ON f.order_id = o.id
        WHERE r.status = 'finished' GROUP BY r.market ORDER BY r.market
    """)
    say("after the sweep: " + "; ".join(", ".join(f"{k} {v}" for k, v in row.items()) for row in counted))
    for row in counted:
        assert row["symbols"] == len(LEVELS[row["market"]])
        assert row["failed"] == 0
        assert row["analyses"] >= row["symbols"]
        assert row["orders"] > 0, f"no order in {row['market']}"
        assert row["fills"] > 0, f"no order was filled in {row['market']}"
    assert {row["market"] for row in counted} == set(LEVELS)
    assert faults_of_the_books(stack) == []
    wait_for("a message in the chat of trades", lambda: stack.messages(TRADE_CHAT))
    assert errors(stack) == []


def test_nginx_serves_what_the_database_says_through_tls(stack: Stack) -> None:
    assert stack.get("/readyz")[0] == 200
    assert stack.get("/api/orders")[0] == 401, "without a token nobody reads"
    listed = stack.api("/api/orders?limit=200")
    filled = {row["client_order_id"] for row in stack.rows("SELECT client_order_id FROM orders WHERE state = 'filled'")}
    assert filled
    assert filled <= {item["client_order_id"] for item in listed["items"]}
    fills = stack.api("/api/fills?limit=200")
    assert {fill["market"] for fill in fills["items"]} == set(LEVELS)
    runs = {run["market"]: run for run in stack.api("/api/runs")["items"]}
    assert {run["progress"]["percent"] for run in runs.values()} == {100}


def test_the_memory_of_all_our_processes_is_measured(stack: Stack, engine: Engine, say: Callable[[str], None]) -> None:
    held = memory_table.measure(engine, stack.project)
    say("memory after the sweep, each process in a container of its own:\n" + memory_table.table(held))
    assert {one.service for one in held} >= {*WORKERS, "beat", "notifier", "api"}
    for one in held:
        assert one.processes > 0
        assert 0 < one.pss < one.limit, f"{one.service} is near its limit"


@pytest.mark.parametrize("service", KILLED)
def test_what_is_killed_comes_back_by_itself(stack: Stack, say: Callable[[str], None], service: str) -> None:
    if service == "redis":
        wait_for("the tasks of the killed workers done", lambda: not pending(stack), 400)
    for symbol in LEVELS.get(service.removeprefix("worker-"), ()):
        analyse(stack, service.removeprefix("worker-"), symbol)
    before = stack.inspect(service)
    begun = time.monotonic()
    stack.kill_9(service)
    wait_for(f"{service} has been started again", lambda: restarted(stack, service, before))
    wait_for(f"{service} works again", lambda: stack.works(service))
    say(f"killed {service}: it works again after {time.monotonic() - begun:.0f} s")


def test_after_all_the_kills_everything_is_healthy_again(stack: Stack) -> None:
    wait_for("every container is healthy", lambda: not stack.not_well())
    wait_for("the API answers through nginx", lambda: stack.get("/readyz")[0] == 200)


def test_nothing_was_doubled_and_nothing_lost_by_the_kills(stack: Stack, say: Callable[[str], None]) -> None:
    wait_for("every symbol of every run has come to its end", lambda: not pending(stack), 400)
    wait_for("orders and cash agree", lambda: not faults_of_the_books(stack))
    rows = stack.rows("SELECT state, count(*) FROM orders GROUP BY state")
    say("orders after the kills: " + ", ".join(f"{row['state']} {row['count']}" for row in rows))
    analyses = {row["id"] for row in stack.rows("SELECT id FROM analyses")}
    wait_for("every analysis told", lambda: all(any(i in t for t in stack.messages(TRADE_CHAT)) for i in analyses))


@pytest.mark.parametrize(("service", "process"), [("worker-kis", "worker kis"), ("beat", "beat")])
def test_who_stays_away_is_told_of_and_so_is_the_return(
    stack: Stack, engine: Engine, say: Callable[[str], None], service: str, process: str
) -> None:
    silent, back = (words.format(process=process) for words in (LIFE_KO.silent, LIFE_KO.back))
    earlier = len(about(stack, silent)), len(about(stack, back))
    begun = time.monotonic()
    # whom `docker kill` has ended Docker does not start again
    engine.docker("kill", "--signal", "KILL", stack.containers()[service])
    wait_for(f"the message: {silent}", lambda: len(about(stack, silent)) > earlier[0])
    say(f"{service} was kept away: told after {time.monotonic() - begun:.0f} s")
    assert len(about(stack, silent)) == earlier[0] + 1
    engine.docker("start", stack.containers()[service])
    wait_for(f"the message: {back}", lambda: len(about(stack, back)) > earlier[1])
    wait_for("it is healthy again", lambda: not stack.not_well())


def test_down_and_up_again_keeps_everything(stack: Stack) -> None:
    query = "SELECT client_order_id, state, filled_quantity FROM orders WHERE state = 'filled' ORDER BY client_order_id"
    wait_for("nothing under way", lambda: not pending(stack))
    before = stack.rows(query)
    spool = stack.exec("notifier", "sh", "-c", "echo kept > /var/lib/autotrader/kept && cat /var/lib/autotrader/kept")
    stack.down()
    assert stack.containers() == {}
    stack.up()
    after = {row["client_order_id"]: row for row in stack.rows(query)}
    assert before
    assert all(after[row["client_order_id"]] == row for row in before)
    assert stack.exec("notifier", "cat", "/var/lib/autotrader/kept") == spool == "kept"
    assert faults_of_the_books(stack) == []


def about(stack: Stack, title: str) -> list[str]:
    return [text for text in stack.messages(ERROR_CHAT) if title in text.partition("\n")[0]]


def restarted(stack: Stack, service: str, before: dict[str, Any]) -> bool:
    now = stack.inspect(service)
    return (
        now["Id"] == before["Id"]
        and now["State"]["Running"]
        and now["RestartCount"] > before["RestartCount"]
        and now["State"]["Pid"] != before["State"]["Pid"]
    )
