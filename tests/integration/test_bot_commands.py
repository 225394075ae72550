"""The bot against a real Redis and PostgreSQL and the Bot API stand-in: who may, once each, and what is answered."""

from __future__ import annotations

from uuid import UUID

import pytest
from commanding import KIM, STRANGER, TRADE_CHAT, Room, running, until
from redis.asyncio import Redis

import bot.desk
import bot.process
import bot.turn
from bot.words import bot_words
from notifications.ledger import Ledger

WORDS = bot_words("en")


async def test_a_command_is_answered_and_leaves_one_row_with_its_trace(room: Room) -> None:
    room.write("/help")
    async with running(room):
        assert "/flatten [market]" in await room.says("Commands")
        await room.outcomes(("help", "done"))
        [row] = await room.rows()
    assert (row["chat_id"], row["user_id"], row["username"]) == (TRADE_CHAT, KIM, f"user{KIM}")
    menus = {one["language_code"]: one["commands"] for one in room.sandbox.telegram.commands.listed()}
    assert {command["command"] for command in menus["ko"]} == set(WORDS.menu)
    assert menus["en"] != menus["ko"]


@pytest.mark.parametrize(
    ("user", "chat"), [(STRANGER, TRADE_CHAT), (STRANGER, STRANGER), (KIM, -1003)], ids=["user", "private", "chat"]
)
async def test_whoever_may_not_gets_nothing_and_is_written_down(room: Room, user: int, chat: int) -> None:
    room.write("/halt", user, chat)
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(("halt", "refused"), ("help", "done"))
    assert room.said(chat) in ([], room.said(TRADE_CHAT))
    assert len(room.said(TRADE_CHAT)) == 1


async def test_a_person_who_may_is_answered_in_private(room: Room) -> None:
    room.write("/help", KIM, KIM)
    async with running(room):
        await room.says("Commands", KIM)


async def test_a_stranger_cannot_fill_the_database(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.desk, "STRANGERS_PER_HOUR", 3)
    for number in range(6):
        room.write(f"/status {number}", STRANGER, STRANGER)
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(*[("status", "refused")] * 3, ("help", "done"))


