"""Nobody falls silent unheard: the beat watches workers, the notifier the beat, and a service outside the notifier."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from notifying import ERROR_CHAT, TRADE_CHAT, made_settings, texts, until_it, waiting
from redis.asyncio import Redis

from beat.watch import LOOK_SECONDS, WorkerWatch
from notifications import ping
from notifications.ledger import PREFIX, Ledger
from notifications.notifier import run_notifier
from notifications.silence import Silence
from notifications.watch import BeatWatch
from notifications.words import words
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from storage.redis import BEAT_TICK_KEY, HEARTBEAT_KEY
from telemetry.instruments import dependency_up, queue_length

PATIENCE = 1
until = waiting(10)


@pytest.fixture
def settings(redis: Redis, redis_server: LocalRedis, sandbox: Sandbox, tmp_path: Path) -> Settings:
    given = made_settings(redis_server.url, sandbox, alert_spool_dir=str(tmp_path / "spool"), yfinance_symbols=())
    # shorter than an operator may set it
    return given.model_copy(update={"worker_silent_seconds": PATIENCE, "beat_silent_seconds": PATIENCE})


class Ticking:
    """A beat's ticks, as often as the watch asks for them."""

    def __init__(self, settings: Settings) -> None:
        self._watch = WorkerWatch(settings)
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            seconds = await asyncio.to_thread(self._watch.look)
            assert seconds <= LOOK_SECONDS
            await asyncio.sleep(seconds)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def give_sign(redis: Redis, *markets: str) -> None:
    for market in markets:
        await redis.set(HEARTBEAT_KEY.format(market=market), f"{time.time():.3f}")


@pytest.fixture
async def notifier(settings: Settings) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_notifier(settings, stop=stop, queues=["upbit"], announce=True))
    yield stop
    stop.set()
    await asyncio.wait_for(task, 15)


async def test_a_silent_worker_is_told_once_in_time_and_told_when_it_is_back(
    settings: Settings, redis: Redis, sandbox: Sandbox, notifier: asyncio.Event
) -> None:
    def about(market: str) -> list[str]:
        return [text for text in texts(sandbox, ERROR_CHAT) if f"worker {market}" in text]

    await give_sign(redis, "upbit", "kis")
    last = time.monotonic()
    beat = Ticking(settings)
    while not about("upbit"):
        await give_sign(redis, "kis")
        await asyncio.sleep(0.1)
        assert time.monotonic() < last + PATIENCE + 5
    assert about("upbit")[0].startswith("🔴 CRITICAL: worker upbit 응답 없음\n")
    await asyncio.sleep(PATIENCE + 0.5)
    assert len(about("upbit")) == 1
    await beat.stop()
    # a new beat knows what the one before has told
    beat = Ticking(settings)
    await give_sign(redis, "upbit")
    await until(lambda: len(about("upbit")) == 2)
    assert about("upbit")[1].startswith("✅ worker upbit 복구됨\n")
    await beat.stop()
    assert not about("yfinance"), "a market without symbols has no worker to miss"


async def test_a_beat_that_has_just_started_blames_nobody(settings: Settings, redis: Redis) -> None:
    watch = WorkerWatch(settings)
    await redis.set(HEARTBEAT_KEY.format(market="upbit"), f"{time.time() - 3600:.3f}")
    assert 0 < watch.look() <= PATIENCE
    assert not await redis.keys("autotrader:silent:*")
    await asyncio.sleep(PATIENCE + 0.1)
    watch.look()
    assert len(await redis.keys("autotrader:silent:*")) == 2


def test_time_in_which_nothing_could_be_seen_is_no_silence() -> None:
    silence = Silence(60, since=1000)
    assert silence.verdict(last=900, told=None, now=1059) is None
    assert silence.verdict(last=900, told=None, now=1060) == "silent"
    silence.begin_anew(1060)
    assert silence.verdict(last=900, told=None, now=1119) is None
    assert silence.verdict(last=900, told=900, now=1200) is None
    assert silence.verdict(last=1190, told=900, now=1200) == "back"


