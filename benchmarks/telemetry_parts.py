"""What telemetry's part in a short task is made of: processor time of each thing that is done for one task.

`python -m benchmarks.telemetry_parts [--repeats N]` starts Redis, PostgreSQL and the sandbox's collector and does in
this process, with our own set-up of telemetry, what a worker does for one `benchmarks.bodies.query`. Each part is done
many times, in turns with the others; printed is the processor time of the calling thread that nine of ten took longer
than, so that other programs on the machine show little. What threads lose by taking turns comes on top of it.

Measured on two shared cores with many other programs running (Python 3.11), in microseconds of a task:

    623  the run: its span and metrics              401  export of 3 spans
    664  span of a statement                         95  export of 1 log record
    371  span of a Redis command                     72  three events, sent with those of 30 tasks
    475  a line of log, on stderr and kept for export      2701  together

That is what `benchmarks.telemetry_overhead` finds between our worker and bare Celery, whose `query` took 7,450 at the
time; 0.90 of it would leave 830 for all telemetry, which is less than two of these lines. There is no large part to
take away: each is some hundred small steps of OpenTelemetry's SDK, of its instrumentations and of structlog. Half of it
is gone where a part is repeated without a break, as no worker does it: then its code and data are still in the
processor's caches. An encoder for OTLP and a formatter for the log of our own were tried, gained little and reached
into private functions. So the promise is made for our real tasks (`sweep`), which wait and compute much longer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import signals
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.servers import servers
from sandbox.processes import ProcessFailed
from storage.engine import open_engine
from storage.redis import open_redis
from telemetry import celery_metrics, celery_spans, databases, logs, setup
from telemetry.headers import SENT_AT
from telemetry.publishing import TracedCelery
from telemetry.redacting import RedactingLogExporter, RedactingSpanExporter, Redactor

# what half a second of a busy worker exports together
BATCH = 30
TASK, QUEUE, WORKER = "bench.query", "upbit", "upbit@here"
SECRETS = tuple(f"secret-of-the-benchmark-{number}" for number in range(8))

log = logging.getLogger("celery.app.trace")
app = TracedCelery("parts", set_as_current=False)


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is done for `tasks` tasks. `plain` is what is done without telemetry, too."""

    name: str
    do: Callable[[], object]
    plain: Callable[[], object] = lambda: None
    tasks: int = 1


def measure(parts: Sequence[Part], repeats: int) -> dict[str, float]:
    """Microseconds of a task by part."""
    taken: dict[str, list[float]] = {part.name: [] for part in parts}
    plain: dict[str, list[float]] = {part.name: [] for part in parts}
    for _ in range(repeats):
        for part in parts:
            taken[part.name].append(_seconds(part.do))
            plain[part.name].append(_seconds(part.plain))
    return {part.name: (_low(taken[part.name]) - _low(plain[part.name])) / part.tasks * 1e6 for part in parts}


def _low(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 10]


def _seconds(do: Callable[[], object]) -> float:
    started = time.thread_time()
    do()
    return time.thread_time() - started


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def task() -> None:
    """Never called: its runs are told by their signals."""


@contextmanager
def opened(env: Mapping[str, str], collector: str) -> Iterator[list[Part]]:
    """A worker's telemetry in this process, and what it does for a task."""
    redactor = Redactor(SECRETS)
    config = setup.TelemetryConfig("autotrader", "parts", WORKER, "bench", collector, "http/protobuf", True, 0)
    plain, traced = open_engine(env["DATABASE_URL"], pool_size=1), open_engine(env["DATABASE_URL"], pool_size=1)
    silent, spoken = open_redis(env["REDIS_URL"]), open_redis(env["REDIS_URL"])
    app.conf.broker_url = env["REDIS_URL"]
    with open(os.devnull, "w", encoding="utf-8") as nowhere, asyncio.Runner() as runner:
        with redirect_stderr(nowhere):
            logs.configure("json", "INFO", redactor)
        telemetry = setup.start(config, redactor)
        celery_metrics.CeleryMetrics(WORKER, [TASK], {}).connect()
        celery_spans.instrument()
        databases.instrument(traced)
        RedisInstrumentor.instrument_client(spoken)
        with (
            app.connection_for_write() as connection,
            app.events.Dispatcher(connection, WORKER, buffer_group=["task"], buffer_limit=10_000) as events,
        ):
            # none of these is timed while another runs
            statement, plain_statement = (partial(_in, runner, _ask, one) for one in (traced, plain))
            command, plain_command = (partial(_in, runner, _tell, one) for one in (spoken, silent))
            spans, records = _made(statement, command)
            spans_out = RedactingSpanExporter(OTLPSpanExporter(f"{collector}/v1/traces"), redactor)
            logs_out = RedactingLogExporter(OTLPLogExporter(f"{collector}/v1/logs"), redactor)
            yield [
                Part("the run: its span and metrics", _run, _request_alone),
                Part("span of a statement", statement, plain_statement),
                Part("span of a Redis command", command, plain_command),
                Part("a line of log, on stderr and kept for export", _say),
                Part(f"three events, sent with those of {BATCH} tasks", partial(_events, events), tasks=BATCH),
                Part(f"export of {len(spans) // BATCH} spans", partial(spans_out.export, spans), tasks=BATCH),
                Part(f"export of {len(records) // BATCH} log record", partial(logs_out.export, records), tasks=BATCH),
            ]
        for engine in (plain, traced):
            runner.run(engine.dispose())
        for client in (silent, spoken):
            runner.run(client.aclose())
        telemetry.shutdown()
        logging.getLogger().handlers.clear()


