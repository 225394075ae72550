"""Whatever fails around the bot or in it: nothing is lost or done twice, and what is its own fault is told."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from commanding import KIM, STRANGER, TRADE_CHAT, Room, running, until
from notifying import TOKEN
from redis.asyncio import Redis

import bot.desk
import bot.process
import bot.turn
from bot.turn import KEY as TURN
from bot.turn import Turn
from bot.words import bot_words
from notifications import reporter
from notifications.alert import Claim, read_payload
from notifications.ledger import PREFIX, Ledger
from notifications.message import Chat

WORDS = bot_words("en")


async def test_two_notifiers_do_each_command_once(room: Room, redis: Redis) -> None:
    async with running(room), running(room):
        for _ in range(5):
            room.write("/help")
        await room.outcomes(*[("help", "done")] * 5)
        await until(lambda: len(room.said()) == 5)
        assert await redis.get(TURN)
    assert await redis.get(TURN) is None


async def test_another_notifier_takes_over_when_one_has_died(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.turn, "LEASE_SECONDS", 0.3)
    first, second = Turn(redis), Turn(redis)
    await first.look()
    await second.look()
    assert first.held.is_set()
    assert not second.held.is_set()
    deadline = time.monotonic() + 15
    while not second.held.is_set():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
        await second.look()
    await first.look()
    assert not first.held.is_set()


async def test_a_command_that_raises_is_a_failed_row_an_answer_and_an_error_alert(
    room: Room, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> str:
        raise ZeroDivisionError(f"by nothing, with {TOKEN}\nand more")

    monkeypatch.setattr("operate.show_orders", broken)
    room.write("/orders")
    async with running(room):
        await room.says("/orders failed: ZeroDivisionError: by nothing, with [redacted]")
        await room.outcomes(("orders", "failed"))
    assert "and more" not in room.said()[0]
    assert TOKEN not in str(await room.rows())
    claim = await Ledger(redis).claim([Chat.ERROR])
    assert isinstance(claim, Claim)
    assert "ZeroDivisionError" in claim.payload
    assert "bot/orders" in claim.payload


async def test_a_database_that_is_away_is_said_and_the_command_done_when_it_is_back(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = room.settings.database_url
    room.write("/pause")
    room.write("/help", STRANGER, STRANGER)
    monkeypatch.setattr(bot.process, "HELD_SECONDS", 0.1)
    made: list[Any] = []
    real = bot.process.Desk

    def desk(*arguments: Any) -> Any:
        made.append(real(*arguments))
        return made[0]

    monkeypatch.setattr(bot.process, "Desk", desk)
    async with running(room, database_url="postgresql+asyncpg://nobody@127.0.0.1:9/nothing"):
        await room.says("The database does not answer, so /pause is not done yet.")
        made[0]._database_url = there
        made[0]._answers._settings = room.settings
        await room.outcomes(("pause", "done"), ("help", "refused"))
    assert len([text for text in room.said() if "does not answer" in text]) == 1


async def test_a_redis_that_is_away_is_said_and_the_row_says_so(room: Room) -> None:
    room.write("/halt")
    room.write("/health")
    async with running(room, redis_url="redis://127.0.0.1:9/0"):
        await room.says("/halt failed: Redis does not answer (ConnectionError)")
        await room.says("Redis: does not answer")
        await room.outcomes(("halt", "failed"), ("health", "done"))


@pytest.mark.parametrize(
    "faults",
    [
        ({"kind": "close", "path": "/getUpdates"}, {"kind": "error", "status": 502, "path": "/sendMessage"}),
        ({"kind": "error", "status": 502, "path": "/getUpdates"}, {"kind": "close", "path": "/sendMessage"}),
        tuple({"kind": "throttle", "retry_after": 1, "path": path} for path in ("/getUpdates", "/sendMessage")),
    ],
    ids=["closed", "502", "429"],
)
async def test_a_fault_of_telegram_delays_an_answer_and_loses_none(
    room: Room, faults: Sequence[dict[str, Any]]
) -> None:
    for fault in faults:
        room.sandbox.faults.order({"service": "telegram", "count": 1, **fault})
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(("help", "done"))


async def test_an_answer_waits_in_the_pause_of_the_whole_bot(room: Room, redis: Redis) -> None:
    await redis.set(PREFIX + "pause", "all", px=800)
    room.write("/help")
    async with running(room):
        await room.outcomes(("help", "done"))
        assert room.said() == [] or not await redis.exists(PREFIX + "pause")
        await room.says("Commands")
        assert not await redis.exists(PREFIX + "pause")


async def test_another_program_that_polls_is_one_line_of_the_log(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bot.process, "CONFLICT_SECONDS", 0.05)
    caplog.set_level(logging.INFO, "bot")
    room.sandbox.faults.order(
        {"service": "telegram", "kind": "error", "status": 409, "path": "/getUpdates", "count": 3}
    )
    room.write("/help")
    async with running(room):
        await room.says("Commands")
    assert sum("another program fetches this bot's updates" in line for line in caplog.messages) == 1
    assert TOKEN not in caplog.text


async def test_what_a_dead_notifier_had_begun_is_settled_and_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await room.rows(
        "INSERT INTO bot_commands (update_id, chat_id, user_id, username, command, arguments, outcome, at) "
        f"VALUES (-5, {TRADE_CHAT}, {KIM}, 'kim', 'flatten', '', 'begun', now() - interval '10 minutes')"
    )
    async with running(room):
        await room.says("The notifier ended before /flatten did.")
        await room.outcomes(("flatten", "failed"))


async def test_a_stop_settles_what_is_being_done(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def endless(*_: object) -> str:
        begun.set()
        await asyncio.sleep(3600)
        return ""

    monkeypatch.setattr(bot.desk, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr("operate.show_orders", endless)
    room.write("/orders")
    async with running(room):
        await asyncio.wait_for(begun.wait(), 15)
    await room.outcomes(("orders", "failed"))
    await room.says("/orders failed: the notifier was stopped meanwhile")


async def test_an_update_that_cannot_be_read_holds_nobody_up(room: Room) -> None:
    room.sandbox.telegram._updates.add("message", {"text": "neither a chat nor a date"})
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(("help", "done"))


async def told(redis: Redis, count: int = 1) -> list[str]:
    """The texts of so many alerts of the error chat."""
    ledger, found = Ledger(redis), []
    while len(found) < count:
        claim = await ledger.claim([Chat.ERROR])
        if isinstance(claim, Claim):
            found.append(read_payload(claim.payload).message.text)
        else:
            await asyncio.sleep(0.02)
    return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many errors were counted, by type."""
    counts: Counter[str] = Counter()

    class Errors:
        def add(self, count: int, attributes: dict[str, str]) -> None:
            counts[attributes["error_type"]] += count

    monkeypatch.setattr(reporter, "bot_errors", Errors())
    return counts


