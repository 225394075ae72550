"""Questions that wait for a press, and buttons: done once, by whoever was asked, while they are valid."""

from __future__ import annotations

import asyncio

import pytest
from commanding import KIM, LEE, Room, running, until
from redis.asyncio import Redis

from bot import confirmations
from bot.words import bot_words
from notifications.mutes import Mutes

WORDS = bot_words("en")


async def test_a_halt_is_done_once_and_only_when_its_asker_confirms(room: Room) -> None:
    async with running(room):
        room.write("/halt kis")
        await room.says("Stop all orders of kis?")
        room.press(WORDS.confirm, LEE)
        await until(lambda: room.toasts() == [WORDS.expired])
        assert await room.rows("SELECT * FROM trading_states") == []
        first = room.press(WORDS.confirm)
        # pressed again, before the buttons are gone
        second = room.sandbox.telegram._updates.add("callback_query", first["callback_query"] | {"id": "9"})
        assert second["update_id"] > first["update_id"]
        await room.says("halted")
        await room.outcomes(("halt", "asked"), ("halt", "refused"), ("halt", "done"), ("halt", "refused"))
    [row] = await room.rows("SELECT * FROM trading_states")
    assert (row["state"], row["market"]) == ("halted", "kis")
    assert row["set_by"].startswith(f"telegram:{KIM} (")
    assert (await room.rows())[2]["arguments"] == "confirmed"
    assert not any(WORDS.confirm in str(one["reply_markup"]) for one in room.sandbox.telegram.messages())


async def test_a_question_that_waited_for_too_long_is_expired(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmations, "SECONDS", 1)
    async with running(room):
        room.write("/flatten")
        await room.says("Close all positions of all markets?")
        await asyncio.sleep(1.2)
        room.press(WORDS.confirm)
        await until(lambda: room.toasts() == [WORDS.expired])
        await room.outcomes(("flatten", "asked"), ("flatten", "refused"))
    assert await room.rows("SELECT * FROM trading_states") == []


async def test_a_cancelled_question_is_done_by_nobody(room: Room) -> None:
    async with running(room):
        room.write("/halt")
        await room.says("Stop all orders")
        room.press(WORDS.cancel)
        await room.says(WORDS.cancelled)
        await room.outcomes(("halt", "asked"), ("halt", "done"))
    assert await room.rows("SELECT * FROM trading_states") == []


async def test_the_mute_of_a_button_and_of_a_command_are_in_the_ledger(room: Room, redis: Redis) -> None:
    mutes = Mutes(redis)
    short = "0123456789abcdef"
    keyboard = {"inline_keyboard": [[{"text": "mute", "callback_data": f"m:{short}:3600"}]]}
    async with running(room):
        room.write("/mute order_filled 90m")
        await room.says("order_filled: not told until")
        message = room.sandbox.telegram._messages.sent()[-1]
        message.reply_markup = keyboard
        room.press("mute")
        await until(lambda: any(short in text for text in room.toasts()))
        assert set(await mutes.in_force()) == {"order_filled", short}
        room.write("/mute order_filled off")
        await room.says("order_filled: told again")
        assert set(await mutes.in_force()) == {short}
        await room.outcomes(("mute", "done"), ("mute", "done"), ("mute", "done"))


async def test_an_unreadable_button_is_expired(room: Room) -> None:
    async with running(room):
        room.write("/help")
        await room.says("Commands")
        message = room.sandbox.telegram._messages.sent()[-1]
        message.reply_markup = {"inline_keyboard": [[{"text": "old", "callback_data": "c:rm:xyz"}]]}
        room.press("old")
        await until(lambda: room.toasts() == [WORDS.expired])
        await room.outcomes(("help", "done"), ("button", "refused"))


async def test_a_press_of_long_ago_starts_no_analysis(room: Room) -> None:
    room.sandbox.telegram.presses.seconds = 0
    async with running(room):
        room.write("/help")
        await room.says("Commands")
        message = room.sandbox.telegram._messages.sent()[-1]
        message.reply_markup = {"inline_keyboard": [[{"text": "retry", "callback_data": "a:upbit:KRW-ETH"}]]}
        room.press("retry")
        await room.says(WORDS.expired)
        await room.outcomes(("help", "done"), ("analyze", "refused"))
    assert await room.rows("SELECT * FROM runs") == []
