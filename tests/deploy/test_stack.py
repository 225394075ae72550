"""The whole system in its containers with its monitoring, as `make up WITH="sandbox monitoring"` runs it: it trades, is
locked in, is seen by Prometheus, survives kills, and tells of them.

The tests are one story of one stack, in the order in which they stand here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import memory_table
import pytest
from engine import Engine, EngineFailed
from rehearsal import LEVELS, analyse, errors, faults_of_the_books, pending, rising_markets, swept
from stack import ERROR_CHAT, ONE_SHOT, QUICK, TRADE_CHAT, Stack, wait_for

from notifications.life_words import LIFE_KO

WORKERS = ("worker-upbit", "worker-kis", "worker-yfinance")
# the stores come last: by then the tasks of the killed workers have been done by others
KILLED = (*WORKERS, "api", "flower", "nginx", "beat", "notifier", "redis", "postgres")
AS_ROOT = ("certificates",)
"""It hands keys that only root can read to nginx; its capabilities are counted below."""
PROCESSES = {f"autotrader-{name}" for name in (*WORKERS, "beat", "notifier", "api")}
NEEDED = {"prometheus", "alertmanager", "postgres-exporter", "node-exporter"}
"""Of the monitoring; what else has no image here is told of, and not tested."""
TOLD = 300.0
"""WorkerDown needs a scrape, `for: 1m` and Alertmanager's group_wait."""


