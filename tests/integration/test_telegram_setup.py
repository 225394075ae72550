"""`autotrader telegram test` and `chats`: each fault by its own name with what to do, and the numbers to set."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from notifying import TOKEN
from redis.asyncio import Redis

from bot.process import run_bot
from doctor.findings import Finding
from doctor.telegram_setup import CannotListen, TelegramSettings, chats, try_chats
from doctor.telegram_words import ENGLISH, KOREAN, setup_words
from notifications.heard import HeardChats
from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from sandbox.server import Sandbox
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BOT = "@autotrader_sandbox_bot"


def given(sandbox: Sandbox, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "telegram_base_url": f"{sandbox.url}/telegram",
        "telegram_token": TOKEN,
        "telegram_chat_id": "7",
        "error_reporting_chat_id": "-5",
        "notify_language": "en",
    }
    return TelegramSettings(_env_file=None, **(values | changes))


async def findings(settings: Settings) -> list[Finding]:
    return [finding async for finding in try_chats(settings)]


async def the_fault(settings: Settings) -> Finding:
    (fault,) = (finding for finding in await findings(settings) if finding.verdict == "FAULT")
    assert TOKEN not in fault.detail
    return fault


async def heard(settings: Settings, seconds: float = 1) -> list[str]:
    return [line async for line in chats(settings, seconds)]


async def autotrader(sandbox: Sandbox, *arguments: str, **env: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "telegram", *arguments, cwd=ROOT,
        env={"PATH": "", "TELEGRAM_BASE_URL": f"{sandbox.url}/telegram", "TELEGRAM_TOKEN": TOKEN} | env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_both_chats_get_a_message_that_says_what_comes_there(sandbox: Sandbox) -> None:
    found = await findings(given(sandbox))
    assert [(finding.verdict, finding.name) for finding in found] == [
        ("ok", "TELEGRAM_TOKEN"),
        ("ok", "TELEGRAM_CHAT_ID"),
        ("ok", "ERROR_REPORTING_CHAT_ID"),
    ]
    trade, error = sandbox.telegram.messages()
    assert (trade["chat_id"], error["chat_id"]) == (7, -5)
    assert ENGLISH.trade_chat in trade["text"]
    assert ENGLISH.error_chat in error["text"]
    assert trade["entities"][0]["type"] == "bold"


async def test_without_an_error_chat_one_message_says_that_everything_comes_there(sandbox: Sandbox) -> None:
    found = await findings(given(sandbox, error_reporting_chat_id="", notify_language="ko"))
    assert {finding.verdict for finding in found} == {"ok"}
    (message,) = sandbox.telegram.messages()
    assert KOREAN.both_chats in message["text"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"kind": "refuse", "variant": "not_found"}, ENGLISH.not_found_group),
        ({"kind": "refuse", "variant": "blocked"}, ENGLISH.blocked),
        ({"kind": "refuse", "variant": "kicked"}, ENGLISH.removed),
        ({"kind": "refuse", "variant": "not_member"}, ENGLISH.removed),
        ({"kind": "refuse", "variant": "no_rights"}, ENGLISH.may_not_write),
        ({"kind": "refuse", "variant": "deleted"}, ENGLISH.group_deleted),
        ({"kind": "migrate"}, ENGLISH.moved.replace("{new}", "-1000000000005")),
        ({"kind": "throttle", "retry_after": 37}, ENGLISH.too_fast.replace("{seconds}", "37")),
        ({"kind": "error", "status": 500}, ENGLISH.server_trouble.replace("{status}", "500")),
        ({"kind": "html", "status": 502}, ENGLISH.server_trouble.replace("{status}", "502")),
    ],
)
async def test_what_is_wrong_with_a_chat_is_said_with_its_cure(
    sandbox: Sandbox, fault: dict[str, Any], sentence: str
) -> None:
    sandbox.faults.order({"service": "telegram", "chat_id": "-5", **fault})
    found = await the_fault(given(sandbox))
    assert found.name == "ERROR_REPORTING_CHAT_ID"
    assert found.detail == sentence.replace("{bot}", BOT).replace("{setting}", "ERROR_REPORTING_CHAT_ID")


async def test_a_person_who_is_not_found_is_told_to_press_start(sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": "not_found", "chat_id": "7"})
    found = await the_fault(given(sandbox))
    assert (found.name, f"Find {BOT} in Telegram and press Start" in found.detail) == ("TELEGRAM_CHAT_ID", True)


async def test_a_wrong_or_missing_token_is_said_before_any_chat_is_tried(sandbox: Sandbox) -> None:
    assert (await the_fault(given(sandbox, telegram_token=f"{TOKEN}-other"))).detail.startswith(
        "Telegram refuses TELEGRAM_TOKEN (401)"
    )
    assert (await the_fault(given(sandbox, telegram_token=""))).detail == ENGLISH.token_missing
    assert sandbox.telegram.messages() == []


async def test_without_a_network_that_is_said(sandbox: Sandbox) -> None:
    nowhere = given(sandbox, telegram_base_url=f"http://127.0.0.1:{free_port()}")
    found = await the_fault(nowhere)
    assert found.name == "Telegram"
    assert "connection refused" in found.detail
    with pytest.raises(CannotListen, match="connection refused"):
        await heard(nowhere)
    sandbox.faults.order({"service": "telegram", "kind": "close", "chat_id": "-5"})
    assert "cannot be reached" in (await the_fault(given(sandbox))).detail


async def test_whoever_writes_to_the_bot_learns_the_numbers_to_set(sandbox: Sandbox) -> None:
    sandbox.telegram.receive(7, "hello", username="kim\x1b[31m")
    sandbox.telegram.receive(7, "again", username="kim\x1b[31m")
    sandbox.telegram.join(-5, user_id=7)
    sandbox.telegram.join(-6, user_id=7, status="kicked")
    lines = await heard(given(sandbox, telegram_chat_id="", error_reporting_chat_id=""))
    shown = [line.strip() for line in lines if line.startswith("  ")]
    assert shown == [
        "private chat 7: Operator @kim�[31m, user 7",
        "group -5 (Trading room): Operator, user 7",
        "TELEGRAM_CHAT_ID=7",
        "ERROR_REPORTING_CHAT_ID=-5",
        "TELEGRAM_ALLOWED_USERS=7",
    ]
    # what was shown is no command for the notifier any more
    with pytest.raises(CannotListen, match="Nobody wrote"):
        await heard(given(sandbox))


async def test_of_several_people_none_is_proposed_as_the_operator(sandbox: Sandbox) -> None:
    sandbox.telegram.receive(7, "hello")
    sandbox.telegram.receive(8, "hello")
    lines = await heard(given(sandbox))
    assert lines[-1] == ENGLISH.several
    assert not any("TELEGRAM_ALLOWED_USERS" in line for line in lines)


async def test_a_running_notifier_is_named_as_what_is_in_the_way(sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": "conflict"})
    with pytest.raises(CannotListen, match="Stop autotrader notifier"):
        await heard(given(sandbox))


@pytest.mark.parametrize("language", ["ko", "en"])
async def test_while_a_notifier_listens_it_is_asked_whom_it_hears(
    sandbox: Sandbox, redis: Redis, redis_server: LocalRedis, language: str
) -> None:
    words, stop = setup_words("en" if language == "en" else "ko"), asyncio.Event()
    settings = given(sandbox, redis_url=redis_server.url, notify_language=language)
    sandbox.telegram.receive(8, "long before", username="lee")
    listening = asyncio.create_task(run_bot(settings, stop=stop))
    known = HeardChats(redis, TOKEN)
    try:
        while not await known.since(0):  # noqa: ASYNC110 - it is Redis that knows
            await asyncio.sleep(0.02)
        asked = asyncio.create_task(heard(settings, seconds=5))
        sandbox.telegram.receive(-5, "hello", username="kim")
        lines = await asked
    finally:
        stop.set()
        await asyncio.wait_for(listening, 30)
    assert lines[0] == words.over_notifier
    shown = [line for line in lines if line.startswith("  ")]
    assert words.heard.format(chat=8, who="Operator @lee", user=8) in shown[0]
    assert "-5 (" in shown[1]
    # once it has stopped, Telegram itself is asked
    assert not await known.anybody_listens()
    with pytest.raises(CannotListen, match=BOT):
        await heard(settings)


async def test_the_commands_need_no_more_than_the_token_and_end_as_they_should(sandbox: Sandbox) -> None:
    (code, output), (fine, _), (listened, nobody) = await asyncio.gather(
        autotrader(sandbox, "test"),
        autotrader(sandbox, "test", TELEGRAM_CHAT_ID="7"),
        autotrader(sandbox, "chats", "--seconds", "1"),
    )
    assert fine == 0
    assert (code, output.splitlines()) == (
        1,
        [
            f"ok      TELEGRAM_TOKEN: {KOREAN.token_good.format(bot=BOT)}",
            f"FAULT   TELEGRAM_CHAT_ID: {KOREAN.chat_missing}",
            "autotrader: 1 at fault",
        ],
    )
    assert (listened, nobody.splitlines()[-1]) == (1, f"autotrader: {KOREAN.nobody.format(bot=BOT)}")
