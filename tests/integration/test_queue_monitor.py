"""The queue monitor beside kombu's real Redis transport."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest
from kombu import Connection, Consumer, Message, Queue
from opentelemetry.metrics import CallbackOptions

from sandbox.local import LocalRedis
from telemetry import queues
from telemetry.instruments import Gauge, queue_length, queue_oldest_age, queue_unacked
from telemetry.queues import QueueMonitor

QUEUES = ("upbit", "upbit.orders")


@pytest.fixture
def redis_server() -> Iterator[LocalRedis]:
    with LocalRedis() as server:
        yield server


@pytest.fixture(autouse=True)
def _unset() -> None:
    for gauge in (queue_length, queue_unacked, queue_oldest_age):
        gauge.forget()


def values(gauge: Gauge) -> dict[str, float]:
    """By queue, what an export would say now."""
    return {str((seen.attributes or {})["queue"]): seen.value for seen in gauge._observations(CallbackOptions())}


def publish(url: str, queue: str, age: float, priority: int = 0) -> None:
    with Connection(url) as broker:
        headers = {"x_sent_at": time.time() - age}
        broker.Producer().publish({}, headers=headers, routing_key=queue, priority=priority, declare=[Queue(queue)])


async def test_length_age_and_what_is_under_way(redis_server: LocalRedis) -> None:
    monitor = QueueMonitor(redis_server.url, QUEUES)
    await monitor.observe()
    assert values(queue_length) == values(queue_unacked) == values(queue_oldest_age) == dict.fromkeys(QUEUES, 0)

    publish(redis_server.url, "upbit", age=30)
    publish(redis_server.url, "upbit", age=20)
    publish(redis_server.url, "upbit", age=10, priority=9)
    await monitor.observe()
    assert values(queue_length) == {"upbit": 3, "upbit.orders": 0}
    assert values(queue_oldest_age) == {"upbit": pytest.approx(30, abs=2), "upbit.orders": 0}

    taken: list[Message] = []
    with Connection(redis_server.url) as broker:
        channel = broker.channel()
        consumer = Consumer(channel, Queue("upbit", no_declare=True), on_message=taken.append)
        consumer.qos(prefetch_count=1)
        with consumer:
            await asyncio.to_thread(broker.drain_events, timeout=5)
            await monitor.observe()
            assert len(taken) == 1
            assert values(queue_length) == {"upbit": 2, "upbit.orders": 0}
            assert values(queue_unacked) == {"upbit": 1, "upbit.orders": 0}
            assert values(queue_oldest_age)["upbit"] == pytest.approx(20, abs=2)
            taken[0].ack()
            await monitor.observe()
            assert values(queue_unacked)["upbit"] == 0


async def test_what_cannot_be_read_is_counted_all_the_same(redis_server: LocalRedis) -> None:
    with Connection(redis_server.url) as broker:
        broker.default_channel.client.lpush("upbit", "{", "[]", '{"headers": {"x_sent_at": "soon"}}')
        broker.default_channel.client.hset("unacked", "one", "{")
    await QueueMonitor(redis_server.url, QUEUES).observe()
    assert values(queue_length)["upbit"] == 3
    assert values(queue_oldest_age)["upbit"] == 0


@pytest.mark.parametrize("headers", ['["not", "a", "dictionary"]', "null", '{"x_sent_at": 1' + "0" * 400 + "}"])
async def test_a_foreign_message_ends_nobody(redis_server: LocalRedis, headers: str) -> None:
    with Connection(redis_server.url) as broker:
        client = broker.default_channel.client
        client.lpush("upbit", f'{{"headers": {headers}}}')
        client.lpush("upbit.orders", '["a", "list"]')
        client.hset("unacked", mapping={"short": "[1]", "object": '{"a": 1}', "null": "null"})
        client.hset("unacked", "ours", '[{}, "", "upbit"]')
    await QueueMonitor(redis_server.url, QUEUES).observe()
    assert values(queue_length) == dict.fromkeys(QUEUES, 1)
    assert values(queue_unacked) == {"upbit": 1, "upbit.orders": 0}
    assert values(queue_oldest_age) == dict.fromkeys(QUEUES, 0)


async def test_a_watch_outlives_redis_and_says_nothing_meanwhile(
    redis_server: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "PERIOD_SECONDS", 0.1)
    publish(redis_server.url, "upbit", age=1)
    stop = asyncio.Event()
    watch = asyncio.create_task(QueueMonitor(redis_server.url, QUEUES).watch(stop))
    await until(lambda: values(queue_length) == {"upbit": 1, "upbit.orders": 0})
    redis_server.stop(abruptly=True)
    await until(lambda: not values(queue_length))
    assert values(queue_unacked) == values(queue_oldest_age) == {}
    redis_server.start()
    await until(lambda: values(queue_length) == dict.fromkeys(QUEUES, 0))
    stop.set()
    await asyncio.wait_for(watch, 5)


async def test_another_broker_is_left_alone_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monitor = QueueMonitor("amqp://127.0.0.1:5672//", QUEUES)
    await monitor.observe()
    await asyncio.wait_for(monitor.watch(asyncio.Event()), 5)
    assert values(queue_length) == {}
    assert len([record for record in caplog.records if "not watched" in record.message]) == 1


async def until(holds: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not (callable(holds) and holds()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
