"""What a running task tells of itself, in a real result backend: rarely, in order, and never over its end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, states
from redis.asyncio import Redis

from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from storage.redis import open_redis
from tasks import progress
from tasks.progress import BETWEEN_SECONDS, Step, tell, telling

OTHERWISE_TOO_SLOW = 60.0


@pytest.fixture
def celery(redis_server: LocalRedis) -> Iterator[Celery]:
    with Celery("tests", backend=redis_server.url, set_as_current=False) as app:
        app.conf.result_serializer = "json"
        yield app


def task_of(app: Celery, *, ignore_result: bool = False) -> Any:
    """A task as it is while it runs, in a request of its own."""
    request = SimpleNamespace(id=str(uuid.uuid4()), ignore_result=ignore_result, hostname="tests@here")
    return SimpleNamespace(name="tests.work", backend=app.backend, ignore_result=ignore_result, request=request)


def kept(task: Any) -> dict[str, Any]:
    meta: dict[str, Any] = task.backend.get_task_meta(task.request.id, cache=False)
    return meta


async def until(task: Any, step: Step) -> None:
    async with asyncio.timeout(OTHERWISE_TOO_SLOW):
        while True:
            if kept(task)["result"] == {**step.as_dict(), "hostname": "tests@here"}:
                return
            await asyncio.sleep(0.02)


async def until_logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(OTHERWISE_TOO_SLOW):
        while True:
            if words in caplog.text:
                return
            await asyncio.sleep(0.01)


async def test_a_step_is_kept_where_the_result_will_be(celery: Celery) -> None:
    task = task_of(celery)

    async def work() -> str:
        await tell(1, 3, "analysing")
        await until(task, Step(1, 3, "analysing"))
        return "done"

    assert await telling(task, work) == "done"
    assert kept(task)["status"] == "PROGRESS"
    assert kept(task)["result"] == {"percent": 33, "done": 1, "of": 3, "step": "analysing", "hostname": "tests@here"}
    assert 0 < task.backend.client.ttl(task.backend.get_key_for_task(task.request.id)) <= 86_400


@pytest.mark.parametrize("state", [states.SUCCESS, states.FAILURE, states.REVOKED])
async def test_what_has_ended_stays_as_it_ended(celery: Celery, state: str) -> None:
    task, teller = task_of(celery), progress.Teller
    error = None if state == states.SUCCESS else ValueError("it went wrong")
    celery.backend.store_result(task.request.id, error or {"outcome": "hold"}, state)
    before = kept(task)
    # as a worker that was given up on tells, after another one came to the end
    teller(task)._send(Step(2, 3, "trading"))
    assert kept(task)["status"] == state
    assert str(kept(task)["result"]) == str(before["result"])


async def test_whoever_tells_much_is_heard_twice_a_second_and_last_with_the_newest(
    celery: Celery, redis_server: LocalRedis
) -> None:
    task, redis = task_of(celery), open_redis(redis_server.url)
    heard = await listening(redis, task)

    async def work() -> float:
        began = time.monotonic()
        for number in range(1_000):
            await tell(number, 1_000, "replaying")
            await asyncio.sleep(0.0005)
        await tell(999, 1_000, "the last day")
        await until(task, Step(999, 1_000, "the last day"))
        return time.monotonic() - began

    seconds = await telling(task, work)
    messages = await drained(heard)
    await redis.aclose()
    assert 2 <= len(messages) <= 2 + seconds / BETWEEN_SECONDS


async def listening(redis: Redis, task: Any) -> Any:
    heard = redis.pubsub()
    await heard.subscribe(task.backend.get_key_for_task(task.request.id).decode())
    await heard.get_message(timeout=OTHERWISE_TOO_SLOW)
    return heard


async def drained(heard: Any) -> list[Any]:
    messages = []
    while message := await heard.get_message(timeout=0.2):
        messages.append(message)
    await heard.aclose()
    return messages


async def test_tasks_beside_each_other_do_not_tell_for_one_another(celery: Celery) -> None:
    tasks = [task_of(celery) for _ in range(5)]

    async def work(number: int) -> None:
        async with asyncio.TaskGroup() as group:
            # what a task starts beside itself tells for it, too
            group.create_task(tell(number, 5, f"step {number}"))
        await until(tasks[number], Step(number, 5, f"step {number}"))

    await asyncio.gather(*(telling(task, partial(work, number)) for number, task in enumerate(tasks)))


async def test_without_redis_a_step_is_lost_and_the_task_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[dict[str, str]] = []
    counted, loop = asyncio.Event(), asyncio.get_running_loop()

    def add(_: int, attributes: dict[str, str]) -> None:
        lost.append(attributes)
        loop.call_soon_threadsafe(counted.set)

    monkeypatch.setattr(progress, "task_progress_lost", SimpleNamespace(add=add))
    with Celery("tests", backend=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False) as app:
        task = task_of(app)

        async def work() -> str:
            await tell(0, 1, "collecting")
            async with asyncio.timeout(OTHERWISE_TOO_SLOW):
                await counted.wait()
            return "done"

        with caplog.at_level(logging.WARNING, logger=progress.__name__):
            assert await telling(task, work) == "done"
            # the thread that counts says so next, and a task that ends waits only so long for it
            await until_logged(caplog, "could not be told: ConnectionError")
    assert lost == [{"task": "tests.work"}]


async def test_a_task_that_keeps_no_result_keeps_no_step(celery: Celery) -> None:
    task = task_of(celery, ignore_result=True)
    progress.Teller(task)._send(Step(1, 2, "looking"))
    assert kept(task)["status"] == states.PENDING


async def test_a_failure_leaves_as_it_is_and_nothing_is_told_after_it(celery: Celery) -> None:
    task = task_of(celery)

    async def work() -> None:
        await tell(0, 2, "collecting")
        raise ValueError("it went wrong")

    with pytest.raises(ValueError, match="it went wrong"):
        await telling(task, work)
    await asyncio.sleep(2 * progress.FIRST_SECONDS)
    assert kept(task)["status"] == states.PENDING


async def test_outside_a_task_nobody_is_told() -> None:
    await tell(1, 2, "analysing")


@pytest.mark.parametrize(
    ("step", "percent"), [(Step(0, 3, ""), 0), (Step(2, 3, ""), 66), (Step(3, 3, ""), 100), (Step(0, 0, ""), 100)]
)
def test_percents_are_rounded_down(step: Step, percent: int) -> None:
    assert step.percent == percent
