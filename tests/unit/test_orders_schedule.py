"""What watches orders and positions is fired for every market that has symbols, and somebody is there to run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.schedules import crontab, schedule

from beat.schedule import MISSED_PERIODS, Entry, static_schedule
from settings import MARKETS, Settings, orders_queue

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = {"kis_account": "12345678-01", "kis_app_key": "key", "kis_app_secret": "secret"}
NO_SYMBOLS = {"upbit_symbols": "", "kis_symbols": "", "yfinance_symbols": ""}


def entries(**values: Any) -> dict[str, Entry]:
    return static_schedule(Settings(_env_file=None, **values))


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The tasks and queues of the app, from a process of its own: the app reads its settings when it is imported."""
    program = (
        "import json; from tasks import celery as app; app.loader.import_default_modules();"
        "print(json.dumps({'tasks': sorted(app.tasks), 'queues': sorted(app.amqp.queues)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=tmp_path_factory.mktemp("app"),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(
    ("name", "task", "seconds"),
    [("resolve", "tasks.orders.resolve", 7), ("guard", "tasks.guard.guard", 21), ("lost", "tasks.lost.find", None)],
)
def test_orders_positions_and_messages_of_every_market_are_watched(
    market: str, name: str, task: str, seconds: int | None
) -> None:
    entry = entries(resolve_seconds=7, guard_seconds=21)[f"{name}-{market}"]
    assert (entry["task"], entry["args"]) == (task, (market,))
    assert entry["options"]["queue"] == orders_queue(market) == f"{market}.orders"
    period = entry["schedule"]
    assert isinstance(period, schedule)
    if seconds is not None:
        assert period.run_every == timedelta(seconds=seconds)
    # a look that nobody took for three periods makes way for the next one
    assert entry["options"]["expires"] == MISSED_PERIODS * period.run_every.total_seconds()
    assert MISSED_PERIODS == 3


def test_a_lost_message_is_looked_for_more_often_than_an_analysis_expires() -> None:
    assert entries()["lost-upbit"]["schedule"].run_every <= timedelta(minutes=1)


@pytest.mark.parametrize("market", MARKETS)
def test_a_market_without_symbols_has_no_entry_at_all(market: str) -> None:
    without = entries(**{f"{market}_symbols": ""}, **ACCOUNT)
    assert [name for name, entry in without.items() if market in name or market in entry.get("args", ())] == []
    assert market not in {entry["options"]["queue"].split(".")[0] for entry in without.values()}


@pytest.mark.parametrize("without", [(), ("upbit",), ("upbit", "kis"), ("kis", "yfinance")])
def test_profit_is_reported_by_a_market_that_is_served(without: tuple[str, ...]) -> None:
    all_entries = entries(**{f"{market}_symbols": "" for market in without})
    served = next(market for market in MARKETS if market not in without)
    for period in ("day", "week"):
        entry = all_entries[f"profit-{period}"]
        assert (entry["task"], entry["args"]) == ("tasks.reports.profit", (period,))
        # asked for every hour, and gone before the next one
        assert entry["options"] == {"queue": f"{served}.orders", "expires": 3_600}
        assert isinstance(entry["schedule"], crontab)
        assert len(entry["schedule"].hour) == 24
        # the period ends on the hour, 09:00 in Korea
        assert entry["schedule"].minute == {1 if period == "day" else 2}


def test_without_any_symbol_nothing_is_fired() -> None:
    assert entries(**NO_SYMBOLS, **ACCOUNT) == {}


def test_the_calendar_of_kis_is_compared_where_an_account_can_ask_for_it() -> None:
    entry = entries(**ACCOUNT)["sessions-kis"]
    assert entry["task"] == "tasks.sessions.compare"
    assert entry["options"] == {"queue": "kis.orders", "expires": 3_600}
    # 07:30 in Korea, before the session
    assert (entry["schedule"].hour, entry["schedule"].minute) == ({22}, {30})


@pytest.mark.parametrize(
    "values", [{}, {**ACCOUNT, "kis_environment": "mock"}, {**ACCOUNT, "kis_symbols": ""}], ids=["none", "mock", "off"]
)
def test_the_calendar_of_kis_is_left_alone_where_nobody_can_ask_for_it(values: dict[str, Any]) -> None:
    assert "sessions-kis" not in entries(**values)


def test_everything_that_is_fired_is_a_task_of_the_app(registered: dict[str, list[str]]) -> None:
    fired = {entry["task"] for entry in entries(**ACCOUNT).values()}
    assert fired - set(registered["tasks"]) == set()
    # and a name that is none would be found
    assert "tasks.orders.resolv" not in registered["tasks"]


def test_everything_that_is_fired_goes_to_a_queue_of_the_app(registered: dict[str, list[str]]) -> None:
    queues = {entry["options"]["queue"] for entry in entries(**ACCOUNT).values()}
    assert queues - set(registered["queues"]) == set()
    assert set(registered["queues"]) == {*MARKETS, *(orders_queue(market) for market in MARKETS)}


def test_every_entry_expires() -> None:
    assert [name for name, entry in entries(**ACCOUNT).items() if not entry["options"].get("expires")] == []
