"""The list of what was really sent: whole, clean, bounded, and never in the way of a delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from notifying import TOKEN, made_settings, running, until_it
from redis.asyncio import Redis

from notifications import ledger as ledgers
from notifications.alert import Alert, Claim, read_payload
from notifications.ledger import PREFIX, SENT, SENT_WHAT, Ledger
from notifications.message import Chat, Message, Priority
from notifications.sent import Sent, entry, sent
from notifications.trades import TradeNotifier
from operate import CannotAnswer, show_sent_alerts
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from trading.state import State, TradingState

pytestmark = pytest.mark.usefixtures("own_spool")


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    with LocalRedis() as redis:
        yield redis


@pytest.fixture
async def redis(server: LocalRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url, decode_responses=True)
    await client.flushall()
    yield client
    await client.aclose()


def alert(name: str, *, once: bool = False, chat: Chat = Chat.ERROR, priority: Priority = Priority.HIGH) -> Alert:
    message = Message(f"{name}\nmore of it", (), priority, chat)
    return Alert(f"fp-{name}", "error", message, datetime.now(UTC), window_seconds=60, once=once)


async def deliver(ledger: Ledger, told: Alert, how: str = "sent") -> bool:
    """What a notifier does with an alert that Telegram took."""
    await ledger.record(told)
    claim = await ledger.claim(list(Chat))
    assert isinstance(claim, Claim)
    return await ledger.ack(claim, 1, "", entry(claim, read_payload(claim.payload), how, ()))


async def listed(redis: Redis) -> list[Sent]:
    return (await sent(redis, 0, 100))[0]


async def test_what_the_chats_have_is_listed_without_secrets_and_with_its_count(
    redis: Redis, server: LocalRedis, sandbox: Sandbox
) -> None:
    settings = made_settings(server.url, sandbox, notify_language="en", error_duplicate_window=2)
    ledger = Ledger(redis)

    async def count_of_two() -> bool:
        return any(one.occurrences == 2 for one in await listed(redis))

    async def all_told() -> bool:
        return len(await listed(redis)) == 2 and not await ledger.depth()

    async with running(settings):
        await TradeNotifier(redis, "en").trading_state_changed(
            TradingState(State.HALTED, "not critical", None), by="t", at=datetime.now(UTC)
        )
        await ledger.record(alert("a fall", once=True, chat=Chat.TRADE, priority=Priority.CRITICAL))
        message = Message(f"no {TOKEN} here\nx", (), Priority.HIGH, Chat.ERROR)
        error = Alert("f" * 64, "error", message, datetime.now(UTC), window_seconds=1)
        await ledger.record(error)
        await until_it(all_told)
        first = next(one for one in await listed(redis) if one.chat == "error")
        await ledger.record(error)
        await until_it(count_of_two)
    newest, oldest = sorted(await listed(redis), key=lambda one: one.chat)
    assert (oldest.line, oldest.chat, oldest.occurrences, oldest.how) == ("a fall", "trade", 1, "sent")
    assert (newest.kind, newest.fingerprint, newest.occurrences, newest.how) == ("error", "f" * 64, 2, "edited")
    assert newest.at == first.at
    assert TOKEN not in str(await redis.hgetall(PREFIX + SENT_WHAT))
    assert newest.line.startswith("no ")
    told = await show_sent_alerts(settings, 20, 0)
    assert f"error ×2 {'f' * 16}" in told
    assert told.endswith("1 to 2 of 2")
    assert (await show_sent_alerts(settings, 1, 1)).endswith("2 to 2 of 2")
    assert await show_sent_alerts(settings, 20, 2) == "no alert was sent here"


async def test_the_oldest_make_way_and_pages_begin_with_the_newest(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "SENT_KEPT", 5)
    for number in range(8):
        assert await deliver(Ledger(redis), alert(f"number {number}", once=number % 2 == 0))
    found, total = await sent(redis, 0, 3)
    assert total == 5
    assert [one.line for one in found + (await sent(redis, 3, 3))[0]] == [f"number {n}" for n in (7, 6, 5, 4, 3)]
    assert await redis.hlen(PREFIX + SENT_WHAT) == 5


@pytest.mark.parametrize("how", ["off", "kept"])
async def test_what_no_chat_has_is_not_listed(redis: Redis, how: str) -> None:
    assert await deliver(Ledger(redis), alert("unsent"), how)
    assert await sent(redis, 0, 10) == ([], 0)


@pytest.mark.parametrize("broken", [SENT, SENT_WHAT])
async def test_a_list_that_is_broken_stops_no_delivery(redis: Redis, broken: str) -> None:
    await redis.set(PREFIX + broken, "no list")
    ledger = Ledger(redis)
    assert await deliver(ledger, alert("told all the same"))
    assert await ledger.depth() == 0
    assert await redis.zcard(PREFIX + "inflight") == 0
    # within the window: counted, and not told again
    await ledger.record(alert("told all the same"))
    assert await ledger.depth() == 0


async def test_where_redis_is_away_the_question_is_refused_in_one_line(server: LocalRedis, sandbox: Sandbox) -> None:
    settings = made_settings("redis://127.0.0.1:1/0", sandbox, notify_language="en")
    with pytest.raises(CannotAnswer, match=r"Redis at 127\.0\.0\.1:1"):
        await show_sent_alerts(settings, 20, 0)
