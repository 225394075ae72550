from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from sandbox.local import LocalRedis
from tasks import lease
from tasks.lease import LeaseLost, symbol_lease


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    with LocalRedis() as running:
        yield running


@pytest.fixture
async def redis(server: LocalRedis) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(server.url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


async def test_two_runs_of_a_symbol_never_overlap(redis: Redis) -> None:
    inside = 0
    most = 0

    async def run() -> None:
        nonlocal inside, most
        async with symbol_lease(redis, "upbit", "KRW-BTC") as held:
            assert held
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.05)
            inside -= 1

    await asyncio.gather(*(run() for _ in range(5)))
    assert most == 1


async def test_other_symbols_are_not_held_up(redis: Redis) -> None:
    async with symbol_lease(redis, "upbit", "KRW-BTC") as first, symbol_lease(redis, "upbit", "KRW-ETH") as second:
        assert first
        assert second


async def test_a_second_run_gives_up_after_a_while(redis: Redis) -> None:
    async with symbol_lease(redis, "kis", "005930"), symbol_lease(redis, "kis", "005930", wait=0.5) as held:
        assert not held


async def test_the_lease_of_a_killed_worker_ends_by_itself(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    await redis.set("autotrader:lease:upbit:KRW-BTC", "a killed worker's token", px=500)
    async with symbol_lease(redis, "upbit", "KRW-BTC") as held:
        assert held


async def test_a_holder_that_lost_its_lease_is_stopped(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)

    async def run() -> None:
        async with symbol_lease(redis, "upbit", "KRW-BTC"):
            await redis.set("autotrader:lease:upbit:KRW-BTC", "someone else")
            await asyncio.sleep(10)

    with pytest.raises(LeaseLost, match="upbit KRW-BTC"):
        await asyncio.create_task(run())
    assert await redis.get("autotrader:lease:upbit:KRW-BTC") == "someone else"


async def test_a_lease_outlives_its_first_term_while_its_holder_works(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    async with symbol_lease(redis, "upbit", "KRW-BTC"):
        await asyncio.sleep(1.5)
        assert await redis.exists("autotrader:lease:upbit:KRW-BTC")
    assert not await redis.exists("autotrader:lease:upbit:KRW-BTC")


async def test_what_follows_a_lost_lease_is_not_taken_for_cancelled(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)

    async def run() -> None:
        async with symbol_lease(redis, "upbit", "KRW-BTC"):
            await redis.delete("autotrader:lease:upbit:KRW-BTC")
            await asyncio.sleep(10)

    with pytest.raises(LeaseLost):
        await run()
    this = asyncio.current_task()
    assert this is not None
    assert this.cancelling() == 0


async def test_a_holder_whose_lease_nobody_renews_any_more_is_stopped(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    # no error of Redis, and none that is known to end
    monkeypatch.setattr(lease, "LEASE_SECONDS", "for ever")
    monkeypatch.setattr(lease, "_acquire", lambda redis, key, token, *_: redis.set(key, token, px=10_000))
    with pytest.raises(LeaseLost):
        async with symbol_lease(redis, "upbit", "KRW-BTC"):
            await asyncio.sleep(10)
