from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

from sandbox.local import LocalRedis
from settings import Settings
from telemetry import databases
from workers.runtime import Runtime, process_name


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with LocalRedis() as server:
        yield server.url


@pytest.fixture
def runtime(redis_url: str, database_url: str) -> Iterator[Runtime]:
    settings = Settings(_env_file=None, redis_url=redis_url, database_url=database_url)  # type: ignore[call-arg]
    opened = Runtime(settings, "worker-test")
    opened.start()
    yield opened
    opened.close()


def test_forty_tasks_of_many_threads_share_one_engine_and_one_loop(runtime: Runtime) -> None:
    loops: set[int] = set()

    async def work() -> None:
        loops.add(id(asyncio.get_running_loop()))
        async with runtime.engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(0.02)"))
        await runtime.redis.incr("count")

    threads = [threading.Thread(target=runtime.run, args=(work(), 10)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def count() -> str | None:
        value: str | None = await runtime.redis.get("count")
        return value

    assert runtime.run(count(), 5) == "40"
    assert len(loops) == 1


def test_sql_of_a_task_is_a_span_under_it(runtime: Runtime) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    databases.uninstrument()
    databases.instrument(runtime.engine, provider)

    async def query() -> None:
        async with runtime.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    with provider.get_tracer("test").start_as_current_span("task") as task:
        runtime.run(query(), 5)
    [span] = [span for span in exporter.get_finished_spans() if span.name != "task"]
    assert span.name.startswith("SELECT")
    assert span.parent is not None
    assert span.parent.span_id == task.get_span_context().span_id
    assert (span.attributes or {})["db.system"] == "postgresql"


def test_closing_leaves_no_thread_and_no_connection(redis_url: str, database_url: str) -> None:
    before = {thread.name for thread in threading.enumerate()}
    settings = Settings(_env_file=None, redis_url=redis_url, database_url=database_url)  # type: ignore[call-arg]
    opened = Runtime(settings, "worker-closing")
    opened.start()
    opened.close()
    left = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in left if name.startswith(("loop-", "watchdog-"))}


def test_a_worker_is_named_for_its_market() -> None:
    assert process_name({"upbit"}) == "worker-upbit"
    assert process_name({"upbit", "kis"}) == "worker"