@pytest.fixture(scope="module")
def stack(
    new_stack: Callable[..., AbstractContextManager[Stack]],
    engine: Engine,
    say: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    rising = rising_markets(tmp_path_factory.mktemp("rising"))
    with new_stack("apart", overlays=("sandbox", "monitoring"), settings=QUICK, extra=[rising]) as made:
        services = made.configured()
        missing = {name for name, service in services.items() if not engine.exists(service["image"])}
        if missing:
            say(
                f"NOT TESTED: {', '.join(sorted(missing))}: the image cannot be pulled, and Debian has no package of it"
            )
        assert not missing & NEEDED
        made.up(*(name for name in services if name not in missing))
        yield made


@pytest.fixture(scope="module")
def configured(stack: Stack) -> dict[str, dict[str, Any]]:
    """The services as the files have them, without those that have no image here."""
    there = stack.containers()
    return {name: service for name, service in stack.configured().items() if name in there}


def test_every_container_is_healthy(stack: Stack, configured: dict[str, dict[str, Any]]) -> None:
    assert stack.not_well() == []
    assert set(configured) >= {*KILLED, *AS_ROOT, *NEEDED, *ONE_SHOT, "sandbox"}


def test_every_container_is_locked_in(stack: Stack, configured: dict[str, dict[str, Any]]) -> None:
    for service, wanted in configured.items():
        found = stack.inspect(service)
        host, name = found["HostConfig"], f"{service}: "
        assert host["ReadonlyRootfs"], name + "its root can be written to"
        assert host["CapDrop"] == ["ALL"], name + "it keeps capabilities"
        assert "no-new-privileges:true" in host["SecurityOpt"], name + "it may gain privileges"
        assert not host["Privileged"], name + "it is privileged"
        assert host["Memory"] == int(wanted["mem_limit"]) > 0, name + "its memory is not limited as the file says"
        assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"]), name + "its log grows for ever"
        policy = {"migrate": "no", "reader": "on-failure"}.get(service, "unless-stopped")
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
    # the next sweep may be ordering just now
    wait_for(lambda: f"orders and cash agree: {faults_of_the_books(stack)}", lambda: not faults_of_the_books(stack))
    wait_for("a message in the chat of trades", lambda: stack.messages(TRADE_CHAT))
    assert errors(stack) == []


def test_nginx_serves_what_the_database_says_through_tls(stack: Stack) -> None:
    # a worker is ready with its first heartbeat, which is due every half minute
    wait_for(lambda: f"ready: {stack.get('/readyz')}", lambda: stack.get("/readyz")[0] == 200)
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


def test_prometheus_scrapes_every_process_of_ours_and_the_stores(stack: Stack) -> None:
    wait_for(lambda: f"every target up: {down(stack)}", lambda: not down(stack))
    jobs = {target["labels"]["job"] for target in asked(stack, "targets?state=active")["activeTargets"]}
    assert jobs >= PROCESSES | {"postgres", "redis", "node", "prometheus"}
    # what they say is seen with the next scrape
    wait_for("every process says that it runs", lambda: seen(stack, "bot_running==1") >= PROCESSES)
    wait_for("the exporter reaches PostgreSQL", lambda: seen(stack, "pg_up==1") == {"postgres"})
    groups = asked(stack, "rules")["groups"]
    assert groups
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []


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
    wait_for(lambda: f"orders and cash agree: {faults_of_the_books(stack)}", lambda: not faults_of_the_books(stack))
    rows = stack.rows("SELECT state, count(*) FROM orders GROUP BY state")
    say("orders after the kills: " + ", ".join(f"{row['state']} {row['count']}" for row in rows))
    # one that took longer than its deadline, as on a machine with much else to do, is told of as an error
    done = "SELECT id FROM analyses JOIN run_symbols USING (run_id, symbol) WHERE state = 'done'"
    analyses = {row["id"] for row in stack.rows(done)}
    wait_for("every analysis told", lambda: all(any(i in t for t in stack.messages(TRADE_CHAT)) for i in analyses))


def test_who_stays_away_is_told_of_by_the_others_and_by_prometheus_and_so_is_the_return(
    stack: Stack, engine: Engine, say: Callable[[str], None]
) -> None:
    away = {"worker-kis": "worker kis", "beat": "beat"}
    silent, back = ([word.format(process=one) for one in away.values()] for word in (LIFE_KO.silent, LIFE_KO.back))
    # on a slow machine it may have been told of while it started, and has to be over
    wait_for("every worker up", lambda: all(text.startswith("✅") for text in about(stack, "· WorkerDown")[-1:]), TOLD)
    earlier = {title: len(about(stack, title)) for title in (*silent, *back)}
    told_down = len(worker_down(stack))
    begun = time.monotonic()
    # the worker first, for the beat is who misses it; whom `docker kill` has ended Docker does not start again
    for (service, process), title in zip(away.items(), silent, strict=True):
        engine.docker("kill", "--signal", "KILL", stack.containers()[service])
        wait_for(f"the message: {title}", lambda title=title: len(about(stack, title)) > earlier[title])  # type: ignore[misc]
        say(f"{process} is kept away: told of at {time.monotonic() - begun:.0f} s")
    wait_for("WorkerDown at the Telegram stand-in", lambda: len(worker_down(stack)) > told_down, TOLD)
    say(f"WorkerDown came through Alertmanager at {time.monotonic() - begun:.0f} s")
    assert [len(about(stack, title)) - earlier[title] for title in silent] == [1, 1], "told more than once"
    for service in away:
        engine.docker("start", stack.containers()[service])
    for title in back:
        wait_for(f"the message: {title}", lambda title=title: len(about(stack, title)) > earlier[title])  # type: ignore[misc]
    wait_for(lambda: f"every target up again: {down(stack)}", lambda: not down(stack))


def test_down_and_up_again_keeps_everything(stack: Stack) -> None:
    query = "SELECT client_order_id, state, filled_quantity FROM orders WHERE state = 'filled' ORDER BY client_order_id"
    wait_for("nothing under way", lambda: not pending(stack))
    before = stack.rows(query)
    spool = stack.exec("notifier", "sh", "-c", "echo kept > /var/lib/autotrader/kept && cat /var/lib/autotrader/kept")
    services = list(stack.containers())
    stack.down()
    assert stack.containers() == {}
    stack.up(*services)
    after = {row["client_order_id"]: row for row in stack.rows(query)}
    assert before
    assert all(after[row["client_order_id"]] == row for row in before)
    assert stack.exec("notifier", "cat", "/var/lib/autotrader/kept") == spool == "kept"
    # a sweep at the start may be ordering just now
    wait_for("orders and cash agree", lambda: not faults_of_the_books(stack))


def about(stack: Stack, title: str) -> list[str]:
    return [text for text in stack.messages(ERROR_CHAT) if title in text.partition("\n")[0]]


def worker_down(stack: Stack) -> list[str]:
    """What Prometheus had Alertmanager tell of the worker that is kept away."""
    return [text for text in about(stack, "· WorkerDown") if text.startswith("🚨") and "kis" in text]


def asked(stack: Stack, path: str) -> Any:
    """What Prometheus answers."""
    return json.loads(stack.exec("prometheus", "wget", "-q", "-O", "-", f"http://127.0.0.1:9090/api/v1/{path}"))["data"]


def seen(stack: Stack, expression: str) -> set[str]:
    """The jobs for which an expression holds."""
    return {row["metric"]["job"] for row in asked(stack, f"query?query={expression}")["result"]}


def down(stack: Stack) -> list[str]:
    """The targets that Prometheus cannot scrape, with the reason."""
    targets = asked(stack, "targets?state=active")["activeTargets"]
    return [
        f"{t['labels']['job']} {t['scrapeUrl']}: {t['lastError'] or t['health']}"
        for t in targets
        if t["health"] != "up"
    ]


def restarted(stack: Stack, service: str, before: dict[str, Any]) -> bool:
    now = stack.inspect(service)
    return (
        now["Id"] == before["Id"]
        and now["State"]["Running"]
        and now["RestartCount"] > before["RestartCount"]
        and now["State"]["Pid"] != before["State"]["Pid"]
    )
