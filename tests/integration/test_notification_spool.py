"""Alerts while Redis is away: on disk, and in the queue once it is back; each occurrence once, none lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis as redis_client
from redis.asyncio import Redis

from notifications import spool as spool_module
from notifications.alert import Alert, Claim
from notifications.drain import drain
from notifications.ledger import Idle, Ledger, Recorded
from notifications.message import Chat, Message, Priority
from notifications.recorder import HookRecorder, SpoolRecorder
from notifications.spool import Spool, read, spool_directory
from sandbox.local import LocalRedis
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "redis://127.0.0.1:1/0"
BOTH = (Chat.TRADE, Chat.ERROR)


@pytest.fixture
def server() -> Iterator[LocalRedis]:
    with LocalRedis(persist=True) as redis:
        yield redis


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def alert(fingerprint: str = "f", priority: Priority = Priority.HIGH, **changes: object) -> Alert:
    message = Message(f"text of {fingerprint}", (), priority, Chat.ERROR)
    made = Alert(fingerprint, "error", message, datetime.now(UTC), window_seconds=60)
    return replace(made, **changes)  # type: ignore[arg-type]


async def counts(url: str) -> dict[str, int]:
    """Occurrences by fingerprint, as a sender would show them."""
    async with Redis.from_url(url) as client:
        ledger, found = Ledger(client), dict[str, int]()
        while not isinstance(claim := await ledger.claim(BOTH), Idle):
            assert isinstance(claim, Claim)
            found[claim.fingerprint] = found.get(claim.fingerprint, 0) + claim.occurrences
        return found


def spool_some(spool: Spool, *fingerprints: str) -> None:
    recorder = HookRecorder(NOWHERE, spool=spool)
    for fingerprint in fingerprints:
        assert recorder.record(alert(fingerprint)) is Recorded.SPOOLED


async def test_what_was_spooled_is_in_the_queue_once_redis_is_back(spool: Spool, server: LocalRedis) -> None:
    spool_some(spool, "a", "b", "a", "a")
    before = time.time()
    assert spool.waiting() == 4
    await asyncio.sleep(1.1)
    assert drain(spool, SpoolRecorder(server.url)) == 4
    async with Redis.from_url(server.url) as client:
        claim = await Ledger(client).claim(BOTH)
        assert isinstance(claim, Claim)
        assert (claim.fingerprint, claim.occurrences) == ("a", 3)
        assert claim.last.timestamp() <= before, "it tells when it happened, not when it was drained"
    assert not list(spool.directory.iterdir())


async def test_draining_the_same_file_twice_counts_once(spool: Spool, server: LocalRedis) -> None:
    spool_some(spool, *["a"] * 700, "b")
    [path] = spool.take()
    recorder = SpoolRecorder(server.url)
    for _ in range(2):
        for spooled in read(path):
            recorder.record(spooled)
    assert drain(spool, recorder) == 701, "a drain that died before it removed the file begins again"
    assert await counts(server.url) == {"a": 700, "b": 1}


async def test_an_occurrence_that_redis_took_without_answering_counts_once(spool: Spool, server: LocalRedis) -> None:
    recorder = HookRecorder(server.url, spool=spool)
    assert recorder.record(alert()) is Recorded.NEW
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    # it lies in the server's socket now, and on the disk
    assert recorder.record(alert()) is Recorded.SPOOLED
    os.kill(server.pid, signal.SIGCONT)
    drain(spool, SpoolRecorder(server.url))
    await asyncio.sleep(0.3)
    assert await counts(server.url) == {"f": 2}


def test_a_redis_that_hangs_is_waited_for_once_by_a_burst(spool: Spool, server: LocalRedis) -> None:
    recorder = HookRecorder(server.url, spool=spool)
    recorder.record(alert())
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    try:
        started = time.perf_counter()
        results = [recorder.record(alert()) for _ in range(20)]
        assert time.perf_counter() - started < 2
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert results == [Recorded.SPOOLED] * 20


def test_only_its_owner_can_read_the_spool(spool: Spool) -> None:
    spool.directory.mkdir(mode=0o755, parents=True)
    spool_some(spool, "a")
    assert spool.directory.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in spool.directory.iterdir()] == [0o600]


def test_a_link_to_elsewhere_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    spool.directory.symlink_to(elsewhere)
    assert HookRecorder(NOWHERE, spool=spool).record(alert()) is Recorded.LOST
    assert not list(elsewhere.iterdir())


def test_a_full_spool_still_takes_what_is_critical(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = HookRecorder(NOWHERE, spool=spool)
    monkeypatch.setattr(spool_module, "MOST_BYTES", 1000)
    monkeypatch.setattr(spool_module, "MOST_BYTES_CRITICAL", 3000)
    results = [recorder.record(alert(f"f{number}")) for number in range(10)]
    assert results[0] is Recorded.SPOOLED
    assert results[-1] is Recorded.LOST
    assert recorder.record(alert("c", Priority.CRITICAL)) is Recorded.SPOOLED


async def test_a_line_that_the_disk_took_by_half_spoils_no_other(
    spool: Spool, server: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = HookRecorder(NOWHERE, spool=spool)
    recorder.record(alert("a"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    assert recorder.record(alert("b")) is Recorded.LOST
    monkeypatch.undo()
    recorder.record(alert("b"))
    recorder.record(alert("b"))
    assert drain(spool, SpoolRecorder(server.url)) == 3
    assert await counts(server.url) == {"a": 1, "b": 2}


def test_what_is_critical_is_drained_first(spool: Spool) -> None:
    recorder = HookRecorder(NOWHERE, spool=spool)
    recorder.record(alert("a"))
    recorder.record(alert("c", Priority.CRITICAL))
    assert [spooled.arguments[0] for spooled in read(spool.take()[0])] == ["c", "a"]


def test_a_drain_that_redis_interrupts_keeps_the_file(spool: Spool) -> None:
    spool_some(spool, "a")
    with pytest.raises(redis_client.ConnectionError):
        drain(spool, SpoolRecorder(NOWHERE))
    assert spool.waiting() == 1
    spool_some(spool, "b")
    assert spool.waiting() == 2


async def test_threads_and_drains_at_the_same_time_lose_and_double_nothing(spool: Spool, server: LocalRedis) -> None:
    def write(number: int) -> None:
        recorder = HookRecorder(NOWHERE, spool=spool)
        for _ in range(50):
            assert recorder.record(alert(f"f{number % 2}")) is Recorded.SPOOLED

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    drained, recorder = 0, SpoolRecorder(server.url)
    while any(thread.is_alive() for thread in threads):
        drained += drain(spool, recorder)
    assert drained + drain(spool, recorder) == 200
    assert await counts(server.url) == {"f0": 100, "f1": 100}


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from notifications.alert import Alert
from notifications.message import Chat, Message, Priority
from notifications.recorder import HookRecorder
from notifications.spool import Spool
recorder = HookRecorder("redis://127.0.0.1:1/0", spool=Spool(Path(sys.argv[1])))
message = Message("text", (), Priority.HIGH, Chat.ERROR)
while True:
    result = recorder.record(Alert(sys.argv[2], "error", message, datetime.now(UTC), window_seconds=60))
    # told only after it is safe
    sys.stdout.write(f"{result}\\n")
    sys.stdout.flush()
"""


async def test_processes_killed_while_they_spool_lose_nothing_they_have_recorded(
    spool: Spool, server: LocalRedis
) -> None:
    recorder, acknowledged = SpoolRecorder(server.url), dict[str, int]()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number in range(4):
        name = f"writer-{number}"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(spool.directory), name,
            env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE, limit=2**24,
        )  # fmt: skip
        assert process.stdout
        assert await process.stdout.readline() == b"spooled\n"
        await asyncio.sleep(0.05)
        drain(spool, recorder)
        await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        acknowledged[name] = 1 + (await process.stdout.read()).count(b"\n")
        await process.wait()
    drain(spool, recorder)
    found = await counts(server.url)
    # at most the one under way was kept and not told any more
    assert all(0 <= found[name] - told <= 1 for name, told in acknowledged.items())
    assert not list(spool.directory.iterdir())


def test_the_directory_is_the_settings_or_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert spool_directory(Settings(_env_file=None)) == tmp_path / "autotrader" / "spool"
    assert spool_directory(Settings(_env_file=None, alert_spool_dir="/var/spool/x")) == Path("/var/spool/x")
