"""Working off the plan: the runs of a symbol one after the other, all symbols at a time, each run with its fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import asyncpg
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from sandbox.chaos.check import UNPROVEN
from sandbox.chaos.evidence import task_id
from sandbox.chaos.house import VISIBILITY, House, plain
from sandbox.chaos.plan import MARKETS, VENUE_FAULTS, Fault, PlannedRun
from storage.engine import open_engine
from storage.runs import mark_published, open_run

T = TypeVar("T")

ANALYSE = "tasks.analysis.analyze_and_trade"
BEATS = (("tasks.orders.resolve", 3.0), ("tasks.lost.find", 10.0))
POLL_SECONDS = 0.25
# a run whose worker is killed comes back after the visibility time-out, one whose message is gone a little later
RUN_SECONDS = 6.0 * VISIBILITY
STARTED_SECONDS = 30.0
SETTLED_SECONDS = 60.0
ORDER_SECONDS = 15.0
RETRY_SECONDS = 0.5
FIRST_SLOT = datetime(2020, 1, 1, tzinfo=UTC)
_DOWN = (OSError, SQLAlchemyError, RedisError, OperationalError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass(slots=True)
class Record:
    """What became of one planned run; `injected` says whether its fault was really done."""

    run: PlannedRun
    run_id: str
    started: float
    injected: bool = False
    ended: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class _Standing:
    """The last look at the database."""

    pending: set[str] = field(default_factory=set)
    unproven: set[tuple[str, str]] = field(default_factory=set)
    looks: int = 0


class Driver:
    """Publishes and injures; open between `__aenter__` and `__aexit__`. `tell` gets a line now and then."""

    def __init__(self, house: House, tell: Callable[[str], None]) -> None:
        self._house = house
        self._tell = tell
        self._engine = open_engine(house.database_url, pool_size=8, application_name="chaos")
        self._redis = Redis.from_url(house.redis.url, socket_timeout=5, socket_connect_timeout=2)
        self._celery = Celery("chaos", broker=house.redis.url, set_as_current=False)
        names = [name for market in MARKETS for name in (market, f"{market}.orders")]
        self._celery.conf.update(
            task_queues=[Queue(name) for name in names],
            task_create_missing_queues=False,
            broker_transport_options={"visibility_timeout": VISIBILITY, "socket_timeout": 5},
        )
        self._standing = _Standing()
        self._background: list[asyncio.Task[None]] = []
        self.records: list[Record] = []
        self.restarts: Counter[str] = Counter()

    async def __aenter__(self) -> Driver:
        self._background = [
            asyncio.create_task(self._house.supervise()),
            asyncio.create_task(self._watch()),
            *(asyncio.create_task(self._beat(market, task, seconds)) for market in MARKETS for task, seconds in BEATS),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._engine.dispose()
        await self._redis.aclose()
        await asyncio.to_thread(self._celery.close)

    async def work_off(self, plan: Sequence[PlannedRun], deadline: float) -> None:
        """Do all runs of the plan; what is not begun by `deadline` (monotonic) is left out."""
        by_symbol: dict[tuple[str, str], list[PlannedRun]] = defaultdict(list)
        for run in plan:
            by_symbol[run.market, run.symbol].append(run)

        async def one_symbol(runs: list[PlannedRun]) -> None:
            for run in runs:
                if time.monotonic() < deadline:
                    await self._one(run)

        told = asyncio.create_task(self._tell_progress(len(plan)))
        try:
            await asyncio.gather(*(one_symbol(runs) for runs in by_symbol.values()))
        finally:
            told.cancel()

    @property
    def pending(self) -> int:
        """Runs that have not ended, as of the last look."""
        return len(self._standing.pending)

    def check_background(self) -> None:
        """Raise what ended one of the tasks that must not end."""
        for task in self._background:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    # one run

    async def _one(self, run: PlannedRun) -> None:
        self.check_background()
        if run.waits:
            await self._until(lambda: (run.market, run.symbol) not in self._standing.unproven, SETTLED_SECONDS)
        place = {"market": run.market, "symbol": run.symbol}
        await self._control("turns", {**place, "rising": run.rising})
        armed = run.fault in VENUE_FAULTS or run.fault is Fault.KILL_AT_ORDER
        if armed:
            nth = run.nth if run.fault in VENUE_FAULTS else 1
            await self._control("faults", {**place, "fault": run.fault, "seconds": run.seconds, "nth": nth})
        record = Record(run, await self._open(run), time.monotonic())
        self.records.append(record)
        task = task_id(record.run_id, run.symbol)
        sent = await self._sent(run) if run.fault is Fault.KILL_AT_ORDER else 0
        await self._publish_run(run, record.run_id, task)
        injury = asyncio.create_task(self._injure(record, task, sent))
        looks = self._standing.looks
        # the look after next began after the run was opened
        record.ended = await self._until(
            lambda: self._standing.looks > looks + 1 and record.run_id not in self._standing.pending, RUN_SECONDS
        )
        record.seconds = time.monotonic() - record.started
        if record.ended and not injury.done() and run.fault is Fault.KILL_AT_ORDER:
            # it sent no order, so there was nothing to kill
            injury.cancel()
        await asyncio.wait([injury])
        if not injury.cancelled() and (error := injury.exception()) is not None:
            # a server that does not come up again, for one: nothing further would come to an end
            raise error
        if armed:
            reply = await self._control("disarm", place)
            if run.fault in VENUE_FAULTS:
                record.injected = bool(reply["hits"])
        if run.move != 1.0:
            await self._control("moves", {**place, "factor": run.move})

    async def _injure(self, record: Record, task: str, sent: int) -> None:
        """Do what the run's fault does to processes, servers and messages."""
        run, house = record.run, self._house
        match run.fault:
            case Fault.KILL:
                if name := await self._holder(task):
                    await asyncio.sleep(run.delay)
                    record.injected = house.kill(name)
            case Fault.KILL_AT_ORDER:
                name = await self._holder(task)
                if name and await self._order_comes(run, sent):
                    await asyncio.sleep(run.seconds * run.delay / 1.2)
                    record.injected = house.kill(name)
            case Fault.REDELIVERED:
                await asyncio.sleep(run.delay * 2)
                await self._publish_run(run, record.run_id, task)
                record.injected = True
            case Fault.RACE:
                await self._publish_run(run, record.run_id, task)
                record.injected = True
            case Fault.PAUSE:
                if name := await self._holder(task):
                    await asyncio.sleep(run.delay)
                    record.injected = await house.pause(name, run.seconds)
            case Fault.PAUSE_AND_RACE:
                if name := await self._holder(task):
                    await asyncio.sleep(run.delay)
                    await self._publish_run(run, record.run_id, task)
                    record.injected = await house.pause(name, run.seconds)
            case Fault.REDIS_RESTART:
                await asyncio.sleep(run.delay)
                await house.restart_redis(run.seconds, abruptly=run.number % 2 == 0)
                record.injected = True
            case Fault.POSTGRES_RESTART:
                await asyncio.sleep(run.delay)
                await house.restart_postgres(run.seconds)
                record.injected = True

    async def _holder(self, task: str) -> str | None:
        """The worker that has started the task, or None if none has in time."""
        deadline = time.monotonic() + STARTED_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(*_DOWN):
                meta = json.loads(await self._redis.get(f"celery-task-meta-{task}") or "{}")
                if meta.get("status") == "STARTED":
                    return str(meta["result"]["hostname"]).partition("@")[0]
                if meta.get("status") in ("SUCCESS", "FAILURE"):
                    return None
            await asyncio.sleep(0.05)
        return None

    async def _order_comes(self, run: PlannedRun, before: int) -> bool:
        deadline = time.monotonic() + ORDER_SECONDS
        while time.monotonic() < deadline:
            if await self._sent(run) > before:
                return True
            await asyncio.sleep(0.05)
        return False

    async def _sent(self, run: PlannedRun) -> int:
        path = f"sent?market={run.market}&symbol={run.symbol}"
        return int((await asyncio.to_thread(self._house.control.get, path))["sent"])

    async def _open(self, run: PlannedRun) -> str:
        """Open the run as the sweep does: a slot of its own, one symbol."""
        slot = FIRST_SLOT + timedelta(minutes=run.number)
        name = f"chaos-{run.number}"

        async def once() -> str:
            opened = await open_run(
                self._engine, market=run.market, slot=slot, task_id=name, symbols=[run.symbol], trace_id=None
            )
            await mark_published(self._engine, opened.id)
            return str(opened.id)

        return await self._again(once)

    async def _publish_run(self, run: PlannedRun, run_id: str, task: str) -> None:
        await self._again(
            lambda: self._publish(ANALYSE, [run.market, run.symbol, run_id], run.market, task, expires=None)
        )

    async def _publish(self, name: str, args: list[str], queue: str, task: str, expires: float | None) -> None:
        headers = {"x_sent_at": time.time()}
        await asyncio.to_thread(
            self._celery.send_task,
            name,
            args=args,
            queue=queue,
            task_id=task,
            headers=headers,
            expires=expires,
            retry=False,
        )

    async def _again(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it until the server it needs is up."""
        while True:
            try:
                return await act()
            except _DOWN:
                await asyncio.sleep(RETRY_SECONDS)

    async def _control(self, path: str, body: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self._house.control.post, path, body)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS / 2)
        return True

    # in the background

    async def _beat(self, market: str, task: str, seconds: float) -> None:
        """What the beat does: have the market's workers look after its orders and its runs."""
        while True:
            with contextlib.suppress(*_DOWN):
                await self._publish(task, [market], f"{market}.orders", str(uuid.uuid4()), seconds * 3)
            await asyncio.sleep(seconds)

    async def _watch(self) -> None:
        """Look at the runs and the unproven orders again and again."""
        connection: asyncpg.Connection | None = None
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(plain(self._house.database_url), timeout=5)
                open_runs = await connection.fetch("SELECT run_id::text FROM run_symbols WHERE state = 'pending'")
                rows = await connection.fetch(
                    "SELECT market, symbol FROM orders WHERE state = ANY($1::text[])", list(UNPROVEN)
                )
            except (*_DOWN, TimeoutError):
                if connection is not None:
                    connection.terminate()
                connection = None
            else:
                unproven = {(row["market"], row["symbol"]) for row in rows}
                pending = {row["run_id"] for row in open_runs}
                self._standing = _Standing(pending, unproven, self._standing.looks + 1)
            await asyncio.sleep(POLL_SECONDS)

    async def _tell_progress(self, runs: int) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(20)
            ended = sum(record.ended for record in self.records)
            injected = sum(record.injected for record in self.records)
            seconds = time.monotonic() - started
            self._tell(f"{seconds:4.0f} s: {ended} of {runs} runs ended, {injected} faults, {self.pending} pending")
