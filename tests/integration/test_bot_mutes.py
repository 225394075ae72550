"""Mutes in the ledger, against a real Redis: nothing is sent, nothing is lost, nothing critical is held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from notifications.alert import Alert, Claim, Digest
from notifications.fingerprint import short
from notifications.ledger import Idle, Ledger
from notifications.message import Chat, Message, Priority
from notifications.mutes import Mutes
from sandbox.local import LocalRedis

BOTH = (Chat.TRADE, Chat.ERROR)
HASH = "0123456789abcdef" * 4


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_server.url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis)


@pytest.fixture
def mutes(redis: Redis) -> Mutes:
    return Mutes(redis)


def alert(fingerprint: str = HASH, priority: Priority = Priority.HIGH, **changes: Any) -> Alert:
    made = Alert(fingerprint, "error", Message(f"of {fingerprint}", (), priority, Chat.ERROR), datetime.now(UTC))
    return replace(made, **changes)


async def given(ledger: Ledger, **options: Any) -> Claim | Digest:
    """What the ledger gives out next."""
    while isinstance(leased := await ledger.claim(BOTH, **options), Idle):
        await ledger.wait_for_wake(min(leased.seconds, 0.5) + 0.001)
    return leased


@pytest.mark.parametrize("name", [short(HASH), "error", "all"])
async def test_a_muted_alert_is_counted_and_told_with_its_count_when_the_mute_ends(
    ledger: Ledger, mutes: Mutes, name: str
) -> None:
    await mutes.set(name, 3600)
    for _ in range(137):
        await ledger.record(alert())
    idle = await ledger.claim(BOTH)
    assert isinstance(idle, Idle)
    assert 3000 < idle.seconds <= 3600
    await mutes.set(name, 0)
    claim = await given(ledger, fold_above=10)
    assert isinstance(claim, Claim)
    assert claim.occurrences == 137


async def test_a_mute_ends_by_itself(ledger: Ledger, mutes: Mutes) -> None:
    await mutes.set("error", 0.3)
    await ledger.record(alert())
    assert isinstance(await ledger.claim(BOTH), Idle)
    assert isinstance(await given(ledger), Claim)
    assert await mutes.in_force() == {}


async def test_what_is_critical_is_never_muted(ledger: Ledger, mutes: Mutes) -> None:
    await mutes.set("all", 3600)
    await ledger.record(alert("c", Priority.CRITICAL))
    assert isinstance(await ledger.claim(BOTH), Claim)


async def test_a_muted_alert_that_becomes_critical_is_told_at_once(ledger: Ledger, mutes: Mutes) -> None:
    await mutes.set("all", 3600)
    await ledger.record(alert())
    assert isinstance(await ledger.claim(BOTH), Idle)
    await ledger.record(alert(priority=Priority.CRITICAL))
    claim = await ledger.claim(BOTH)
    assert isinstance(claim, Claim)
    assert claim.occurrences == 2


async def test_others_go_out_while_one_is_muted(ledger: Ledger, mutes: Mutes) -> None:
    await mutes.set(short(HASH), 3600)
    await ledger.record(alert())
    await ledger.record(alert("another"))
    claim = await ledger.claim(BOTH, fold_above=0)
    assert isinstance(claim, Digest)
    assert [one.fingerprint for one in claim.claims] == ["another"]
    assert isinstance(await ledger.claim(BOTH), Idle)


async def test_what_a_mute_held_back_is_one_message_in_the_end(ledger: Ledger, mutes: Mutes) -> None:
    await mutes.set("order_filled", 3600)
    for number in range(3):
        await ledger.record(alert(f"order:{number}", kind="order_filled", once=True))
    assert isinstance(await ledger.claim(BOTH), Idle)
    await mutes.set("order_filled", 0)
    digest = await given(ledger, fold_above=10)
    assert isinstance(digest, Digest)
    assert sorted(claim.fingerprint for claim in digest.claims) == ["order:0", "order:1", "order:2"]
    for claim in digest.claims:
        assert await ledger.ack(claim, None)
    assert await ledger.depth() == 0


async def test_a_mute_is_made_longer_and_shorter(ledger: Ledger, mutes: Mutes) -> None:
    await ledger.record(alert())
    await mutes.set("error", 0.2)
    await mutes.set("error", 3600)
    [ends] = (await mutes.in_force()).values()
    assert ends - datetime.now(UTC) > timedelta(minutes=50)
    assert isinstance(await ledger.claim(BOTH), Idle)
    await mutes.set("error", 0.2)
    assert isinstance(await given(ledger), Claim)


async def test_a_muted_alert_is_none_that_waits_for_too_long(ledger: Ledger, mutes: Mutes) -> None:
    await mutes.set("all", 3600)
    await ledger.record(alert())
    await ledger.claim(BOTH)
    await asyncio.sleep(0.05)
    state = await ledger.state()
    assert (state.depth, state.oldest_age) == (0, 0)


async def test_the_edit_of_a_message_that_was_sent_before_goes_on(ledger: Ledger, mutes: Mutes) -> None:
    await ledger.record(alert(window_seconds=0.2))
    first = await given(ledger)
    assert isinstance(first, Claim)
    await ledger.ack(first, 7)
    await mutes.set("all", 3600)
    await ledger.record(alert(window_seconds=0.2))
    edit = await given(ledger)
    assert isinstance(edit, Claim)
    assert (edit.message_id, edit.occurrences) == (7, 2)
