"""Flower as it is deployed: a login for everything, no secret on any page, and tasks that survive a restart."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flower as flower_package
import pytest
from celery import Celery
from nodes import ROOT, LocalWorker
from world import World, wait_for

from sandbox.local.server import free_port

CONFIG = ROOT / "deploy" / "flower" / "flowerconfig.py"
LOGIN = "operator:a-login-for-the-tests"
SECRET = 'kis-s3cret/with<odd>&"signs"'
# what a page shows of it when nobody takes it out
FORMS = ("kis-s3cret", "odd&gt;&amp;")
QUEUE = "upbit"


class Flower:
    """A running Flower, asked over HTTP."""

    def __init__(self, world: World, **env: str) -> None:
        self._world = world
        self._env = {
            "FLOWER_BASIC_AUTH": LOGIN,
            "FLOWER_DB": str(world.directory / "state" / "flower"),
            "FLOWER_STATE_SAVE_INTERVAL": "600000",
            **env,
        }
        self.url = ""
        self.name = ""
        self.start()

    def start(self) -> None:
        port = free_port()
        self.name = f"flower-{port}"
        self._world.start(self.name, "cli", "flower", f"--port={port}", **self._env)
        self.url = f"http://127.0.0.1:{port}"
        prefix = self._env.get("FLOWER_URL_PREFIX", "").strip("/")
        if prefix:
            self.url += f"/{prefix}"
        wait_for("the start of Flower", lambda: self.exit_code() or self.status("/healthcheck", login="") == 200, 40)
        assert self.exit_code() is None

    def stop(self) -> None:
        """As a supervisor does."""
        [state] = [state for state in self._world.processes.states() if state.name == self.name]
        os.kill(state.pid, signal.SIGTERM)
        wait_for("Flower to end", lambda: self.exit_code() is not None)

    def exit_code(self) -> int | None:
        [state] = [state for state in self._world.processes.states() if state.name == self.name]
        return state.exit_code

    def status(self, path: str, *, login: str = LOGIN, method: str = "GET") -> int:
        return self.ask(path, login=login, method=method)[0]

    def text(self, path: str) -> str:
        status, text = self.ask(path)
        assert status == 200, (path, status, text[:300])
        return text

    def json(self, path: str) -> Any:
        return json.loads(self.text(path))

    def ask(self, path: str, *, login: str = LOGIN, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=b"{}" if method == "POST" else None)
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, reply.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError:
            return 0, ""


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"KIS_APP_SECRET": SECRET, "TELEGRAM_ENABLED": "false"}


def publish(world: World, task: str, *args: Any, **options: Any) -> str:
    with Celery(broker=world.redis_url) as app:
        app.conf.task_create_missing_queues = True
        return str(app.send_task(task, args=args, queue=QUEUE, **options).id)


def seen(flower: Flower, task_id: str, state: str) -> dict[str, Any]:
    def in_state() -> dict[str, Any] | None:
        tasks: dict[str, Any] = flower.json("/api/tasks")
        task: dict[str, Any] = tasks.get(task_id, {})
        return task if task.get("state") == state else None

    found: dict[str, Any] = wait_for(f"{task_id} in state {state}", in_state, 90)
    return found


def datatable(flower: Flower) -> str:
    query = "draw=1&start=0&length=100&search%5Bvalue%5D=&order%5B0%5D%5Bcolumn%5D=0&order%5B0%5D%5Bdir%5D=asc"
    return flower.text(f"/tasks/datatable?{query}&columns%5B0%5D%5Bdata%5D=name")


def test_without_a_login_flower_does_not_start(world: World) -> None:
    for env, said in (
        ({}, "autotrader: Flower does not start without a login: set FLOWER_BASIC_AUTH=user:password"),
        ({"FLOWER_BASIC_AUTH": "operator:"}, "autotrader: FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_AUTH": r".*@example\.com"}, "autotrader: FLOWER_AUTH needs FLOWER_AUTH_PROVIDER, FLOWER_OAUTH2_KEY"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "cli", "flower", f"--port={free_port()}"],
            env={**world.env, **env},
            cwd=world.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith(said)


def test_a_login_in_the_env_file_is_enough(world: World) -> None:
    (world.directory / ".env").write_text(f"FLOWER_BASIC_AUTH={LOGIN}\n")
    flower = Flower(world, FLOWER_BASIC_AUTH="")
    assert flower.status("/workers") == 200
    assert flower.status("/workers", login="") == 401


def test_nothing_but_the_health_check_answers_without_the_login(world: World) -> None:
    from flower.urls import handlers

    flower = Flower(world)
    patterns = {entry[0] if isinstance(entry, tuple) else entry.regex.pattern.rstrip("$") for entry in handlers}
    open_to_all = {"/healthcheck", r"/static/(.*)", "/login/?", "/logout", ".*"}
    assert open_to_all < patterns
    for pattern in patterns - open_to_all:
        path = re.sub(r"\(\.[+*]\)", "something", pattern)
        for login in ("", "operator:wrong"):
            asked = {method: flower.status(path, login=login, method=method) for method in ("GET", "POST")}
            # a method that a handler lacks is refused before anybody is asked who he is
            assert 401 in asked.values(), (path, asked)
            assert set(asked.values()) <= {401, 405}, (path, asked)
    assert flower.ask("/healthcheck", login="") == (200, "OK")
    assert flower.status("/metrics") == 200
    with socket.socket() as probe:
        address = (socket.gethostbyname(socket.gethostname()), int(flower.url.rpartition(":")[2]))
        assert address[0] == "127.0.0.1" or probe.connect_ex(address) != 0


def test_tasks_are_seen_without_the_secrets_they_carry(world: World, celery_worker: LocalWorker) -> None:
    flower = Flower(world)
    in_arguments = publish(world, "tasks.heartbeat.heartbeat", "upbit", SECRET)
    # `check_market` repeats what it was given in its exception, and so does Celery in result and traceback
    in_exception = publish(world, "tasks.heartbeat.heartbeat", f"no market, token={SECRET}")
    clean = publish(world, "tasks.heartbeat.heartbeat", "upbit")
    assert seen(flower, clean, "SUCCESS")["args"] == "('upbit',)"
    assert "[redacted]" in seen(flower, in_arguments, "FAILURE")["args"]
    failed = seen(flower, in_exception, "FAILURE")
    assert "[redacted]" in failed["exception"]
    assert "[redacted]" in failed["traceback"]

    shown = {
        path: flower.text(path)
        for path in (
            *(f"/task/{task}" for task in (in_arguments, in_exception, clean)),
            *(f"/api/task/info/{task}" for task in (in_arguments, in_exception)),
            f"/api/task/result/{in_exception}",
            "/api/tasks",
            "/tasks",
            "/workers",
            "/api/workers?refresh=1",
            f"/worker/{celery_worker.hostname()}",
            "/broker",
        )
    }
    shown["datatable"] = datatable(flower)
    assert f"upbit@{socket.gethostname()}" in shown["/workers"]
    assert "tasks.heartbeat.heartbeat" in shown["datatable"]
    redis_password = world.redis_url.split(":")[2].partition("@")[0]
    for path, text in shown.items():
        for form in (*FORMS, json.dumps(SECRET)[1:-1], redis_password):
            assert form not in text, path
    # nobody can find out by searching
    assert flower.json("/api/tasks?search=args:kis-s3cret") == {}

    flower.stop()
    files = list((world.directory / "state").iterdir())
    assert files
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"kis-s3cret" not in file.read_bytes()


def test_a_restart_keeps_the_tasks_and_the_prefix_is_kept_to(world: World, celery_worker: LocalWorker) -> None:
    flower = Flower(world, FLOWER_URL_PREFIX="/flower/", FLOWER_MAX_TASKS="3")
    # it has begun to listen once it shows any
    listening = time.monotonic() + 120
    while not flower.json("/api/tasks") and time.monotonic() < listening:
        publish(world, "tasks.heartbeat.heartbeat", "upbit")
        time.sleep(2)
    # one after the other: of those that are done side by side, the last event may be of any
    for _ in range(5):
        task = publish(world, "tasks.heartbeat.heartbeat", "upbit")
        before = seen(flower, task, "SUCCESS")
    assert len(flower.json("/api/tasks")) <= 3
    page = flower.text("/tasks")
    assert 'href="/flower/static/' in page
    assert not re.findall(r'(?:href|src|action)="/(?!flower)[^"]*"', page)
    outside = flower.url.removesuffix("/flower")
    flower.url = outside
    assert flower.status("/tasks") == 404

    flower.stop()
    assert flower.exit_code() == 0
    flower.start()
    after = flower.json("/api/tasks")
    assert after[task] == before
    assert len(after) <= 3


def test_what_the_pages_are_made_of_arrives_whole(world: World) -> None:
    flower = Flower(world)
    named = re.findall(r'(?:src|href)="(/static/[^"?]+)', flower.text("/tasks"))
    assert len(named) >= 8
    static = Path(flower_package.__file__).parent
    for path in named:
        assert flower.ask(path)[1] == (static / path.lstrip("/")).read_bytes().decode(errors="replace"), path


def test_flower_stops_no_worker_unless_it_is_told_that_it_may(world: World, celery_worker: LocalWorker) -> None:
    path = f"/api/worker/shutdown/{celery_worker.hostname()}"
    flower = Flower(world)
    wait_for("the worker to be known", lambda: celery_worker.hostname() in flower.text("/api/workers?refresh=1"))
    assert flower.status(path, method="POST") == 403
    assert flower.status("/api/task/async-apply/tasks.heartbeat.heartbeat", method="POST") == 403
    assert celery_worker.container.status == "running"


def test_the_state_file_stays_within_its_bound(world: World, tmp_path: Path) -> None:
    """Ten thousand tasks, the default, are a few megabytes."""
    script = f"""
