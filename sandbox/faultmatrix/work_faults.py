"""Faults of the work itself: jobs that fail, last, wait, expire or block."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

from sandbox.faultmatrix.fault import fault
from sandbox.faultmatrix.house import House
from sandbox.faultmatrix.injuries import locked_table

ANALYSE = "tasks.analysis.analyze_and_trade"
BURST = 60
BACKLOG = 300
EXIT_STUCK = 70
# more than the 10 s that are slow here, less than the deadline
SLOW_SECONDS = 12.5


def open_run(house: House, market: str, symbol: str) -> str:
    """A run of one symbol, opened as the sweep opens it; its slot is one that no sweep takes."""
    run = str(uuid.uuid4())
    slot = datetime.fromtimestamp(time.time() % 1_000_000, UTC)
    opened = "INSERT INTO runs (id, market, slot, status) VALUES ($1::uuid, $2, $3, 'opened') RETURNING id"
    house.rows(opened, run, market, slot)
    house.rows("INSERT INTO run_symbols (run_id, symbol) VALUES ($1::uuid, $2) RETURNING run_id", run, symbol)
    house.rows("UPDATE runs SET status = 'published' WHERE id = $1::uuid RETURNING id", run)
    return run


def analyse(house: House, market: str, symbol: str, expires: float | None = None) -> str:
    """Publish one analysis as a sweep does; returns its run."""
    run = open_run(house, market, symbol)
    task_id = str(uuid.uuid5(uuid.UUID(run), symbol))
    house.publisher.publish(ANALYSE, market, symbol, run, queue=market, expires=expires, task_id=task_id)
    return run


@fault(
    "failing-job",
    "Upbit answers HTTP 500 for KRW-BTC, so its analyses fail",
    alerts=("SchedulerJobFailed",),
    about="autotrader-worker-upbit",
    event=r"BadReply.*KRW-BTC|KRW-BTC.*BadReply",
    quick=True,
)
def failing_job(house: House) -> Iterator[None]:
    house.control.post("faults", {"service": "upbit", "kind": "error", "status": 500, "symbol": "KRW-BTC"})
    analyse(house, "upbit", "KRW-BTC")
    yield
    house.control.delete("faults")


@fault(
    "slow-job",
    f"a table is locked for {SLOW_SECONDS:g} s, so an analysis lasts as long",
    alerts=("SchedulerJobSlow",),
    about="autotrader-worker-yfinance",
)
def slow_job(house: House) -> Iterator[None]:
    with locked_table(house.plain_database_url, "analyses", hold=SLOW_SECONDS, pause=60):
        analyse(house, "yfinance", "AAPL")
        yield


@fault(
    "error-burst",
    f"{BURST} tasks fail within seconds",
    alerts=("HighErrorRate",),
    event=r"FaultInjected.*a burst of errors",
)
def error_burst(house: House) -> Iterator[None]:
    for _ in range(BURST):
        house.publisher.publish("sandbox.faultmatrix.fail", "a burst of errors", queue="kis")
        time.sleep(0.05)
    yield


@fault(
    "deadline-exceeded",
    "a table is locked, so an analysis does not end within its deadline",
    alerts=("TaskDeadlineExceeded",),
    about="autotrader-worker-kis",
    event=r"DeadlineExceeded",
)
def deadline_exceeded(house: House) -> Iterator[None]:
    with locked_table(house.plain_database_url, "analyses", hold=120):
        analyse(house, "kis", "005930")
        yield


@fault(
    "expired-task",
    "an analysis waits in the queue of a worker that is stopped until it expires",
    alerts=("TaskExpired",),
    about="autotrader-worker-kis",
    event=r"Expired.*005930|005930.*Expired",
    quick=True,
)
def expired_task(house: House) -> Iterator[None]:
    house.freeze("worker-kis")
    analyse(house, "kis", "005930", expires=2)
    time.sleep(3)
    house.thaw("worker-kis")
    yield


@fault(
    "queue-backlog",
    f"the worker of KIS is stopped and {BACKLOG} messages pile up",
    alerts=("QueueBacklog",),
    about="kis",
    seconds=120,
)
def queue_backlog(house: House) -> Iterator[None]:
    house.freeze("worker-kis")
    for _ in range(BACKLOG):
        house.publisher.publish("tasks.heartbeat.heartbeat", "kis", queue="kis")
    yield
    house.thaw("worker-kis")


def ended_stuck(house: House, _: float) -> str:
    """Whether the watchdog ended the worker and the supervisor started it again."""
    codes = house.supervisor.exit_codes("worker-upbit")
    return "" if EXIT_STUCK in codes else f"no watchdog ended worker-upbit; its exit codes: {list(codes) or 'none'}"


@fault(
    "stuck-loop",
    "a call blocks the event loop of the Upbit worker; its watchdog ends it",
    alerts=("EventLoopStuck",),
    about="worker-upbit",
    proof=ended_stuck,
)
def stuck_loop(house: House) -> Iterator[None]:
    starts = house.supervisor.starts("worker-upbit")
    task = house.publisher.publish("sandbox.faultmatrix.block", 60.0, queue="upbit")
    yield
    house.need(lambda: house.supervisor.starts("worker-upbit") > starts, 90, "the watchdog ends the stuck worker")
    done = f"sandbox.faultmatrix.block[{task}] succeeded"
    house.need(lambda: done in house.supervisor.log("worker-upbit"), 90, "the task that blocked is delivered again")


@fault(
    "task-redelivered",
    "the worker of Yahoo is killed in the middle of an analysis, which another delivery takes up",
    alerts=("TaskRedelivered",),
    about="autotrader-worker-yfinance",
    seconds=120,
)
def task_redelivered(house: House) -> Iterator[None]:
    house.control.post("faults", {"service": "yahoo", "kind": "hang", "seconds": 4.0})
    with ExitStack() as lift:
        lift.callback(house.control.delete, "faults")
        run = analyse(house, "yfinance", "AAPL")
        house.need(lambda: house.in_progress(run), 20, "the analysis has begun")
        house.supervisor.hold("worker-yfinance")
    house.supervisor.release("worker-yfinance")
    yield


@fault(
    "stalled-decisions",
    "the sweeps are gone from the beat's schedule: everything runs and nothing is decided",
    alerts=("AIDecisionStalled",),
    seconds=300,
)
def stalled_decisions(house: House) -> Iterator[None]:
    with house.redis_client() as client:
        kept = [
            (name, score)
            for name, score in client.zrange("autotrader:beat::schedule", 0, -1, withscores=True)
            if ":sweep-" in name
        ]
        client.zrem("autotrader:beat::schedule", *(name for name, _ in kept))
        yield
        client.zadd("autotrader:beat::schedule", {name: time.time() for name, _ in kept})
