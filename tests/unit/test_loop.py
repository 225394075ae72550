from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.trace import TracerProvider

from telemetry.instruments import loop_stalled
from workers import loop as module
from workers.loop import DeadlineExceeded, Interrupted, LoopThread, Stopped


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread("test")
    thread.start()
    yield thread
    thread.stop()


def test_all_threads_share_one_loop(loop: LoopThread) -> None:
    async def which() -> int:
        return id(asyncio.get_running_loop())

    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(loop.run(which(), 5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_no_thread_that_computes_keeps_the_loop_from_running_for_longer_than_a_short_turn(loop: LoopThread) -> None:
    assert sys.getswitchinterval() == pytest.approx(module.SWITCH_SECONDS)


def test_context_and_span_reach_the_coroutine(loop: LoopThread) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def look() -> tuple[str, int]:
        return variable.get(), trace.get_current_span().get_span_context().span_id

    variable.set("from the caller")
    with TracerProvider().get_tracer("test").start_as_current_span("outer") as span:
        assert loop.run(look(), 5) == ("from the caller", span.get_span_context().span_id)


def test_a_deadline_cancels_the_coroutine_and_fails_the_task(loop: LoopThread) -> None:
    ended = threading.Event()

    async def sleeper() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"deadline of 0\.2 s"):
        loop.run(sleeper(), 0.2)
    assert ended.is_set()
    assert time.monotonic() - started < 2


def test_a_coroutine_that_ignores_cancellation_does_not_hold_its_thread(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLEANUP_SECONDS", 0.3)

    async def stubborn() -> None:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue

    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="after its deadline"):
        loop.run(stubborn(), 0.1)
    assert time.monotonic() - started < 1.2


def test_a_time_out_inside_the_task_is_not_its_deadline(loop: LoopThread) -> None:
    async def inner() -> None:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError) as caught:
        loop.run(inner(), 5)
    assert not isinstance(caught.value, DeadlineExceeded)


def stalled(process: str) -> list[float]:
    """What an export would say now."""
    observations = loop_stalled._observations(CallbackOptions())
    return [float(seen.value) for seen in observations if (seen.attributes or {})["process"] == process]


def test_a_stuck_loop_is_noticed_and_seen_by_who_asks_while_it_hangs() -> None:
    noticed = threading.Event()
    thread = LoopThread("stuck", on_stuck=lambda _: noticed.set(), stuck_after=1.0)
    thread.start()

    async def block() -> None:
        time.sleep(3)  # noqa: ASYNC251 — that is the fault

    hanging = threading.Thread(target=thread.run, args=(block(), 10))
    hanging.start()
    assert noticed.wait(3)
    [first] = stalled("stuck")
    time.sleep(0.2)
    [later] = stalled("stuck")
    assert 1.0 < first < later
    hanging.join()
    thread.stop()
    assert stalled("stuck") == []


def test_stopping_cancels_what_still_runs() -> None:
    thread = LoopThread("stopping")
    thread.start()
    cancelled = threading.Event()

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def start() -> None:
        task = asyncio.create_task(background())
        await asyncio.sleep(0.01)
        assert not task.done()

    thread.run(start(), 5)
    thread.stop()
    assert cancelled.is_set()


def test_what_somebody_else_cancelled_is_told_as_that_and_where_it_was(loop: LoopThread) -> None:
    async def waits_for_what_is_given_up() -> None:
        given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(given_up.cancel)
        await given_up

    with pytest.raises(Interrupted, match="cancelled by somebody else") as caught:
        loop.run(waits_for_what_is_given_up(), 5)
    assert "waits_for_what_is_given_up" in "".join(traceback.format_exception(caught.value))


def test_a_deadline_after_a_failed_group_of_tasks_is_still_told_as_the_deadline(loop: LoopThread) -> None:
    """In Python 3.11 such a group leaves a cancellation uncounted, and a time-out then lets its own pass."""

    async def refused() -> None:
        await asyncio.sleep(0)
        raise ConnectionError

    async def work() -> None:
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(refused())
        await asyncio.sleep(60)

    with pytest.raises(DeadlineExceeded, match=r"deadline of 0\.2 s"):
        loop.run(work(), 0.2)


def test_a_task_that_the_process_does_not_let_end_says_so() -> None:
    thread = LoopThread("ending")
    thread.start()
    begun, ended = threading.Event(), []

    async def work() -> None:
        begun.set()
        await asyncio.sleep(60)

    def run() -> None:
        try:
            thread.run(work(), 60)
        except Stopped as error:
            ended.append(str(error))

    waiting = threading.Thread(target=run)
    waiting.start()
    assert begun.wait(30)
    thread.stop()
    waiting.join(30)
    assert ended == ["the process stopped while it ran"]
