"""The monitoring files as the programs that read them take them: Debian's promtool, amtool and exporter, PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import shutil
import stat
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sandbox.local import LocalPostgres, LocalRedis
from sandbox.local.server import free_port
from sandbox.processes import ProcessGroup

ROOT = Path(__file__).resolve().parents[2]
# deploy/ is no package: what is there is run from a checkout
_RULES = runpy.run_path(str(ROOT / "deploy" / "prometheus" / "quick_rules.py"))
load_rules, shortened, write_rules = (_RULES[name] for name in ("load_rules", "shortened", "write_rules"))
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RENDER = DEPLOY / "alertmanager" / "render.sh"
TOKEN = "1000000001:token_of-the-tests"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not on PATH")


def run(*argv: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@needs("promtool")
def test_prometheus_takes_its_configuration_and_loads_every_rule_file() -> None:
    said = run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    assert f"{len(load_rules())} rule files found" in said
    for name in load_rules():
        assert f"rules/{name}" in said


@needs("promtool")
@pytest.mark.parametrize("file", sorted(path.name for path in (PROMETHEUS / "tests").glob("*.test.yml")))
def test_the_rules_fire_when_they_should_and_only_then(file: str) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", PROMETHEUS / "tests" / file)


@needs("promtool")
def test_a_test_of_the_rules_fails_when_a_rule_is_broken(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS / "tests", tmp_path / "tests")
    broken = {
        name: text.replace("autotrader_alerts_dead) > 0", "autotrader_alerts_dead) > 1")
        for name, text in load_rules().items()
    }
    write_rules(broken, tmp_path / "rules")
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests" / "alerts.test.yml"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "AlertsDead" in done.stdout + done.stderr


@needs("promtool")
def test_prometheus_takes_the_shortened_rules(tmp_path: Path) -> None:
    write_rules(shortened(load_rules(), 1 / 1000), tmp_path)
    assert run("promtool", "check", "rules", *tmp_path.glob("*.yml")).count("SUCCESS") == len(load_rules())


def render(output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(["sh", RENDER, output], env=env, capture_output=True, text=True, timeout=30, check=False)


@needs("amtool")
def test_alertmanager_takes_the_configuration_as_it_is_and_as_it_is_rendered(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n", encoding="utf-8")
    output = tmp_path / "alertmanager.yml"
    done = render(
        output,
        TELEGRAM_TOKEN_FILE=str(token),
        TELEGRAM_CHAT_ID="-1001234567890",
        TELEGRAM_BASE_URL="http://127.0.0.1:9/telegram/",
        RUNBOOK_BASE_URL="https://example.com/autotrader/",
        ALERT_WEBHOOK_URL="https://ntfy.example.com/room?template=alertmanager&priority=5",
    )
    assert done.returncode == 0, done.stderr
    for file in (DEPLOY / "alertmanager" / "alertmanager.yml", output):
        assert "SUCCESS" in run("amtool", "check-config", file)
    # what was rendered is the only difference, and only its owner reads it
    before = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8").splitlines()
    after = output.read_text(encoding="utf-8").splitlines()
    changed = [new.strip() for old, new in zip(before, after, strict=True) if old != new]
    webhook = "https://ntfy.example.com/room?template=alertmanager&priority=5"
    assert changed[0] == f"webhook_configs: [{{url: '{webhook}', send_resolved: true}}]"
    assert changed[1:4] == [
        f"- bot_token: '{TOKEN}'",
        "chat_id: -1001234567890",
        "api_url: http://127.0.0.1:9/telegram",
    ]
    assert [line.split("{{")[0] for line in changed[4:]] == ["대응: https://example.com/autotrader/"]
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert done.stdout + done.stderr == ""


def test_errors_go_to_their_own_chat_when_there_is_one(tmp_path: Path) -> None:
    output = tmp_path / "alertmanager.yml"
    done = render(output, TELEGRAM_TOKEN=TOKEN, TELEGRAM_CHAT_ID="1", ERROR_REPORTING_CHAT_ID="-2")
    assert done.returncode == 0, done.stderr
    assert "chat_id: -2\n" in output.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "set TELEGRAM_TOKEN_FILE or TELEGRAM_TOKEN"),
        ({"TELEGRAM_TOKEN_FILE": "/nowhere"}, "/nowhere cannot be read"),
        ({"TELEGRAM_TOKEN": TOKEN}, "set ERROR_REPORTING_CHAT_ID or TELEGRAM_CHAT_ID"),
        ({"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "@room"}, "must be a number"),
        ({"TELEGRAM_TOKEN": "x'|e id", "TELEGRAM_CHAT_ID": "1"}, "the token has a character"),
        ({"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "TELEGRAM_BASE_URL": "x|e id"}, "TELEGRAM_BASE_URL"),
        ({"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "RUNBOOK_BASE_URL": "docs"}, "RUNBOOK_BASE_URL must start"),
        (
            {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "ALERT_WEBHOOK_URL": "http://x'|e id"},
            "WEBHOOK_URL has a",
        ),
        ({"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "ALERT_WEBHOOK_URL": "ntfy"}, "WEBHOOK_URL must start"),
    ],
)
def test_the_renderer_refuses_what_would_not_work(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    done = render(tmp_path / "alertmanager.yml", **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert environment.get("TELEGRAM_TOKEN", "?") not in done.stderr
    assert not (tmp_path / "alertmanager.yml").exists()


def sql_queries() -> Iterator[Any]:
    """Every SQL query of the dashboards."""
    for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                if "rawSql" in target:
                    yield pytest.param(target["rawSql"], target["format"], id=f"{panel['title']} {target['refId']}")


def as_grafana_sends_it(query: str) -> str:
    """The query with Grafana's macros replaced, as its PostgreSQL data source does."""
    between = r"\1 BETWEEN '2026-01-01T00:00:00Z' AND '2026-12-31T00:00:00Z'"
    sent = re.sub(r"\$__timeFilter\(([\w.]+)\)", between, query)
    assert "$" not in sent
    return sent