async def test_without_allowed_users_nobody_is_answered_and_the_log_says_how(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.write("/help")
    async with running(room, telegram_allowed_users=()):
        await room.outcomes(("help", "refused"))
    assert room.said() == []
    assert sum("set TELEGRAM_ALLOWED_USERS" in line for line in caplog.messages) == 1


async def test_an_update_that_is_delivered_twice_is_done_once(room: Room) -> None:
    room.write("/pause upbit 2")
    async with running(room):
        await room.says("upbit")
    # another notifier, which knows of no offset, is given the same once more
    room.sandbox.telegram._updates._last_id = 0
    room.write("/pause upbit 2")
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(("pause", "done"), ("help", "done"))
    [row] = await room.rows("SELECT * FROM trading_states")
    assert (row["state"], row["market"], row["set_by"]) == ("reducing", "upbit", f"telegram:{KIM} (user{KIM})")


async def test_what_changes_something_is_done_in_its_order(room: Room) -> None:
    for _ in range(3):
        room.write("/pause")
        room.write("/resume")
    async with running(room):
        await room.outcomes(*[("pause", "done"), ("resume", "done")] * 3)
    rows = await room.rows("SELECT state FROM trading_states ORDER BY seq")
    assert [row["state"] for row in rows] == ["reducing", "active"] * 3


async def test_every_question_has_an_answer(room: Room) -> None:
    asked = {
        "/status": "trading is active",
        "/positions": "no accounts yet",
        "/orders": "no orders yet",
        "/pnl 7": "",
        "/daily": "",
        "/locks": "",
        "/health": "database: up",
        "/mute": "Nothing is muted.",
    }
    for text in asked:
        room.write(text)
    async with running(room):
        await room.outcomes(*[(text[1:].split()[0], "done") for text in asked])
        await until(lambda: len(room.said()) == len(asked))
    for part in asked.values():
        assert await room.says(part)


async def test_what_cannot_be_done_is_said(room: Room) -> None:
    asked = {
        "/nonsense": ("refused", "There is no command /nonsense"),
        "/pause binance": ("refused", "not understood: binance\nUsage: /pause [market] [hours]"),
        "/analyze upbit": ("refused", "Usage: /analyze <market> <symbol>"),
        "/mute ordr 1h": ("refused", "not understood: ordr"),
        "/why nothing": ("failed", "'nothing' is no analysis id"),
        "/unlock nothing": ("failed", "/unlock failed: "),
    }
    for text in asked:
        room.write(text)
    async with running(room):
        await room.outcomes(*[(text[1:].split()[0], outcome) for text, (outcome, _) in asked.items()])
        for _, part in asked.values():
            await room.says(part)


async def test_the_link_of_a_summary_is_the_command_with_its_id(room: Room) -> None:
    id = "0123456789abcdef0123456789abcdef"
    room.write(f"/why_{id}@autotrader_sandbox_bot")
    async with running(room):
        await room.says(f"/why failed: there is no analysis {UUID(id)}")
        await room.outcomes(("why", "failed"))
    [row] = await room.rows()
    assert row["arguments"] == id


async def test_a_command_for_another_bot_is_left_to_it(room: Room) -> None:
    room.write("/help@another_bot")
    room.write("/health@autotrader_sandbox_bot")
    async with running(room):
        await room.says("Health")
        await room.outcomes(("health", "done"))


async def test_a_command_that_was_sent_long_ago_is_not_done(room: Room) -> None:
    update = room.write("/resume")
    update["message"]["date"] -= 3600
    async with running(room):
        await room.says("/resume was sent 60 minutes ago")
        await room.outcomes(("resume", "refused"))


async def test_what_somebody_else_has_written_is_no_command_of_who_passes_it_on(room: Room) -> None:
    somebody = {"id": STRANGER, "is_bot": False, "first_name": "Somebody"}
    group = {"id": -1009, "type": "supergroup", "title": "Another group"}
    # as the Bot API documents MessageOrigin and Message.via_bot; without an origin, as it was before 7.0
    for passed_on in (
        {"forward_origin": {"type": "user", "date": 1, "sender_user": somebody}},
        {"forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "Somebody"}},
        {"forward_origin": {"type": "chat", "date": 1, "sender_chat": group}},
        {"forward_origin": {"type": "channel", "date": 1, "chat": group | {"type": "channel"}, "message_id": 7}},
        {"forward_date": 1, "forward_from": somebody},
        {"forward_date": 1, "forward_sender_name": "Somebody"},
        {"via_bot": {"id": 9, "is_bot": True, "first_name": "Inline", "username": "inline_bot"}},
    ):
        room.write("/resume")["message"].update(passed_on)
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(("help", "done"))
    assert await room.rows("SELECT * FROM trading_states") == []


async def test_a_long_answer_is_cut_to_what_telegram_takes(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def long(*_: object) -> str:
        return "🔥한글 " * 5000

    monkeypatch.setattr("operate.show_orders", long)
    room.write("/orders")
    async with running(room):
        assert (await room.says("🔥")).endswith("…")


async def test_a_group_that_moved_is_answered_at_its_new_place(room: Room, redis: Redis) -> None:
    await Ledger(redis).remember_moved_chat(str(TRADE_CHAT), "-100777")
    room.write("/help", KIM, -100777)
    async with running(room):
        await room.says("Commands", -100777)


async def test_everything_is_said_in_korean_too(room: Room) -> None:
    korean = bot_words("ko")
    room.write("/help")
    room.write("/halt")
    async with running(room, notify_language="ko"):
        await room.says(korean.menu["halt"])
        await room.says("모든 주문을 중지할까요?")
