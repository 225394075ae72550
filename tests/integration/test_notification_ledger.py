from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis.asyncio import Redis

from notifications import ledger as ledger_module
from notifications.alert import Alert, Claim
from notifications.ledger import Idle, Ledger, Recorded
from notifications.message import Chat, Message, Priority
from notifications.recorder import HookRecorder
from notifications.reporter import ErrorReporter
from notifications.spool import Spool, read
from sandbox.local import LocalRedis
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WINDOW = 0.3
BOTH = (Chat.TRADE, Chat.ERROR)


@pytest.fixture(autouse=True)
def own_spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A spool of each test's own, for this process and those it starts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "autotrader" / "spool"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    with LocalRedis() as redis:
        yield redis


@pytest.fixture
async def ledger(server: LocalRedis) -> AsyncIterator[Ledger]:
    client = Redis.from_url(server.url)
    await client.flushall()
    yield Ledger(client)
    await client.aclose()


def alert(fingerprint: str = "f", **changes: object) -> Alert:
    priority = changes.pop("priority", Priority.HIGH)
    chat = changes.pop("chat", Chat.ERROR)
    message = Message(f"text of {fingerprint}", (), priority, chat)  # type: ignore[arg-type]
    made = Alert(fingerprint, "error", message, datetime.now(UTC), window_seconds=WINDOW)
    return replace(made, **changes)  # type: ignore[arg-type]


async def claimed(ledger: Ledger, **options: object) -> Claim:
    claim = await ledger.claim(BOTH, **options)  # type: ignore[arg-type]
    assert isinstance(claim, Claim)
    return claim


async def nothing_due(ledger: Ledger) -> float:
    idle = await ledger.claim(BOTH)
    assert isinstance(idle, Idle)
    return idle.seconds


async def test_every_occurrence_is_counted_and_one_alert_is_due(ledger: Ledger) -> None:
    assert [await ledger.record(alert()) for _ in range(5)] == [Recorded.NEW, *[Recorded.REPEATED] * 4]
    claim = await claimed(ledger)
    assert (claim.fingerprint, claim.occurrences, claim.attempts, claim.message_id) == ("f", 5, 1, None)
    assert await nothing_due(ledger) <= ledger_module.LEASE_SECONDS


async def test_repeats_in_the_window_become_one_edit_after_it(ledger: Ledger) -> None:
    await ledger.record(alert())
    assert await ledger.ack(await claimed(ledger), 77)
    for _ in range(9):
        assert await ledger.record(alert()) is Recorded.REPEATED
    assert 0 < await nothing_due(ledger) <= WINDOW + 0.01
    await asyncio.sleep(WINDOW + 0.02)
    edit = await claimed(ledger)
    assert (edit.message_id, edit.occurrences) == (77, 10)
    assert await ledger.ack(edit, 77)
    assert await ledger.record(alert()) is Recorded.NEW


async def test_the_window_starts_at_delivery_not_at_recording(ledger: Ledger) -> None:
    await ledger.record(alert())
    await asyncio.sleep(WINDOW + 0.05)
    assert await ledger.record(alert()) is Recorded.REPEATED
    await ledger.ack(await claimed(ledger), 1)
    assert await ledger.record(alert()) is Recorded.REPEATED
    await asyncio.sleep(WINDOW + 0.05)
    assert await ledger.record(alert()) is Recorded.NEW


async def test_what_happens_while_it_is_being_sent_is_not_lost(ledger: Ledger) -> None:
    await ledger.record(alert())
    claim = await claimed(ledger)
    await ledger.record(alert())
    await ledger.ack(claim, 5)
    await asyncio.sleep(WINDOW + 0.02)
    assert (await claimed(ledger)).occurrences == 2


async def test_an_occurrence_after_the_window_is_a_new_alert_even_if_the_edit_waits(ledger: Ledger) -> None:
    await ledger.record(alert())
    await ledger.ack(await claimed(ledger), 5)
    await ledger.record(alert())
    await asyncio.sleep(WINDOW + 0.02)
    assert await ledger.record(alert()) is Recorded.NEW
    counts = {(await claimed(ledger)).occurrences for _ in range(2)}
    assert counts == {2, 1}