async def test_an_update_that_cannot_be_read_is_counted_and_told(
    room: Room, redis: Redis, counted: Counter[str]
) -> None:
    room.sandbox.telegram._updates.add("message", {"text": "neither a chat nor a date"})
    async with running(room):
        [text] = await asyncio.wait_for(told(redis), 20)
    assert sum(counted.values()) == 1
    assert next(iter(counted)) in text


@pytest.mark.parametrize(
    "broken",
    ["bot.line.Line.introduce", "bot.desk.Desk.take", "bot.desk.Desk.tell_interrupted", "bot.line.Line.say"],
)
async def test_a_fault_of_the_bots_own_is_counted_and_told_and_it_goes_on(
    room: Room, redis: Redis, counted: Counter[str], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    *path, name = broken.split(".")
    owner = getattr(importlib.import_module(".".join(path[:2])), path[2])
    real, broke = getattr(owner, name), asyncio.Event()

    async def once(*args: Any, **given: Any) -> Any:
        if not broke.is_set():
            broke.set()
            raise ZeroDivisionError(f"in {name}")
        return await real(*args, **given)

    monkeypatch.setattr(owner, name, once)
    monkeypatch.setattr(bot.process, "INTERRUPTED_LOOK_SECONDS", 0.05)
    async with running(room):
        room.write("/help")
        [text] = await asyncio.wait_for(told(redis), 20)
        room.write("/help")
        await room.says("Commands")
    assert counted == {"ZeroDivisionError": 1}
    assert f"in {name}" in text