def _in(runner: asyncio.Runner, ask: Callable[[Any], Coroutine[Any, Any, None]], whom: object) -> None:
    runner.run(ask(whom))


async def _ask(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _tell(client: Redis) -> None:
    await client.set("bench", "1", ex=60)


@contextmanager
def _request() -> Iterator[str]:
    task_id = str(uuid.uuid4())
    traceparent = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    told = {"hostname": WORKER, "correlation_id": task_id, "delivery_info": {"routing_key": QUEUE, "exchange": ""}}
    task.push_request(id=task_id, traceparent=traceparent, eta=None, **told, **{SENT_AT: time.time()})
    try:
        yield task_id
    finally:
        task.pop_request()


def _request_alone() -> None:
    with _request():
        pass


def _run(*bodies: Callable[[], object]) -> None:
    with _request() as task_id:
        signals.task_prerun.send(sender=task, task_id=task_id, task=task, args=(), kwargs={})
        for body in bodies:
            body()
        signals.task_success.send(sender=task, result=None)
        signals.task_postrun.send(sender=task, task_id=task_id, task=task, state="SUCCESS", args=(), kwargs={})


def _say() -> None:
    task_id = str(uuid.uuid4())
    data = {"id": task_id, "name": TASK, "return_value": "None", "runtime": 0.01, "args": "()", "kwargs": "{}"}
    log.info("Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s", data, extra={"data": data})


def _events(dispatcher: Any) -> None:
    for _ in range(BATCH):
        task_id = str(uuid.uuid4())
        dispatcher.send("task-received", uuid=task_id, name=TASK, args="()", kwargs="{}", root_id=task_id,
                        parent_id=None, retries=0, eta=None, expires=None)  # fmt: skip
        dispatcher.send("task-started", uuid=task_id)
        dispatcher.send("task-succeeded", uuid=task_id, result="None", runtime=0.01)
    dispatcher.flush()


class Kept(SpanProcessor):
    """The spans that ended while it was `keeping`; a provider never lets go of a processor."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.keeping = True

    def on_end(self, span: ReadableSpan) -> None:
        if self.keeping:
            self.spans.append(span)


def _made(*bodies: Callable[[], object]) -> tuple[list[ReadableSpan], list[Any]]:
    """The spans and log records of a batch of tasks, as the exporters are given them."""
    tracers, loggers = trace.get_tracer_provider(), LoggerProvider()
    assert isinstance(tracers, TracerProvider)
    spans, records = Kept(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    tracers.add_span_processor(spans)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
    said = logs.ExportingHandler(loggers)
    log.addHandler(said)
    for _ in range(BATCH):
        _run(*bodies, _say)
    log.removeHandler(said)
    spans.keeping = False
    return spans.spans, list(records.get_finished_logs())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry_parts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args(arguments)
    try:
        with servers("parts") as started, opened(started.env, f"{started.sandbox_url}/otlp") as parts:
            microseconds = measure(parts, options.repeats)
    except ProcessFailed as error:
        sys.stderr.write(f"telemetry_parts: {error}\n")
        return 1
    for name, value in microseconds.items():
        sys.stdout.write(f"{value:7.0f} us  {name}\n")
    sys.stdout.write(f"{sum(microseconds.values()):7.0f} us  together\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
