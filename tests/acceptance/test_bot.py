"""The bot in a real notifier, commanded over Telegram: what it changes, whom it answers, and its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from nodes import LocalWorker
from world import ERROR_CHAT, TRADE_CHAT, World, wait_for

KIM, STRANGER = 71, 666


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    return {"TELEGRAM_ALLOWED_USERS": str(KIM), "NOTIFY_LANGUAGE": "en", "SIGNOZ_URL": "https://signoz.example.com"}


def write(world: World, text: str, user: int = KIM) -> None:
    body = {"chat_id": int(TRADE_CHAT), "text": text, "user_id": user, "username": f"user{user}"}
    world.sandbox.post("telegram/updates", body)


def says(world: World, part: str, chat: str = TRADE_CHAT) -> str:
    """The first text of the chat that holds the part."""
    return str(
        wait_for(part, lambda: next((text for text in world.messages(chat) if part in text), None), 60),
    )


def press(world: World, label: str, chat: str) -> None:
    def found() -> Any:
        messages = world.sandbox.get("telegram/messages")
        return next((one for one in messages if label in str(one["reply_markup"])), None)

    message = wait_for(f"a button {label}", found, 60)
    body = {"chat_id": int(chat), "message_id": message["message_id"], "label": label, "user_id": KIM}
    world.sandbox.post("telegram/presses", body)


def outcomes(world: World) -> list[tuple[str, str, int]]:
    rows = world.rows("SELECT command, outcome, user_id FROM bot_commands ORDER BY seq")
    return [(row["command"], row["outcome"], row["user_id"]) for row in rows]


def test_trading_is_paused_halted_and_resumed_from_the_chat(world: World) -> None:
    world.start("notifier", "cli", "notifier")
    write(world, "/halt", STRANGER)
    write(world, "/pause upbit 2")
    says(world, "upbit")
    write(world, "/halt")
    says(world, "Stop all orders of all markets?")
    press(world, "✅ Confirm", TRADE_CHAT)
    says(world, "trading of everything is halted")
    write(world, "/status")
    says(world, "heartbeat never")
    write(world, "/resume")
    wait_for("the resume", lambda: ("resume", "done", KIM) in outcomes(world), 60)
    states = world.rows("SELECT state, market, set_by FROM trading_states ORDER BY seq")
    assert [(row["state"], row["market"]) for row in states] == [
        ("reducing", "upbit"),
        ("halted", None),
        ("active", None),
    ]
    assert all(row["set_by"].startswith(f"telegram:{KIM} (") for row in states)
    assert outcomes(world) == [
        ("halt", "refused", STRANGER),
        ("pause", "done", KIM),
        ("halt", "asked", KIM),
        ("halt", "done", KIM),
        ("status", "done", KIM),
        ("resume", "done", KIM),
    ]
    traces = [row["trace_id"] for row in world.rows("SELECT trace_id FROM bot_commands ORDER BY seq")]
    assert len(set(traces)) == 6
    assert None not in traces


def test_a_failed_analysis_is_muted_and_repeated_by_the_buttons_of_its_alert(
    world: World, celery_worker: LocalWorker
) -> None:
    world.start("notifier", "cli", "notifier")
    fault = {"service": "upbit", "symbol": "KRW-ETH", "kind": "html", "status": 503}
    world.sandbox.post("faults", fault)
    write(world, "/analyze upbit KRW-ETH")
    says(world, "/analyze failed: ")
    says(world, "KRW-ETH", ERROR_CHAT)
    world.sandbox.delete("faults")
    press(world, "🔁 retry the analysis", ERROR_CHAT)
    says(world, "outcome: order_filled", ERROR_CHAT)
    press(world, "🔕 mute 1 h", ERROR_CHAT)

    def answered() -> list[str]:
        return [one["answer"]["text"] for one in world.sandbox.get("telegram/presses") if one["answer"]]

    wait_for("the mute", lambda: any("not told until" in text for text in answered()))
    wait_for("the rows", lambda: len(outcomes(world)) == 3 and all(one[1] != "begun" for one in outcomes(world)))
    assert [one[:2] for one in outcomes(world)] == [("analyze", "failed"), ("analyze", "done"), ("mute", "done")]