async def test_an_event_that_happens_once_is_told_once_and_leaves_little_behind(
    ledger: Ledger, server: LocalRedis
) -> None:
    once = alert("analysis:r1:KRW-BTC", once=True, window_seconds=60)
    assert await ledger.record(once) is Recorded.NEW
    assert await ledger.record(once) is Recorded.REPEATED
    claim = await claimed(ledger)
    assert claim.occurrences == 1
    await ledger.ack(claim, 1)
    assert await ledger.record(once) is Recorded.REPEATED
    assert await nothing_due(ledger) > 1
    async with Redis.from_url(server.url) as client:
        assert [key async for key in client.scan_iter("*rec:*")] == []


async def test_the_most_urgent_goes_first(ledger: Ledger) -> None:
    for name, priority in (
        ("a", Priority.NORMAL),
        ("b", Priority.HIGH),
        ("c", Priority.CRITICAL),
        ("d", Priority.HIGH),
    ):
        await ledger.record(alert(name, priority=priority))
        await asyncio.sleep(0.002)
    assert [(await claimed(ledger)).fingerprint for _ in range(4)] == ["c", "b", "d", "a"]


async def test_only_critical_ones_are_given_when_asked_so(ledger: Ledger) -> None:
    await ledger.record(alert("a"))
    assert isinstance(await ledger.claim(BOTH, lowest=Priority.CRITICAL), Idle)
    await ledger.record(alert("a", priority=Priority.CRITICAL))
    assert (await claimed(ledger, lowest=Priority.CRITICAL)).occurrences == 2


async def test_a_chat_is_served_by_whoever_asks_for_it(ledger: Ledger) -> None:
    await ledger.record(alert("a", chat=Chat.ERROR))
    assert isinstance(await ledger.claim([Chat.TRADE]), Idle)
    assert isinstance(await ledger.claim([Chat.ERROR]), Claim)


async def test_a_lease_that_ends_is_given_out_again_and_the_late_sender_is_fenced(ledger: Ledger) -> None:
    await ledger.record(alert())
    dead_sender = await claimed(ledger, lease_seconds=0.05)
    assert await nothing_due(ledger) <= 0.05
    await asyncio.sleep(0.06)
    heir = await claimed(ledger)
    assert (heir.id, heir.attempts) == (dead_sender.id, 2)
    assert not await ledger.ack(dead_sender, 1)
    assert await ledger.nack(dead_sender, 0)
    assert await ledger.ack(heir, 2)


async def test_a_late_acknowledgement_counts_while_nobody_else_claimed(ledger: Ledger) -> None:
    await ledger.record(alert())
    claim = await claimed(ledger, lease_seconds=0.02)
    await asyncio.sleep(0.03)
    assert await nothing_due_in(ledger, [Chat.TRADE])
    assert await ledger.ack(claim, 1)
    assert isinstance(await ledger.claim(BOTH), Idle)


async def nothing_due_in(ledger: Ledger, chats: list[Chat]) -> bool:
    return isinstance(await ledger.claim(chats), Idle)


async def test_an_alert_that_kills_its_sender_is_dead_in_the_end_and_a_new_one_can_come(ledger: Ledger) -> None:
    await ledger.record(alert())
    for _ in range(3):
        await claimed(ledger, lease_seconds=0.01, max_attempts=3)
        await asyncio.sleep(0.02)
    assert isinstance(await ledger.claim(BOTH, max_attempts=3), Idle)
    assert len(await ledger.dead()) == 1
    assert await ledger.record(alert()) is Recorded.NEW


async def test_refusals_spend_attempts_until_the_alert_is_dead(ledger: Ledger) -> None:
    await ledger.record(alert())
    assert [await ledger.nack(await claimed(ledger), 0, max_attempts=3) for _ in range(3)] == [True, True, False]
    assert await ledger.dead() == ["f#1"]
    assert isinstance(await ledger.claim(BOTH), Idle)


