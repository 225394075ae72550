"""The bot against a real Redis and PostgreSQL and the Bot API stand-in: who may, once each, and what is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

import bot.desk
import bot.process
import bot.turn
from bot import confirmations
from bot.process import run_bot
from bot.turn import KEY as TURN
from bot.turn import Turn
from bot.words import bot_words
from notifications.alert import Claim
from notifications.ledger import PREFIX, Ledger
from notifications.message import Chat
from notifications.mutes import Mutes
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings

TOKEN = "1000000001:AAF-sandbox-token-for-the-tests-only"
TRADE_CHAT, ERROR_CHAT, KIM, LEE, STRANGER = -1001, -1002, 71, 72, 666
WORDS = bot_words("en")


class Room:
    """The chats, as the people in them see them, and what the database says."""

    def __init__(self, sandbox: Sandbox, settings: Settings) -> None:
        self.sandbox = sandbox
        self.settings = settings

    def write(self, text: str, user: int = KIM, chat: int = TRADE_CHAT) -> dict[str, Any]:
        return self.sandbox.telegram.receive(chat, text, user, f"user{user}")

    def press(self, label: str, user: int = KIM, chat: int = TRADE_CHAT) -> dict[str, Any]:
        [message] = [one for one in self.sandbox.telegram.messages() if label in str(one["reply_markup"])][-1:]
        return self.sandbox.telegram.press(chat, message["message_id"], label, user)

    def said(self, chat: int = TRADE_CHAT) -> list[str]:
        return [one["text"] for one in self.sandbox.telegram.messages() if one["chat_id"] == chat]

    def toasts(self) -> list[str]:
        return [one["answer"]["text"] for one in self.sandbox.telegram.presses.listed() if one["answer"]]

    async def says(self, part: str, chat: int = TRADE_CHAT) -> str:
        await until(lambda: any(part in text for text in self.said(chat)))
        return next(text for text in self.said(chat) if part in text)

    async def rows(self, query: str = "SELECT * FROM bot_commands ORDER BY seq") -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.settings.database_url.replace("+asyncpg", ""))
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def outcomes(self, *wanted: tuple[str, str]) -> None:
        """Wait until the rows are these."""
        found: list[tuple[str, str]] = []
        deadline = time.monotonic() + 15
        while found != list(wanted):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)
            found = [(row["command"], row["outcome"]) for row in await self.rows()]


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def own_spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # a group of tests in one chat would keep to the pace of one
    monkeypatch.setattr("bot.line.Pace", lambda: type("Fast", (), {"per_chat": 1000.0, "burst": 1000})())


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_server.url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def room(emptied_database_url: str, redis: Redis, redis_server: LocalRedis) -> AsyncIterator[Room]:
    sandbox = Sandbox(telegram_token=TOKEN)
    await sandbox.start()
    yield Room(sandbox, made_settings(emptied_database_url, redis_server.url, sandbox))
    await sandbox.stop()


def made_settings(database_url: str, redis_url: str, sandbox: Sandbox, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "database_url": database_url,
        "telegram_base_url": f"{sandbox.url}/telegram",
        "telegram_token": TOKEN,
        "telegram_chat_id": str(TRADE_CHAT),
        "error_reporting_chat_id": str(ERROR_CHAT),
        "telegram_allowed_users": (KIM, LEE),
        "notify_language": "en",
    }
    return Settings(_env_file=None, **(values | changes))


@asynccontextmanager
async def running(room: Room, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_bot(room.settings.model_copy(update=changes), stop=stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


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


async def test_a_long_answer_is_cut_to_what_telegram_takes(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def long(*_: object) -> str:
        return "🔥한글 " * 5000

    monkeypatch.setattr("operate.show_orders", long)
    room.write("/orders")
    async with running(room):
        assert (await room.says("🔥")).endswith("…")


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


async def test_an_update_that_cannot_be_read_holds_nobody_up(room: Room) -> None:
    room.sandbox.telegram._updates.add("message", {"text": "neither a chat nor a date"})
    room.write("/help")
    async with running(room):
        await room.says("Commands")
        await room.outcomes(("help", "done"))


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
