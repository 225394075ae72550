"""Buttons and pictures of messages: they arrive once, and stay with what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from notifying import ERROR_CHAT, alert, made_settings, png, running, shown, texts, until
from redis.asyncio import Redis

from notifications.ledger import Ledger
from notifications.message import Button, utf16_length
from notifications.pictures import keep
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings

BUTTONS = ((Button("Mute 1 h", action="mute:abc"), Button("Trace", url="http://signoz.example:8080/trace/1")),)
LONG = "first line\n" + "🔥 more\n" * 200


pytestmark = pytest.mark.usefixtures("own_spool")


@pytest.fixture
def settings(redis: Redis, redis_server: LocalRedis, sandbox: Sandbox) -> Settings:
    return made_settings(redis_server.url, sandbox)


def keyboard(message: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [] if message["reply_markup"] is None else message["reply_markup"]["inline_keyboard"]


def asked(sandbox: Sandbox, method: str) -> int:
    return sum(request["path"].endswith(method) for request in sandbox.requests.listed())


async def test_buttons_arrive_and_stay_while_the_count_rises(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    ledger = Ledger(redis)
    async with running(settings):
        await ledger.record(alert("f", buttons=BUTTONS))
        await until(lambda: texts(sandbox, ERROR_CHAT))
        await ledger.record(alert("f", buttons=BUTTONS))
        await until(lambda: "×2, " in texts(sandbox, ERROR_CHAT)[0])
    [message] = shown(sandbox, ERROR_CHAT)
    [[mute, trace]] = keyboard(message)
    assert (mute["text"], mute["callback_data"]) == ("Mute 1 h", "mute:abc")
    assert (trace["text"], trace["url"]) == ("Trace", "http://signoz.example:8080/trace/1")


async def test_a_button_telegram_would_refuse_does_not_keep_its_message_back(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    odd = (
        Button("SigNoz", url="http://localhost:3301/trace/1"),
        Button("Flower", url="http://flower:5555"),
        Button("odd", url="javascript:alert(1)"),
        Button("broken", url="http://[::1"),
        Button("long", action="가" * 22),
        Button(" ", action="x"),
        Button("nothing"),
        Button("both", action="x", url="http://a.example"),
        Button("half", action="\ud800"),
    )
    async with running(settings):
        await Ledger(redis).record(alert("f", buttons=(odd, (Button("\ud800 fine", action="y" * 64),))))
        await until(lambda: texts(sandbox, ERROR_CHAT))
    [message] = shown(sandbox, ERROR_CHAT)
    assert [[button["text"] for button in row] for row in keyboard(message)] == [["\ufffd fine"]]
    assert message["entities"], "it was accepted at once, not as the plain fallback"


async def test_a_short_text_stands_under_its_picture(settings: Settings, redis: Redis, sandbox: Sandbox) -> None:
    name = await keep(redis, png())
    async with running(settings):
        await Ledger(redis).record(alert("f", picture=name, buttons=BUTTONS))
        await until(lambda: texts(sandbox, ERROR_CHAT))
    [message] = shown(sandbox, ERROR_CHAT)
    assert (message["text"], bool(message["photo"]), len(keyboard(message))) == ("text of f", True, 1)
    assert message["entities"]
    assert not message["disable_notification"]


async def test_a_long_text_follows_its_picture_which_has_the_first_line(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    name = await keep(redis, png())
    assert utf16_length(LONG) > 1024
    async with running(settings):
        await Ledger(redis).record(alert("f", LONG, picture=name, buttons=BUTTONS))
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 2)
    picture, text = shown(sandbox, ERROR_CHAT)
    assert (picture["text"], bool(picture["photo"]), keyboard(picture)) == ("first line", True, [])
    assert (text["text"], bool(text["photo"]), len(keyboard(text))) == (LONG, False, 1)
    assert (picture["disable_notification"], text["disable_notification"]) == (True, False), "one sound, not two"


async def test_what_is_sent_again_brings_its_picture_no_second_time(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    name = await keep(redis, png())
    fault = sandbox.faults.order({"service": "telegram", "kind": "error", "status": 500, "path": "/sendMessage"})
    await Ledger(redis).record(alert("f", LONG, picture=name))
    async with running(settings):
        await until(lambda: asked(sandbox, "/sendMessage") > 1)
    sandbox.faults.clear(fault.id)
    # another process, which has nothing in memory
    async with running(settings):
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 2)
    assert asked(sandbox, "/sendPhoto") == 1
    assert texts(sandbox, ERROR_CHAT) == ["first line", LONG]


@pytest.mark.parametrize("why", ["gone", "refused"])
async def test_a_picture_that_cannot_be_shown_leaves_the_text(
    settings: Settings, redis: Redis, sandbox: Sandbox, why: str
) -> None:
    name = await keep(redis, png()) if why == "refused" else "it-expired"
    sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": "picture"})
    async with running(settings):
        await Ledger(redis).record(alert("f", picture=name, buttons=BUTTONS))
        await until(lambda: texts(sandbox, ERROR_CHAT))
    [message] = shown(sandbox, ERROR_CHAT)
    assert (message["text"], message["photo"], len(keyboard(message))) == ("text of f", "", 1)
    assert message["entities"]


@pytest.mark.parametrize("shown_as", ["caption", "text after its picture", "text alone"])
async def test_a_count_is_shown_where_the_text_is(
    settings: Settings, redis: Redis, sandbox: Sandbox, shown_as: str
) -> None:
    name = "it-expired" if shown_as == "text alone" else await keep(redis, png())
    text = LONG if shown_as == "text after its picture" else "first line\n" + "x" * 940
    one = alert("f", text, picture=name, buttons=BUTTONS)
    ledger = Ledger(redis)
    async with running(settings):
        await ledger.record(one)
        await until(lambda: any(keyboard(message) for message in shown(sandbox, ERROR_CHAT)))
        await ledger.record(replace(one))
        await until(lambda: any(message["edits"] for message in shown(sandbox, ERROR_CHAT)))
    [*before, edited] = shown(sandbox, ERROR_CHAT)
    assert len(before) == (shown_as == "text after its picture")
    assert bool(edited["photo"]) is (shown_as == "caption")
    assert "×2, " in edited["text"]
    assert len(keyboard(edited)) == 1