async def test_a_pause_of_the_bot_holds_everything_and_spends_no_attempt(ledger: Ledger) -> None:
    for name in "ab":
        await ledger.record(alert(name))
    for _ in range(10):
        await ledger.nack(await claimed(ledger), 0.03, refund=True, pause_bot=True)
        assert 0 < await nothing_due(ledger) <= 0.03
        await asyncio.sleep(0.04)
    assert {(await claimed(ledger)).attempts for _ in range(2)} == {1}


async def test_a_pause_of_a_chat_leaves_the_other_alone(ledger: Ledger) -> None:
    await ledger.record(alert("e", chat=Chat.ERROR))
    await ledger.nack(await claimed(ledger), 5, refund=True, pause=Chat.ERROR)
    await ledger.record(alert("critical", chat=Chat.ERROR, priority=Priority.CRITICAL))
    await ledger.record(alert("t", chat=Chat.TRADE, priority=Priority.NORMAL))
    assert (await claimed(ledger)).fingerprint == "t"
    assert isinstance(await ledger.claim(BOTH), Idle)


async def test_a_new_alert_wakes_who_waits(ledger: Ledger) -> None:
    waiting = asyncio.create_task(ledger.wait_for_wake(5))
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    await ledger.record(alert())
    assert await waiting
    assert time.perf_counter() - started < 0.2
    assert not await ledger.wait_for_wake(0.05)


async def test_the_depth_is_what_waits_now(ledger: Ledger) -> None:
    for name in "abc":
        await ledger.record(alert(name, window_seconds=60))
    assert await ledger.depth() == 3
    await ledger.ack(await claimed(ledger), 1)
    await claimed(ledger)
    await ledger.record(alert("a", window_seconds=60))
    assert await ledger.depth() == 2


async def test_senders_killed_at_any_step_lose_no_alert(ledger: Ledger) -> None:
    names = {f"n{number}" for number in range(40)}
    delivered: set[str] = set()

    async def sender(number: int) -> None:
        steps = number
        while delivered != names:
            claim = await ledger.claim(BOTH, lease_seconds=0.02, max_attempts=1000)
            steps += 1
            if isinstance(claim, Idle):
                await asyncio.sleep(0.005)
            elif steps % 3 == 0:
                continue  # died before it sent
            else:
                delivered.add(claim.fingerprint)
                if steps % 5:
                    await ledger.ack(claim, steps)

    async def recorder() -> None:
        for name in sorted(names):
            await ledger.record(alert(name, window_seconds=60))

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(recorder())
        for number in range(4):
            group.create_task(sender(number))
    assert delivered == names


RECORD_MANY = """
import sys
from datetime import UTC, datetime
from notifications.alert import Alert
from notifications.message import Chat, Message, Priority
from notifications.recorder import HookRecorder
recorder = HookRecorder(sys.argv[1])
message = Message("text", (), Priority.HIGH, Chat.ERROR)
for _ in range(500):
    assert recorder.record(Alert("same", "error", message, datetime.now(UTC), window_seconds=60)) != "lost"
"""


