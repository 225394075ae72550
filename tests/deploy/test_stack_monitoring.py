"""The stack with its monitoring: Prometheus sees every process, and a worker that is gone is told of in Telegram."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from engine import Engine
from stack import ERROR_CHAT, Stack, wait_for

PROCESSES = {
    f"autotrader-{name}" for name in ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")
}
# WorkerDown needs a scrape, `for: 1m` and Alertmanager's group_wait
TOLD = 240.0


@pytest.fixture(scope="module")
def stack(
    new_stack: Callable[..., AbstractContextManager[Stack]], engine: Engine, say: Callable[[str], None]
) -> Iterator[Stack]:
    with new_stack("monitored", overlays=("sandbox", "monitoring")) as made:
        services = made.configured()
        missing = sorted(name for name, service in services.items() if not engine.exists(service["image"]))
        if missing:
            say(f"NOT TESTED: {', '.join(missing)}: the image cannot be pulled, and Debian has no package of it")
        assert not set(missing) & {"prometheus", "alertmanager", "postgres-exporter", "node-exporter"}
        made.up(*(name for name in services if name not in missing))
        yield made


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


def test_everything_that_watches_is_healthy(stack: Stack) -> None:
    assert stack.not_well() == []


def test_prometheus_scrapes_every_process_of_ours_and_the_stores(stack: Stack) -> None:
    wait_for("every target up", lambda: not down(stack), 120)
    jobs = {target["labels"]["job"] for target in asked(stack, "targets?state=active")["activeTargets"]}
    assert jobs >= PROCESSES | {"postgres", "redis", "node", "prometheus"}
    # what they say is seen with the next scrape
    wait_for("every process says that it runs", lambda: seen(stack, "bot_running==1") >= PROCESSES)
    wait_for("the exporter reaches PostgreSQL", lambda: seen(stack, "pg_up==1") == {"postgres"})
    groups = asked(stack, "rules")["groups"]
    assert groups
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []


def test_a_worker_that_is_gone_is_told_of_by_prometheus_too(
    stack: Stack, engine: Engine, say: Callable[[str], None]
) -> None:
    def about() -> list[str]:
        return [text for text in stack.messages(ERROR_CHAT) if "· WorkerDown" in text.partition("\n")[0]]

    def told() -> list[str]:
        return [text for text in about() if text.startswith("🚨") and "kis" in text]

    # on a slow machine it was told of while it started, and has to be over
    wait_for("every worker up", lambda: all(text.startswith("✅") for text in about()[-1:]), TOLD)
    earlier = len(told())
    begun = time.monotonic()
    engine.docker("kill", "--signal", "KILL", stack.containers()["worker-kis"])
    wait_for("WorkerDown at the Telegram stand-in", lambda: len(told()) > earlier, TOLD)
    say(f"worker-kis is gone: WorkerDown came through Alertmanager after {time.monotonic() - begun:.0f} s")
    engine.docker("start", stack.containers()["worker-kis"])
    wait_for("every target up again", lambda: not down(stack))
