"""What a worker looks at beside its tasks: what it depends on, when its keys end, whose clock is off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from os import kill
from signal import SIGCONT, SIGSTOP
from typing import Any

import aiohttp
import pytest
from opentelemetry.metrics import CallbackOptions

from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from storage.redis import open_redis
from telemetry import dependencies
from telemetry.instruments import Gauge, clock_offset, credential_expiry, dependency_up
from workers import watches
from workers.clock import ClockWatch
from workers.http import VenueHttp, open_session
from workers.kis.auth import SharedToken

KEY, SECRET = "access-key-of-the-test", "secret-key-of-the-test-0123456789abcdef"


@pytest.fixture
def redis_server() -> Iterator[LocalRedis]:
    with LocalRedis() as server:
        yield server


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(5.0)
    yield http
    await http.close()


@pytest.fixture(autouse=True)
def _unset() -> None:
    for gauge in (clock_offset, credential_expiry, dependency_up):
        gauge.forget()


def values(gauge: Gauge, attribute: str) -> dict[str, float]:
    """By one of its attributes, what an export would say now."""
    return {str((seen.attributes or {})[attribute]): seen.value for seen in gauge._observations(CallbackOptions())}


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_redis_that_hangs_is_down_within_seconds_and_postgresql_stays_up(
    redis_server: LocalRedis, database_url: str, http: VenueHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(dependencies, "TIMEOUT_SECONDS", 0.5)
    stop = asyncio.Event()
    own = settings(redis_url=redis_server.url, database_url=database_url)
    [watch] = watches.of(own, "worker-test", ["upbit"], http, stop)
    watching = asyncio.create_task(watch)
    await until(lambda: values(dependency_up, "dependency") == {"redis": 1, "postgresql": 1})
    assert redis_server.pid is not None
    kill(redis_server.pid, SIGSTOP)
    try:
        await until(lambda: values(dependency_up, "dependency") == {"redis": 0, "postgresql": 1})
    finally:
        kill(redis_server.pid, SIGCONT)
    await until(lambda: values(dependency_up, "dependency") == {"redis": 1, "postgresql": 1})
    stop.set()
    await asyncio.wait_for(watching, 10)
    assert values(dependency_up, "process") == {"worker-test": 1}


async def test_a_database_that_is_not_there_is_down(http: VenueHttp, redis_server: LocalRedis) -> None:
    stop = asyncio.Event()
    nowhere = "postgresql+asyncpg://autotrader@127.0.0.1:1/autotrader"
    [watch] = watches.of(settings(redis_url=redis_server.url, database_url=nowhere), "worker-test", [], http, stop)
    watching = asyncio.create_task(watch)
    await until(lambda: values(dependency_up, "dependency") == {"redis": 1, "postgresql": 0})
    stop.set()
    await asyncio.wait_for(watching, 10)


async def test_the_end_of_upbits_key_is_asked_for_where_orders_are_live(
    sandbox: Sandbox, http: VenueHttp, redis_server: LocalRedis
) -> None:
    ends = datetime.now(UTC) + timedelta(days=5)
    async with aiohttp.ClientSession(sandbox.url) as control:
        account = {"access_key": KEY, "secret_key": SECRET, "balances": {}, "expires_at": ends.isoformat()}
        assert (await control.post("/control/upbit/accounts", json=account)).status == 201
    live = settings(
        trading_mode="live",
        upbit_access_key=KEY,
        upbit_secret_key=SECRET,
        upbit_base_url=f"{sandbox.url}/upbit",
        redis_url=redis_server.url,
    )
    stop = asyncio.Event()
    dependencies_watch, key_watch = watches.of(live, "worker-upbit", ["upbit"], http, stop)
    dependencies_watch.close()
    watching = asyncio.create_task(key_watch)
    await until(lambda: bool(values(credential_expiry, "service")))
    assert values(credential_expiry, "service")["upbit"] == pytest.approx(ends.timestamp(), abs=1)
    stop.set()
    await asyncio.wait_for(watching, 5)
    # neither another market's worker nor paper trading asks with the key
    for own, served in ((live, ["kis"]), (settings(upbit_access_key=KEY, upbit_secret_key=SECRET), ["upbit"])):
        [only] = watches.of(own, "worker", served, http, stop)
        only.close()


async def test_every_process_that_uses_a_token_says_when_it_ends(
    sandbox: Sandbox, http: VenueHttp, redis_server: LocalRedis
) -> None:
    redis = open_redis(redis_server.url)
    base = f"{sandbox.url}/kis"
    await SharedToken(http, redis, base, "key-of-the-test", "secret-of-the-test").token()
    issued = values(credential_expiry, "service")["kis"]
    assert time.time() + 3_600 < issued
    credential_expiry.forget()
    # another process finds it in Redis
    await SharedToken(http, redis, base, "key-of-the-test", "secret-of-the-test").token()
    assert values(credential_expiry, "service")["kis"] == pytest.approx(issued, abs=3)
    await redis.aclose()


@pytest.mark.parametrize("ahead", [-4, 4])
def test_the_offset_is_ours_less_the_venues(ahead: int) -> None:
    clock, now = ClockWatch(), datetime.now(UTC).replace(microsecond=0)
    for second in range(3):
        at = now + timedelta(seconds=second)
        headers = {"Date": format_datetime(at - timedelta(seconds=ahead), usegmt=True)}
        clock.hear("upbit", headers, at, at + timedelta(milliseconds=20))
    [offset] = values(clock_offset, "service").values()
    assert abs(offset - ahead) <= 1
    assert (offset > 0) == (ahead > 0)