def test_a_sign_from_the_future_counts_from_when_it_was_first_seen() -> None:
    silence = Silence(60, since=5000)
    # the clock was set back by an hour, and the process has given no sign since
    silence.begin_anew(1400)
    assert silence.verdict(last=4990, told=None, now=1459) is None
    assert silence.verdict(last=4990, told=None, now=1520) == "silent"
    assert silence.verdict(last=4990, told=4990, now=1530) is None
    assert silence.verdict(last=1540, told=4990, now=1541) == "back"
    # another machine's clock may be ahead for ever: its signs come all the same
    for now in range(2000, 2300, 30):
        assert silence.verdict(last=now + 100, told=None, now=now) is None


async def test_a_dead_worker_is_told_of_though_the_clock_was_set_back(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(time=lambda: time.time() + 3600)
    monkeypatch.setattr("beat.watch.time", clock)
    for market in ("upbit", "kis"):
        await redis.set(HEARTBEAT_KEY.format(market=market), f"{clock.time():.3f}")
    watch = WorkerWatch(settings)
    watch.look()
    clock.time = time.time
    watch.look()
    assert not await redis.keys("autotrader:silent:*"), "nothing could be seen until now"
    await asyncio.sleep(PATIENCE + 0.1)
    watch.look()
    assert len(await redis.keys("autotrader:silent:*")) == 2


async def test_a_silence_whose_alert_was_lost_is_told_later(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    # neither Redis takes the alert nor the disk
    (tmp_path / "file").write_text("")
    watch = WorkerWatch(settings.model_copy(update={"alert_spool_dir": str(tmp_path / "file" / "spool")}))
    await redis.set(f"{PREFIX}counted", "no sorted set")
    await asyncio.sleep(PATIENCE + 0.1)
    watch.look()
    assert not await redis.keys("autotrader:silent:*")
    await redis.delete(f"{PREFIX}counted")
    watch.look()
    assert len(await redis.keys("autotrader:silent:*")) == 2
    assert await Ledger(redis).depth() == 2


async def test_a_silent_beat_whose_alert_was_lost_is_told_later(settings: Settings, redis: Redis) -> None:
    ledger = Ledger(redis)
    await redis.set(f"{PREFIX}counted", "no sorted set")
    await redis.set(BEAT_TICK_KEY, f"{time.time() - 3600:.3f}")
    watching = asyncio.create_task(BeatWatch(redis, ledger, words("ko"), PATIENCE).watch())
    try:
        await asyncio.sleep(PATIENCE + 0.5)
        assert not await redis.keys("autotrader:silent:*")
        await redis.delete(f"{PREFIX}counted")
        await until_it(partial(redis.exists, "autotrader:silent:beat"))
    finally:
        watching.cancel()
    assert await ledger.depth() == 1


async def test_a_dead_beat_is_told_of_though_the_clock_was_set_back(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(time=lambda: time.time() + 3600)
    monkeypatch.setattr("notifications.watch.time", clock)
    await redis.set(BEAT_TICK_KEY, f"{clock.time():.3f}")
    watching = asyncio.create_task(BeatWatch(redis, Ledger(redis), words("ko"), PATIENCE).watch())
    try:
        await asyncio.sleep(0)
        clock.time = time.time
        await until_it(partial(redis.exists, "autotrader:silent:beat"))
    finally:
        watching.cancel()


async def test_redis_being_away_makes_no_worker_silent(settings: Settings) -> None:
    with LocalRedis() as own:
        watch = WorkerWatch(settings.model_copy(update={"redis_url": own.url}))
        watch.look()
        own.stop()
        await asyncio.sleep(PATIENCE + 0.2)
        assert watch.look() == LOOK_SECONDS
        own.start()
        assert 0 < watch.look() <= PATIENCE


async def test_a_silent_beat_is_told_once_in_time_and_told_when_it_is_back(
    settings: Settings, redis: Redis, sandbox: Sandbox, notifier: asyncio.Event
) -> None:
    beat = Ticking(settings)
    await asyncio.sleep(PATIENCE + 0.5)
    assert not [text for text in texts(sandbox, ERROR_CHAT) if "beat" in text]
    await beat.stop()
    stopped = time.monotonic()
    await until(lambda: [text for text in texts(sandbox, ERROR_CHAT) if "beat 응답 없음" in text], PATIENCE + 5)
    assert time.monotonic() - stopped < PATIENCE + 5
    await asyncio.sleep(PATIENCE)
    while not [text for text in texts(sandbox, ERROR_CHAT) if "beat 복구됨" in text]:
        await redis.set(BEAT_TICK_KEY, f"{time.time():.3f}")
        await asyncio.sleep(0.1)
        assert time.monotonic() < stopped + 20
    assert sum("beat 응답 없음" in text for text in texts(sandbox, ERROR_CHAT)) == 1


async def test_the_trade_chat_hears_of_start_and_stop(settings: Settings, sandbox: Sandbox) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(run_notifier(settings, stop=stop, announce=True))
    await until(lambda: texts(sandbox, TRADE_CHAT))
    stop.set()
    await asyncio.wait_for(task, 15)
    started, stopped = texts(sandbox, TRADE_CHAT)
    assert started.startswith("🚀 봇 시작\n")
    for line in ("모드: 모의 투자", "시장: upbit, kis"):
        assert line in started.splitlines()
    assert stopped.startswith("⏹️ 봇 종료\n")


async def test_the_notifier_says_that_redis_can_be_used_and_how_long_the_queues_are(
    settings: Settings, redis: Redis, notifier: asyncio.Event
) -> None:
    def value(gauge: Any, attributes: dict[str, str]) -> float | None:
        found = [one.value for one in gauge._observations(None) if one.attributes == attributes]
        return found[0] if found else None

    await redis.lpush("upbit", "{}")  # type: ignore[misc]
    await until(lambda: value(dependency_up, {"process": "notifier", "dependency": "redis"}) == 1)
    await until(lambda: value(queue_length, {"queue": "upbit"}) == 1)


@pytest.fixture
async def outside() -> AsyncIterator[tuple[str, list[int]]]:
    """A service outside: its secret address, and the statuses it is to answer with (200 when there are none left)."""
    asked: list[int] = []
    answers = [500]

    async def answer(_: web.Request) -> web.Response:
        status = answers.pop(0) if answers else 200
        asked.append(status)
        return web.Response(status=status)

    application = web.Application()
    application.router.add_get("/secret-id", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}/secret-id", asked
    await runner.cleanup()


async def test_a_service_outside_is_asked_while_alerts_can_be_told(
    outside: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(ping, "PING_SECONDS", 0.02)
    url, asked = outside
    trouble = [""]
    task = asyncio.create_task(ping.DeadManPing(url, lambda: trouble[0]).watch())
    await until(lambda: len(asked) > 3)
    trouble[0] = "Telegram refuses the token"
    await asyncio.sleep(0.2)
    before = len(asked)
    await asyncio.sleep(0.2)
    assert len(asked) == before, "a notifier that cannot tell is as good as none"
    task.cancel()
    lines = [record.getMessage() for record in caplog.records if record.name == "notifications.ping"]
    assert lines == [
        "the dead-man address is not reached (it answers 500); check DEAD_MAN_PING_URL",
        "the dead-man address is reached again",
        "the dead-man address is not reached (Telegram refuses the token); check DEAD_MAN_PING_URL",
    ]
    assert "secret-id" not in "".join(lines)


async def test_an_address_that_is_none_is_said_once_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ping, "PING_SECONDS", 0.01)
    task = asyncio.create_task(ping.DeadManPing("nonsense-secret", lambda: "").watch())
    await asyncio.sleep(0.3)
    assert not task.done()
    task.cancel()
    assert caplog.text.count("DEAD_MAN_PING_URL") == 1
    assert "nonsense-secret" not in caplog.text