import sys
sys.argv = ["flower"]
from tornado.options import options, parse_config_file
import flower.options
from flower.command import apply_env_options
apply_env_options()
parse_config_file({str(CONFIG)!r}, final=False)
from celery import Celery
from flower.app import Events
events = Events(Celery(), io_loop=None, db=options.db, max_tasks_in_memory=options.max_tasks,
                max_workers_in_memory=options.max_workers)
for number in range(options.max_tasks + 2000):
    for kind in ("received", "started", "failed"):
        events.state.event({{
            "type": "task-" + kind, "uuid": str(number), "name": "tasks.analysis.analyze_and_trade",
            "args": "('upbit', 'KRW-BTC', '00000000-0000-0000-0000-000000000000')", "kwargs": "{{}}",
            "hostname": "upbit@host", "timestamp": number, "local_received": number, "clock": number,
            "utcoffset": 0, "pid": 1, "exception": "Unproven()", "traceback": "x" * 2000}})
events.save_state()
print(len(events.state.tasks), options.persistent, options.purge_offline_workers, options.max_workers)
"""
    env = {**world.env, "FLOWER_BASIC_AUTH": LOGIN, "FLOWER_DB": str(tmp_path / "flower" / "state")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["10000", "True", "86400", "100"], done.stderr
    size = sum(file.stat().st_size for file in (tmp_path / "flower").iterdir())
    assert size < 50_000_000