@pytest.fixture(scope="module")
def database_url(postgres_server: LocalPostgres, migrated_template: str) -> str:
    url = postgres_server.create_database(f"test_{uuid.uuid4().hex}", migrated_template)
    return url.replace("+asyncpg", "")


@pytest.mark.parametrize(("query", "format"), list(sql_queries()))
def test_a_panels_query_is_one_of_our_tables(database_url: str, query: str, format: str) -> None:
    async def ask() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(database_url)
        try:
            statement = await connection.prepare(as_grafana_sends_it(query))
            await statement.fetch()
            return [(column.name, column.type.name) for column in statement.get_attributes()]
        finally:
            await connection.close()

    columns = dict(asyncio.run(ask()))
    if format == "time_series":
        assert columns["time"] == "timestamptz"
        assert columns["metric"] == "text"
        assert "value" in columns


@needs("prometheus-postgres-exporter")
def test_the_exporter_serves_the_series_that_panels_and_rules_name(database_url: str, tmp_path: Path) -> None:
    from urllib.request import urlopen

    from sandbox.client import answers

    named = json.loads((PROMETHEUS / "exporters.json").read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{free_port()}"
    with ProcessGroup(tmp_path) as group:
        env = {"PATH": os.environ["PATH"], "DATA_SOURCE_NAME": f"{database_url}?sslmode=disable"}
        argv = ["prometheus-postgres-exporter", f"--web.listen-address={url.removeprefix('http://')}"]
        group.start("exporter", argv, env=env)
        group.wait_until(lambda: answers(f"{url}/metrics"), 30, "the start of the exporter")
        with urlopen(f"{url}/metrics") as reply:
            text = reply.read().decode()
    ours = {name: set(labels) for name, labels in named.items() if name.startswith("pg_")}
    assert ours
    served = series_in(text)
    assert {name: served.get(name) for name in ours} == ours


def series_in(text: str) -> dict[str, set[str]]:
    """The labels of each series of a page for Prometheus."""
    return {
        found[1]: set(re.findall(r'(\w+)="', found[2] or ""))
        for found in re.finditer(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE)
    }


def page_of(folder: Path, *argv: str, **env: str) -> str:
    """What an exporter serves, which is started for it; `{address}` in its arguments is where."""
    from urllib.request import urlopen

    from sandbox.client import answers

    address = f"127.0.0.1:{free_port()}"
    with ProcessGroup(folder) as group:
        filled = [argument.replace("{address}", address) for argument in argv]
        group.start("exporter", filled, env={"PATH": os.environ["PATH"], **env})
        group.wait_until(lambda: answers(f"http://{address}/metrics"), 30, "the start of the exporter")
        with urlopen(f"http://{address}/metrics") as reply:
            page: str = reply.read().decode()
    return page


def named_series(prefix: str) -> dict[str, set[str]]:
    named = json.loads((PROMETHEUS / "exporters.json").read_text(encoding="utf-8"))
    return {name: set(labels) for name, labels in named.items() if name.startswith(prefix)}


@needs("prometheus-redis-exporter")
def test_the_exporter_of_redis_serves_the_series_that_rules_name(redis_server: LocalRedis, tmp_path: Path) -> None:
    page = page_of(
        tmp_path, "prometheus-redis-exporter", "-web.listen-address", "{address}", "-redis.addr", redis_server.url
    )
    served, ours = series_in(page), named_series("redis_")
    assert ours
    assert {name: served.get(name) for name in ours} == ours


@needs("prometheus-node-exporter")
def test_the_exporter_of_the_machine_serves_the_series_that_rules_name(tmp_path: Path) -> None:
    # a Pi's sensors, as its kernel shows them
    sensor = tmp_path / "sys" / "class" / "hwmon" / "hwmon1"
    zone = tmp_path / "sys" / "class" / "thermal" / "thermal_zone0"
    for folder in (sensor, zone):
        folder.mkdir(parents=True)
    for file, text in {
        sensor / "name": "rpi_volt",
        sensor / "in0_lcrit_alarm": "1",
        zone / "type": "cpu-thermal",
        zone / "temp": "81234",
        zone / "policy": "step_wise",
    }.items():
        file.write_text(f"{text}\n", encoding="utf-8")
    collectors = ("filesystem", "meminfo", "vmstat", "hwmon", "thermal_zone")
    page = page_of(
        tmp_path,
        "prometheus-node-exporter",
        "--web.listen-address={address}",
        f"--path.sysfs={tmp_path}/sys",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in collectors),
    )
    served, ours = series_in(page), named_series("node_")
    assert ours
    assert {name: served.get(name) for name in ours} == ours
    assert re.search(r"^node_hwmon_in_lcrit_alarm_volts\{.*\} 0\.001$", page, re.MULTILINE)
    assert re.search(r"^node_thermal_zone_temp\{.*\} 81\.234$", page, re.MULTILINE)
