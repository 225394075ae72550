"""Bare Celery: what our tasks would be without telemetry, for `benchmarks.telemetry_overhead` to compare with.

An app with the delivery, pool and results of ours, the same event loop under its tasks and the same clients, but no
OpenTelemetry, no signal handlers, no events and Celery's own logging.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task, signals
from kombu import Queue
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.bodies import nothing, query, venue
from storage.engine import open_engine
from storage.redis import open_redis
from telemetry.process import settle_memory
from workers.loop import LoopThread

QUEUE = "bare"
SECONDS = 30.0

app = Celery("bare", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    result_expires=86_400,
    task_queues=[Queue(QUEUE)],
    task_default_queue=QUEUE,
    task_create_missing_queues=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    enable_utc=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=8,
    task_track_started=True,
    worker_send_task_events=False,
    visibility_timeout=120,
    broker_transport_options={
        "visibility_timeout": 120,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 15,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "retry_on_timeout": False,
    },
    redis_socket_timeout=10,
    redis_socket_connect_timeout=5,
    redis_socket_keepalive=True,
    broker_connection_retry_on_startup=True,
    worker_soft_shutdown_timeout=0,
)

_loop = LoopThread("bare")
_redis: Redis
_engine: AsyncEngine


class LoopTask(Task):  # type: ignore[misc]
    """A task whose body is a coroutine on the process's loop, as ours are."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _loop.run(self.run(*args, **kwargs), SECONDS)


@signals.worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _open(**_: Any) -> None:
    global _redis, _engine
    _redis = open_redis(os.environ["REDIS_URL"])
    _engine = open_engine(os.environ["DATABASE_URL"], pool_size=8)
    _loop.start()


@signals.worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
def _settle(**_: Any) -> None:
    # ours does so, and it has nothing to do with telemetry
    settle_memory()


@signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def _close(**_: Any) -> None:
    _loop.run(_engine.dispose(), SECONDS)
    _loop.run(_redis.aclose(), SECONDS)
    _loop.stop()


@app.task(base=LoopTask, name="bench.empty")  # type: ignore[untyped-decorator]
async def empty() -> None:
    """Do nothing."""
    await nothing()


@app.task(base=LoopTask, name="bench.query")  # type: ignore[untyped-decorator]
async def ask() -> None:
    """Ask PostgreSQL and Redis."""
    await query(_engine, _redis)


@app.task(base=LoopTask, name="bench.venue")  # type: ignore[untyped-decorator]
async def trade() -> None:
    """Wait for a venue, then ask PostgreSQL and Redis."""
    await venue(_engine, _redis)
