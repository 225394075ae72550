"""Floods, chats that cannot be used, payloads that cannot be sent: everything is told somewhere, or kept."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import notifying
import pytest
from notifying import ERROR_CHAT, TRADE_CHAT, made_settings, texts, waiting
from redis.asyncio import Redis

from notifications.alert import Alert, Claim, Digest
from notifications.dead import DeadLetters
from notifications.ledger import PREFIX, Idle, Ledger
from notifications.message import Chat, Message, Priority
from notifications.mutes import Mutes
from notifications.pace import Pace
from operate import show_dead_alerts
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from storage.dead_letters import mark_seen, newest, unseen

BOTH = (Chat.TRADE, Chat.ERROR)
NARROW = Pace(per_chat=5, burst=2, overall=100, fold_above=10)
running = partial(notifying.running, stops_within=15, pace=NARROW)
until = waiting(15)


@pytest.fixture
def settings(redis: Redis, redis_server: LocalRedis, sandbox: Sandbox, tmp_path: Path) -> Settings:
    return made_settings(redis_server.url, sandbox, alert_spool_dir=str(tmp_path / "spool"))


async def settled(ledger: Ledger, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while await ledger.depth():
        assert time.monotonic() < deadline, "something is still to be sent"
        await asyncio.sleep(0.01)


def alert(name: str, chat: Chat = Chat.ERROR, priority: Priority = Priority.HIGH, **changes: object) -> Alert:
    message = Message(f"text of {name}", (), priority, chat)
    made = Alert(name, "error", message, datetime.now(UTC), window_seconds=60, summary=f"line of {name}")
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_a_flood_of_different_errors_is_a_few_messages_that_count_all_of_it(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    ledger = Ledger(redis)
    for number in range(60):
        for _ in range(1 + number % 3):
            await ledger.record(alert(f"f{number}"))
    async with running(settings):
        await until(lambda: texts(sandbox, ERROR_CHAT))
        while await ledger.depth():  # noqa: ASYNC110 - it is Redis that knows
            await asyncio.sleep(0.05)
    told = texts(sandbox, ERROR_CHAT)
    assert len(told) == 1
    assert "오류 모음: 60종 120건" in told[0]
    assert "×3 line of f2\n" in told[0]
    assert "그 밖에 35종 50건" in told[0]


async def test_what_a_mute_held_back_is_titled_by_what_it_is(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    ledger, mutes = Ledger(redis), Mutes(redis)
    await mutes.set("all", 3600)
    for name, kind, chat in (
        ("buy", "order_filled", Chat.TRADE),
        ("sell", "exit_ended", Chat.TRADE),
        ("refused", "error", Chat.ERROR),
        ("away", "error", Chat.ERROR),
    ):
        await ledger.record(alert(name, chat, kind=kind, once=True))
    assert isinstance(await ledger.claim(BOTH), Idle)
    await mutes.set("all", 0)
    async with running(settings):
        await until(lambda: texts(sandbox, TRADE_CHAT) and texts(sandbox, ERROR_CHAT))
    [trades], [errors] = texts(sandbox, TRADE_CHAT), texts(sandbox, ERROR_CHAT)
    assert trades.startswith("🗂 거래 알림 모음: 2종 2건\n")
    assert "×1 line of buy" in trades
    assert errors.startswith("🗂 오류 모음: 2종 2건\n")


async def test_what_is_critical_and_what_happens_once_is_no_line_of_a_digest(redis: Redis) -> None:
    ledger = Ledger(redis)
    for number in range(20):
        await ledger.record(alert(f"f{number}"))
    await ledger.record(alert("fill", once=True))
    await ledger.record(alert("critical", priority=Priority.CRITICAL))
    first = await ledger.claim(BOTH, fold_above=10)
    assert isinstance(first, Claim)
    assert first.fingerprint == "critical"
    digest = await ledger.claim(BOTH, fold_above=10)
    assert isinstance(digest, Digest)
    assert {claim.fingerprint for claim in digest.claims} == {f"f{number}" for number in range(20)}
    last = await ledger.claim(BOTH, fold_above=10)
    assert isinstance(last, Claim)
    assert last.fingerprint == "fill"


async def test_what_happens_again_after_a_digest_is_told_by_itself_with_its_whole_count(redis: Redis) -> None:
    ledger = Ledger(redis)
    for number in range(12):
        await ledger.record(alert(f"f{number}", window_seconds=0.2))
    digest = await ledger.claim(BOTH, fold_above=10)
    assert isinstance(digest, Digest)
    for claim in digest.claims:
        assert await ledger.ack(claim, None)
    for _ in range(4):
        await ledger.record(alert("f3", window_seconds=0.2))
    await asyncio.sleep(0.3)
    again = await ledger.claim(BOTH, fold_above=10)
    assert isinstance(again, Claim)
    assert (again.fingerprint, again.occurrences, again.shown, again.message_id) == ("f3", 5, 1, None)


async def test_a_digest_that_kills_its_sender_is_tried_one_alert_at_a_time(redis: Redis) -> None:
    ledger = Ledger(redis)
    for number in range(12):
        await ledger.record(alert(f"f{number}"))
    assert isinstance(await ledger.claim(BOTH, fold_above=10, lease_seconds=0.01), Digest)
    await asyncio.sleep(0.05)
    assert isinstance(await ledger.claim(BOTH, fold_above=10), Claim)


async def test_a_critical_alert_arrives_within_a_second_of_a_flood(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    ledger = Ledger(redis)
    async with running(settings, pace=Pace()):
        for number in range(300):
            await ledger.record(alert(f"f{number}"))
        started = time.monotonic()
        await ledger.record(alert("urgent", priority=Priority.CRITICAL))
        await until(lambda: "text of urgent" in texts(sandbox, ERROR_CHAT))
        assert time.monotonic() - started < 1


async def test_errors_go_to_the_other_chat_while_theirs_cannot_be_used(
    settings: Settings, redis: Redis, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifications")
    sandbox.faults.order(
        {"service": "telegram", "kind": "error", "status": 403, "chat_id": str(ERROR_CHAT), "path": "/sendMessage"}
    )
    ledger = Ledger(redis)
    async with running(settings):
        for number in range(3):
            await ledger.record(alert(f"f{number}"))
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 3)
        # Telegram has the last one a moment before the ledger knows it
        await settled(ledger)
    assert all("text of f" in text and "ERROR_REPORTING_CHAT_ID" in text for text in texts(sandbox, TRADE_CHAT))
    refused = [
        one for one in sandbox.requests.listed() if one["path"].endswith("/sendMessage") and one["status"] == 403
    ]
    assert len(refused) == 1, "a chat that refuses is not asked again at once"
    assert sum("cannot be used" in record.getMessage() for record in caplog.records) == 1


async def test_a_count_is_shown_where_the_alert_went(settings: Settings, redis: Redis, sandbox: Sandbox) -> None:
    sandbox.faults.order(
        {
            "service": "telegram",
            "kind": "error",
            "status": 403,
            "path": "/sendMessage",
            "chat_id": str(ERROR_CHAT),
            "count": 1,
        }
    )
    ledger = Ledger(redis)
    async with running(settings):
        await ledger.record(alert("f", window_seconds=0.3))
        await until(lambda: texts(sandbox, TRADE_CHAT))
        await ledger.record(alert("f", window_seconds=0.3))
        await until(lambda: "×2, 마지막 " in texts(sandbox, TRADE_CHAT)[0])
    assert len(sandbox.telegram.messages()) == 1


async def test_only_what_is_critical_leaves_a_trade_chat_that_cannot_be_used(
    settings: Settings, redis: Redis, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.sender.CHAT_RETRY_SECONDS", 2)
    sandbox.faults.order(
        {
            "service": "telegram",
            "kind": "error",
            "status": 403,
            "path": "/sendMessage",
            "chat_id": str(TRADE_CHAT),
            "count": 2,
        }
    )
    ledger = Ledger(redis)
    async with running(settings):
        await ledger.record(alert("fill", Chat.TRADE, once=True))
        while not await redis.exists(PREFIX + "pause:trade"):  # noqa: ASYNC110 - it is Redis that knows
            await asyncio.sleep(0.01)
        await ledger.record(alert("breaker", Chat.TRADE, Priority.CRITICAL, once=True))
        await until(lambda: any("text of breaker" in text for text in texts(sandbox, ERROR_CHAT)))
        assert not texts(sandbox, TRADE_CHAT)
        await until(lambda: texts(sandbox, TRADE_CHAT) == ["text of fill"])


async def dead_one(ledger: Ledger, name: str) -> None:
    await ledger.record(alert(name))
    claim = await ledger.claim(BOTH)
    assert isinstance(claim, Claim)
    assert not await ledger.nack(claim, 0, max_attempts=1, reason="message is too odd, token=abcdefghij")


async def test_what_is_given_up_is_kept_in_the_database_until_it_was_seen(
    settings: Settings, redis: Redis, emptied_database_url: str
) -> None:
    ledger, url = Ledger(redis), emptied_database_url
    for name in ("one", "two"):
        await dead_one(ledger, name)
    assert (await ledger.state()).dead == 2
    mover = DeadLetters(ledger, url, ())
    await mover.look()
    await mover.look()
    assert (await ledger.state()).dead == 0
    assert not await redis.keys(PREFIX + "rec:*")
    letters = await newest(url, 10)
    assert {(letter.fingerprint, letter.kind, letter.attempts, letter.occurrences) for letter in letters} == {
        ("one", "error", 1, 1),
        ("two", "error", 1, 1),
    }
    assert "abcdefghij" not in letters[0].reason
    assert await unseen(url) == 2
    english = settings.model_copy(update={"database_url": url, "notify_language": "en"})
    shown = await show_dead_alerts(english, 10, seen=True)
    assert "line of one" in shown
    assert shown.count("[new]") == 2
    assert await unseen(url) == 0
    assert await mark_seen(url) == 0


async def test_what_is_given_up_stays_in_redis_while_the_database_is_away(redis: Redis) -> None:
    ledger = Ledger(redis)
    await dead_one(ledger, "one")
    await DeadLetters(ledger, "postgresql+asyncpg://nobody@127.0.0.1:1/none", ()).look()
    assert [letter.fingerprint for letter in await ledger.dead_letters()] == ["one"]


async def test_a_payload_that_cannot_be_read_ends_as_a_dead_letter_and_stops_nobody(
    settings: Settings, redis: Redis, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, emptied_database_url: str
) -> None:
    monkeypatch.setattr("notifications.delivery.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("notifications.dead.MOVE_SECONDS", 0.1)
    ledger = Ledger(redis)
    await ledger.record(alert("poison"))
    [record] = await redis.keys(PREFIX + "rec:poison*")
    await redis.hset(record, "p", "{")  # type: ignore[misc]
    await ledger.record(alert("fine"))
    async with running(settings.model_copy(update={"database_url": emptied_database_url})):
        await until(lambda: texts(sandbox, ERROR_CHAT) == ["text of fine"])
        while not await newest(emptied_database_url, 1):  # noqa: ASYNC110 - it is the database that knows
            await asyncio.sleep(0.05)
    [letter] = await newest(emptied_database_url, 10)
    assert (letter.fingerprint, letter.kind, letter.payload, letter.attempts) == ("poison", "unknown", "{", 5)


async def test_the_age_of_the_oldest_is_that_of_what_waits(redis: Redis) -> None:
    ledger = Ledger(redis)
    assert (await ledger.state()).oldest_age == 0
    await ledger.record(alert("a", window_seconds=0.1))
    await asyncio.sleep(0.2)
    assert 0.2 <= (await ledger.state()).oldest_age < 5
    claim = await ledger.claim(BOTH)
    assert isinstance(claim, Claim)
    await ledger.nack(claim, 30, refund=True, pause_bot=True)
    state = await ledger.state()
    assert state.depth == 1, "a pause of the bot makes nothing wait less"
    assert state.oldest_age >= 0.2