async def test_processes_that_record_at_once_are_counted_exactly(ledger: Ledger, server: LocalRedis) -> None:
    arguments = ("-c", RECORD_MANY, server.url)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment, cwd=ROOT) for _ in range(4)
    ]
    assert await asyncio.gather(*(process.wait() for process in processes)) == [0] * 4
    assert (await claimed(ledger)).occurrences == 2000
    assert isinstance(await ledger.claim(BOTH), Idle)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """What `autotrader.alerts.recorded` says by result, filled in at the end."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    counter = provider.get_meter("test").create_counter("autotrader.alerts.recorded")
    monkeypatch.setattr(ledger_module, "alerts_recorded", counter)
    results: dict[str, int] = {}
    yield results
    data = reader.get_metrics_data()
    for point in data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points if data else ():
        name = str(point.attributes["result"])
        results[name] = results.get(name, 0) + point.value  # type: ignore[union-attr, operator]
    provider.shutdown()


def settings(url: str, **changes: object) -> Settings:
    return Settings(_env_file=None, redis_url=url, telegram_token="1:abcdefghij", telegram_chat_id="1", **changes)  # type: ignore[arg-type]


def spooled(directory: Path) -> int:
    """How many occurrences are on disk."""
    return sum(len(found.ids) for path in directory.glob("*.jsonl") for found in read(path))


def test_the_hook_spools_at_once_with_redis_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with counted(monkeypatch) as results:
        reporter = ErrorReporter(settings("redis://127.0.0.1:1/0", alert_spool_dir=str(tmp_path)))
        started = time.perf_counter()
        reporter.report(ValueError("token=abcdef boom"), task="t", symbol="KRW-BTC")
        assert time.perf_counter() - started < 0.5
    assert results["spooled"] == 1
    assert spooled(tmp_path) == 1
    kept = next(tmp_path.glob("*.jsonl")).read_text()
    assert "KRW-BTC" in kept
    assert "abcdef" not in kept + caplog.text


def test_an_alert_is_lost_only_if_the_disk_fails_too_and_then_the_log_has_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    no_directory = tmp_path / "file"
    no_directory.write_text("")
    with counted(monkeypatch) as results:
        reporter = ErrorReporter(settings("redis://127.0.0.1:1/0", alert_spool_dir=str(no_directory)))
        reporter.report(ValueError("token=abcdef boom"), task="t", symbol="KRW-BTC")
    assert results["lost"] == 1
    assert "alert lost" in caplog.text
    assert "KRW-BTC" in caplog.text
    assert "abcdef" not in caplog.text


def test_the_hook_never_raises_and_is_fast_with_redis_hanging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with LocalRedis() as redis, counted(monkeypatch) as results:
        reporter = ErrorReporter(settings(redis.url, alert_spool_dir=str(tmp_path)))
        reporter.report(ValueError("first"))
        assert redis.pid
        os.kill(redis.pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                started = time.perf_counter()
                reporter.report(ValueError("second"))
                assert time.perf_counter() - started < 0.5
        finally:
            os.kill(redis.pid, signal.SIGCONT)
    assert results["spooled"] == 2


def test_the_hook_records_again_after_redis_was_restarted(tmp_path: Path) -> None:
    with LocalRedis() as redis:
        recorder = HookRecorder(redis.url, spool=Spool(tmp_path))
        assert recorder.record(alert()) is Recorded.NEW
        redis.stop()
        assert recorder.record(alert()) is Recorded.SPOOLED
        redis.start()
        assert recorder.record(alert()) is Recorded.NEW
        redis.stop()
        redis.start()
        assert recorder.record(alert()) is Recorded.NEW
        recorder.close()


async def test_the_async_recorder_does_not_raise_with_redis_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with counted(monkeypatch) as results:
        async with Redis.from_url("redis://127.0.0.1:1/0") as client:
            assert await Ledger(client).record(alert()) is Recorded.LOST
            assert await Ledger(client, spool=Spool(tmp_path)).record(alert()) is Recorded.SPOOLED
    assert results == {"lost": 1, "spooled": 1}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_an_error_that_cannot_be_printed_is_reported_all_the_same(ledger: Ledger, server: LocalRedis) -> None:
    ErrorReporter(settings(server.url)).report(Unprintable())
    assert "Unprintable" in (await claimed(ledger)).payload


async def test_another_symbol_is_another_alert_and_another_number_is_not(ledger: Ledger, server: LocalRedis) -> None:
    reporter = ErrorReporter(settings(server.url))
    for symbol, seconds in (("KRW-BTC", 10.0), ("KRW-BTC", 11.5), ("KRW-ETH", 10.0)):
        reporter.report(TimeoutError(f"no answer after {seconds} s"), task="t", market="upbit", symbol=symbol)
    claims = [await claimed(ledger) for _ in range(2)]
    assert sorted(claim.occurrences for claim in claims) == [1, 2]


async def test_nothing_is_recorded_when_telegram_is_off(ledger: Ledger, server: LocalRedis) -> None:
    ErrorReporter(settings(server.url, telegram_enabled=False)).report(ValueError("x"))
    assert await ledger.depth() == 0
