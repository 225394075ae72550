"""`make signoz-apply`, run as an operator runs it, against a SigNoz that refuses what SigNoz refuses."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.local.server import free_port
from sandbox.signoz.server import KEY_HEADER, SigNoz

ROOT = Path(__file__).resolve().parents[2]
KEY = "the-key-of-a-service-account"
TOKEN = "1234567:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
CHAT = "-1004711"
DASHBOARDS, RULES = (sorted((ROOT / "deploy/signoz" / folder).glob("*.json")) for folder in ("dashboards", "rules"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run said and how it ended."""

    code: int
    out: str
    err: str

    def of(self, outcome: str) -> list[str]:
        """The things it says this happened to."""
        return [line.removesuffix(f": {outcome}") for line in self.out.splitlines() if line.endswith(f": {outcome}")]


async def run(url: str, *options: str, folder: Path = ROOT / "deploy/signoz", **settings: str) -> Outcome:
    environment = {
        "PATH": os.environ["PATH"],
        "SIGNOZ_URL": url,
        "SIGNOZ_API_KEY": KEY,
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": CHAT,
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(folder / "apply.py"),
        *options,
        env=environment | {"PYTHONPATH": str(ROOT)},
        # no .env of a developer is read
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def signoz() -> AsyncIterator[SigNoz]:
    server = SigNoz(KEY)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of deploy/signoz that a test may edit."""
    copied = tmp_path / "signoz"
    shutil.copytree(ROOT / "deploy/signoz", copied)
    return copied


def edit(path: Path, *keys: str | int, value: Any) -> None:
    """Set the value at `keys` of a JSON file."""
    body = part = json.loads(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(body), encoding="utf-8")


async def test_everything_is_created_once_and_a_second_run_changes_nothing(signoz: SigNoz) -> None:
    first = await run(signoz.url)
    assert (first.code, first.err) == (0, "")
    assert len(signoz.dashboards) == len(DASHBOARDS) == 5
    assert len(signoz.rules) == len(RULES) == 8
    assert [channel["name"] for channel in signoz.channels.values()] == ["autotrader-telegram"]
    assert len(first.of("created")) == 14

    written = list(signoz.writes)
    second = await run(signoz.url)
    assert (second.code, second.err) == (0, "")
    assert len(second.of("unchanged")) == 14
    assert second.out.splitlines()[-1] == "14 unchanged"
    assert signoz.writes == written


async def test_an_edited_rule_is_the_only_thing_that_is_updated(signoz: SigNoz, folder: Path) -> None:
    await run(signoz.url)
    signoz.writes.clear()
    edit(folder / "rules/SlowAPIResponse.json", "condition", "thresholds", "spec", 0, "target", value=3000)
    outcome = await run(signoz.url, folder=folder)
    assert outcome.of("updated") == ["rule SlowAPIResponse"]
    [(method, _)] = signoz.writes
    assert method == "PUT"
    [rule] = [rule for rule in signoz.rules.values() if rule["alert"] == "SlowAPIResponse"]
    assert rule["condition"]["thresholds"]["spec"][0]["target"] == 3000


async def test_what_is_taken_out_of_a_dashboard_is_an_update_too(signoz: SigNoz, folder: Path) -> None:
    await run(signoz.url)
    path = folder / "dashboards/autotrader-orders.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    del body["spec"]["refreshInterval"]
    path.write_text(json.dumps(body), encoding="utf-8")
    assert (await run(signoz.url, folder=folder)).of("updated") == ["dashboard autotrader-orders"]
    assert (await run(signoz.url)).of("updated") == ["dashboard autotrader-orders"]


async def test_another_token_updates_the_channel_and_only_it(signoz: SigNoz) -> None:
    await run(signoz.url)
    other = TOKEN.replace("AAbb", "ZZyy")
    outcome = await run(signoz.url, TELEGRAM_TOKEN=other)
    assert outcome.of("updated") == ["channel autotrader-telegram"]
    [channel] = signoz.channels.values()
    [config] = json.loads(channel["data"])["telegram_configs"]
    assert (config["token"], config["chat"]) == (other, int(CHAT))


async def test_a_dry_run_says_what_it_would_do_and_writes_nothing(signoz: SigNoz) -> None:
    outcome = await run(signoz.url, "--dry-run")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "dry run, nothing written: 14 created"
    assert signoz.writes == []


async def test_what_somebody_else_made_is_neither_changed_nor_deleted(signoz: SigNoz) -> None:
    await run(signoz.url)
    foreign = json.loads(RULES[0].read_text(encoding="utf-8"))
    kept_rule = {**foreign, "alert": "somebody's", "id": "1", "annotations": {}}
    signoz.rules["1"] = copy.deepcopy(kept_rule)
    [taken] = [rule for rule in signoz.rules.values() if rule["alert"] == "VenueDown"]
    del taken["annotations"]["managed_by"]
    before = copy.deepcopy(taken)

    outcome = await run(signoz.url)
    assert outcome.code == 1
    assert outcome.err.startswith("signoz: rules/VenueDown.json: SigNoz has one of this name that was not made here")
    assert signoz.rules["1"] == kept_rule
    assert signoz.rules[taken["id"]] == before

    assert (await run(signoz.url, "--force")).code == 0
    assert "managed_by" in signoz.rules[taken["id"]]["annotations"]
    assert signoz.rules["1"] == kept_rule


async def test_many_dashboards_of_others_do_not_hide_ours(signoz: SigNoz) -> None:
    other = {"name": "x", "spec": {"display": {"name": "x"}}, "tags": []}
    signoz.dashboards |= {str(number): other | {"id": str(number), "name": f"x{number}"} for number in range(450)}
    await run(signoz.url)
    assert len((await run(signoz.url)).of("unchanged")) == 14


MISTAKES: tuple[tuple[str, tuple[str | int, ...], object, str], ...] = (
    ("rules/VenueDown.json", ("severity",), "critical", 'json: unknown field "severity"'),
    ("rules/HighErrorRate.json", ("alertType",), "METRIC", 'alertType: unsupported value "METRIC"; must be one of'),
    ("rules/SlowAPIResponse.json", ("condition", "selectedQueryName"), "Z", 'selectedQueryName: "Z" does not match'),
    (
        "rules/SchedulerDown.json",
        ("condition", "thresholds", "spec", 0, "channels"),
        ["nobody"],
        "channels: the following channels do not exist: [nobody]",
    ),
    ("rules/NotifierDown.json", ("condition",), {}, "condition.compositeQuery: field is required"),
    ("dashboards/autotrader-orders.json", ("schemaVersion",), "v5", 'schemaVersion must be "v6", got "v5"'),
    ("dashboards/autotrader-workers.json", ("title",), "x", 'json: unknown field "title"'),
    ("dashboards/autotrader-analysis.json", ("spec", "panels"), {}, "references unknown panel"),
    (
        "dashboards/autotrader-services.json",
        ("spec", "layouts", 0, "spec", "items", 0, "x"),
        9,
        "exceeds grid width 12",
    ),
)


async def test_refused_files_are_named_with_the_field_and_the_others_are_applied(signoz: SigNoz, folder: Path) -> None:
    for file, keys, value, _ in MISTAKES:
        edit(folder / file, *keys, value=value)
    outcome = await run(signoz.url, folder=folder)
    assert outcome.code == 1
    lines = dict(line.removeprefix("signoz: ").split(": ", 1) for line in outcome.err.splitlines())
    assert lines.keys() == {file for file, _, _, _ in MISTAKES}
    for file, _, _, said in MISTAKES:
        assert said in lines[file]
    assert outcome.out.splitlines()[-1] == "5 created, 9 refused"


async def test_a_file_that_is_no_json_is_named_and_nothing_is_written(signoz: SigNoz, folder: Path) -> None:
    (folder / "rules/VenueDown.json").write_text("{,}", encoding="utf-8")
    outcome = await run(signoz.url, folder=folder)
    assert outcome.code == 1
    assert outcome.err.startswith("signoz: rules/VenueDown.json is not JSON: ")
    assert signoz.writes == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SIGNOZ_URL": ""}, "SIGNOZ_URL is missing"),
        ({"SIGNOZ_URL": "127.0.0.1:8080"}, "SIGNOZ_URL is missing or no address"),
        ({"SIGNOZ_API_KEY": ""}, "SIGNOZ_API_KEY is missing"),
        ({"SIGNOZ_API_KEY": "wrong-key-of-nobody"}, "SigNoz refuses the key (401 at GET /api/v1/channels)"),
        ({"TELEGRAM_TOKEN": ""}, "TELEGRAM_TOKEN and TELEGRAM_CHAT_ID are missing"),
        ({"TELEGRAM_CHAT_ID": "@room"}, "the chat must be a number"),
    ],
)
async def test_a_missing_or_wrong_setting_is_one_line(signoz: SigNoz, settings: dict[str, str], said: str) -> None:
    outcome = await run(signoz.url, folder=ROOT / "deploy/signoz", **settings)
    assert outcome.code == 1
    [line] = outcome.err.splitlines()
    assert line.startswith(f"signoz: {said}")
    assert signoz.writes == []


async def test_a_signoz_that_is_down_or_no_signoz_is_one_line(signoz: SigNoz) -> None:
    [line] = (await run(f"http://127.0.0.1:{free_port()}")).err.splitlines()
    assert "does not answer" in line
    [line] = (await run(f"{signoz.url}/nowhere")).err.splitlines()
    assert "is SIGNOZ_URL right?" in line
    signoz.broken = 502
    outcome = await run(signoz.url)
    assert outcome.code == 1
    [line] = outcome.err.splitlines()
    assert line == "signoz: SigNoz answers 502 at GET /api/v1/channels: look at its log, then try again"


async def test_the_key_does_not_follow_a_redirect(signoz: SigNoz) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound(signoz.url + request.path_qs)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outcome = await run(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()
    assert outcome.code == 1
    assert "set SIGNOZ_URL to SigNoz itself" in outcome.err
    assert signoz.writes == []


async def test_no_secret_is_ever_printed(signoz: SigNoz, folder: Path) -> None:
    # a refusal repeats what it was given
    edit(folder / "rules/VenueDown.json", "alertType", value=f"x {TOKEN} {KEY}")
    outcomes = [await run(signoz.url), await run(signoz.url, folder=folder), await run(signoz.url, SIGNOZ_API_KEY="no")]
    for outcome in outcomes:
        assert KEY not in outcome.out + outcome.err
        assert TOKEN not in outcome.out + outcome.err


async def test_the_stand_in_wants_the_key_in_its_header(signoz: SigNoz) -> None:
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Authorization": f"Bearer {KEY}"}, {KEY_HEADER: "other"}):
            async with http.get(f"{signoz.url}/api/v2/rules", headers=headers) as reply:
                assert reply.status == 401
                assert (await reply.json())["error"]["code"] == "unauthenticated"
        async with http.get(f"{signoz.url}/api/v2/rules", headers={KEY_HEADER: KEY}) as reply:
            assert await reply.json() == {"status": "success", "data": []}
