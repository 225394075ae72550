"""The buttons under the alert of an error, and what the bot reads in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.actions import Action, cancel_action, confirm_action, read_action
from notifications.error_buttons import ACTION_BYTES, ANALYSIS, error_buttons
from notifications.message import Button
from notifications.texts import NO_LINKS, Failure, Links

HASH = "0123456789abcdef" * 4
LINKS = Links("https://signoz.example.com", "https://flower.example.com")


def failure(**changes: Any) -> Failure:
    known: dict[str, Any] = {
        "task": ANALYSIS,
        "task_id": "t1",
        "market": "upbit",
        "symbol": "KRW-BTC",
        "trace_id": "ab",
    }
    return Failure("ValueError", "x", datetime.now(UTC), **({"trace_id": "ab"} | known | changes))


def shown(fingerprint: str = HASH, *, links: Links = NO_LINKS, commands: bool = True, **changes: Any) -> list[Button]:
    rows = error_buttons("en", failure(**changes), fingerprint, links=links, commands=commands)
    return [button for row in rows for button in row]


def test_what_the_buttons_of_an_error_carry_is_what_the_bot_does() -> None:
    mute, retry = shown()
    assert read_action(mute.action) == Action("do", "mute", f"{HASH[:16]} 3600s")
    assert read_action(retry.action) == Action("do", "analyze", "upbit KRW-BTC")


def test_links_are_there_where_they_are_configured() -> None:
    assert [button.url for button in shown(links=LINKS, commands=False)] == [
        "https://signoz.example.com/trace/ab",
        "https://flower.example.com/task/t1",
    ]


def test_there_is_no_button_that_nobody_may_press() -> None:
    assert shown(commands=False) == []


def test_what_is_critical_cannot_be_muted() -> None:
    assert [button.action for button in shown(level="CRITICAL")] == ["a:upbit:KRW-BTC"]


@pytest.mark.parametrize("changes", [{"symbol": ""}, {"market": ""}, {"task": "tasks.orders.guard"}])
def test_only_an_analysis_is_repeated(changes: dict[str, str]) -> None:
    [mute] = shown(**changes)
    assert mute.action.startswith("m:")


def test_a_name_that_does_not_fit_gets_no_button() -> None:
    assert [button.action[0] for button in shown("my-own:" + "x" * ACTION_BYTES)] == ["a"]


def test_a_chosen_fingerprint_with_colons_is_read_back_whole() -> None:
    assert read_action(shown("beat:late:kis")[0].action) == Action("do", "mute", "beat:late:kis 3600s")


@pytest.mark.parametrize("command", ["halt", "flatten"])
def test_questions_fit_and_are_read_back(command: str) -> None:
    token = "A-_z" * 4
    assert read_action(confirm_action(command, token)) == Action("confirm", command, token)
    assert read_action(cancel_action(command, token)) == Action("cancel", command, token)
    assert len(confirm_action(command, token).encode()) <= ACTION_BYTES


@pytest.mark.parametrize("data", ["", "c:help:" + "A" * 16, "c:halt:short", "m::60", "a:upbit:a b", "x:y:z", "m:x:1h"])
def test_what_this_version_did_not_make_is_nothing(data: str) -> None:
    assert read_action(data) is None
