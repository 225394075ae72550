"""Whoever asks for a replay: gives the workers the candles, publishes part after part, and collects what they tell.

Nothing goes on by itself: without who asks there is no next part. So few parts are out at a time that every worker
keeps at least half of its threads for the live work of its market.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from functools import partial
from typing import Any

from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError

from replay.errors import BadReplay
from replay.plan import Plan, Span
from replay.series import Series
from replay.terms import CURRENCIES
from settings import Settings
from storage import schemas
from storage.redis import open_redis
from tasks import standing
from tasks.app import app
from tasks.replay import KEY, Part, replay_symbol
from tasks.standing import Standing
from workers.loop import Interrupted, Stopped

log = logging.getLogger(__name__)

# who asks for the replay deletes them earlier, and prolongs them while it waits
CANDLES_SECONDS = 6 * 3_600
# what was left by a replay of which nothing was heard for so long, is removed by the next one
ALIVE_SECONDS = 3_600
SIGN_SECONDS = 60.0
# a part that waited longer is of no use: who asked has left
EXPIRES_SECONDS = 3_600
# how often the first day is begun with anew, after lost workers
BEGINNINGS = 3
# per worker: more would only take turns on its one event loop
PARTS_OF_A_WORKER = 2
ANSWER_SECONDS = 2.0
# what a part ends with that was no fault of its own: another worker, or another try, may go on
CUT_SHORT = (Stopped, Interrupted)
ENDING_SECONDS = 30.0


class ReplayFailed(Exception):
    """A part of the replay failed; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be replayed. `cash` is shared equally, whole units of the currency; `references` are the symbols that
    an analyst sees beside each one."""

    market: str
    series: Mapping[str, Series]
    plan: Plan
    seed: int
    analyst: str
    cash: Decimal
    keep: bool = False
    references: tuple[str, ...] = ()

    @property
    def symbols(self) -> list[str]:
        return sorted(self.plan.spans)

    @property
    def share(self) -> Decimal:
        """What each symbol's account begins with."""
        step = Decimal("0.01") if CURRENCIES[self.market] == "USD" else Decimal(1)
        return (self.cash / len(self.plan.spans)).quantize(step, ROUND_FLOOR)


@dataclass(slots=True)
class Course:
    """How far one symbol is; `told` is what its last part said beside the curve."""

    symbol: str
    span: Span
    schema: str
    next: int
    task_id: str = ""
    state: Standing = field(default_factory=Standing)
    beginnings: int = 1
    parts: int = 0
    worth: list[tuple[str, str]] = field(default_factory=list)
    told: Mapping[str, Any] | None = None
    days_by_worker: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.told is not None

    @property
    def percent(self) -> int:
        if self.ended:
            return 100
        done = self.next - self.span.first
        return max(100 * done // self.span.days, self.state.percent if self.task_id else 0)


class Replay:
    """One replay, from its first part to its last. Open it, `look` until `ended`, then close it, whatever happens."""

    def __init__(self, settings: Settings, asked: Asked, at_once: int) -> None:
        self.id = uuid.uuid4().hex[:10]
        self.asked = asked
        self.courses = {symbol: self._course(symbol, number) for number, symbol in enumerate(asked.symbols)}
        self._settings = settings
        self._at_once = at_once
        self._redis: Redis = open_redis(settings.redis_url)
        self._next_sign = 0.0
        self._began = time.monotonic()

    @property
    def ended(self) -> bool:
        return all(course.ended for course in self.courses.values())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    async def open(self) -> None:
        """Lay the candles ready for the workers, and remove what dead replays left. Raises `RedisError`."""
        await self._give_sign()
        await self._sweep()
        for symbol in {*self.asked.symbols, *self.asked.references}:
            packed = await asyncio.to_thread(self.asked.series[symbol].packed)
            await self._redis.set(self._key(f"candles:{symbol}"), packed, ex=CANDLES_SECONDS)

    async def look(self) -> Sequence[Course]:
        """Take what has ended, publish what may be next, and tell how each symbol stands. Raises `ReplayFailed`."""
        await self._give_sign()
        waiting = {course.task_id: course for course in self.courses.values() if course.task_id}
        for task_id, state in (await standing.of(waiting)).items():
            self._hear(waiting[task_id], state)
        out = sum(bool(course.task_id) for course in self.courses.values())
        for course in self.courses.values():
            if out < self._at_once and not course.ended and not course.task_id:
                await self._publish(course)
                out += 1
        return list(self.courses.values())

    async def close(self) -> None:
        """End what is still under way and clean up; a replay that was kept keeps its schemas."""
        try:
            out = [course.task_id for course in self.courses.values() if course.task_id]
            if out:
                await self._redis.set(self._key("stop"), "1", ex=CANDLES_SECONDS)
                await asyncio.to_thread(partial(app.control.revoke, out))
                await self._until_quiet(out)
            await self._redis.delete(*self._candles(), self._key("alive"))
            if out or not self.asked.keep:
                await self._drop()
        finally:
            await self._redis.aclose()

    def _course(self, symbol: str, number: int) -> Course:
        span = self.asked.plan.spans[symbol]
        name = "".join(letter if letter.isalnum() else "_" for letter in symbol.lower())[:30]
        return Course(symbol, span, f"{schemas.PREFIX}{self.id}_{number}_{name}", span.first)

    def _hear(self, course: Course, state: Standing) -> None:
        course.state = state
        if not state.ended:
            return
        course.task_id = ""
        if isinstance(state.error, CUT_SHORT):
            self._begin_anew(course)
            return
        if not isinstance(state.result, Mapping):
            why = f"{type(state.error).__name__}: {state.error}" if state.error else state.state.lower()
            raise ReplayFailed(f"{course.symbol}: {why}")
        result = state.result
        if result["outcome"] == "again":
            self._begin_anew(course)
            return
        course.parts += 1
        course.worth += [(day, value) for day, value in result["worth"]]
        course.next = result["next"]
        worker = result["worker"]
        course.days_by_worker[worker] = course.days_by_worker.get(worker, 0) + len(result["worth"])
        if result["outcome"] == "done":
            course.told = result

    def _begin_anew(self, course: Course) -> None:
        course.beginnings += 1
        if course.beginnings > BEGINNINGS:
            raise ReplayFailed(f"{course.symbol}: its worker was lost {BEGINNINGS} times: see what its log ends with")
        course.next, course.worth, course.days_by_worker = course.span.first, [], {}

    async def _publish(self, course: Course) -> None:
        asked = self.asked
        part = Part(
            replay=self.id,
            schema=course.schema,
            seed=asked.seed,
            analyst=asked.analyst,
            cash=f"{asked.share:f}",
            of=len(self.courses),
            first=course.span.first,
            last=course.span.last,
            next=course.next,
            references=tuple(name for name in asked.references if name != course.symbol),
            keep=asked.keep,
        )
        course.task_id = str(uuid.uuid4())
        course.state = Standing()
        send = partial(
            replay_symbol.apply_async,
            args=(asked.market, course.symbol, part.as_dict()),
            queue=asked.market,
            task_id=course.task_id,
            expires=EXPIRES_SECONDS,
        )
        # Celery publishes with blocking calls
        await asyncio.to_thread(send)

    async def _until_quiet(self, task_ids: Sequence[str]) -> None:
        """Wait for the parts that run: they look at every day whether to stop."""
        until = time.monotonic() + ENDING_SECONDS
        while time.monotonic() < until:
            states = (await standing.of(task_ids)).values()
            if not any(state.running for state in states):
                return
            await asyncio.sleep(0.2)

    async def _give_sign(self) -> None:
        """Say now and then that this replay is waited for; its candles are needed as long."""
        if time.monotonic() < self._next_sign:
            return
        self._next_sign = time.monotonic() + SIGN_SECONDS
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(self._key("alive"), "1", ex=ALIVE_SECONDS)
            for key in self._candles():
                pipeline.expire(key, CANDLES_SECONDS)
            await pipeline.execute()

    async def _sweep(self) -> None:
        """Drop the schemas of replays that were killed: nobody else knows of them. Never raises for the database."""
        engine = schemas.open_schema(self._settings.database_url, next(iter(self.courses.values())).schema, pool_size=1)
        try:
            for schema in await schemas.left(engine):
                replay = schema.removeprefix(schemas.PREFIX).partition("_")[0]
                if not await self._redis.exists(KEY.format(replay=replay, what="alive")):
                    await schemas.drop(engine, schema)
                    log.info("dropped %s, which a dead replay had left", schema)
        except (SQLAlchemyError, OSError) as error:
            log.warning("what dead replays left is not removed: %s", type(error).__name__)
        finally:
            await engine.dispose()

    async def _drop(self) -> None:
        for course in self.courses.values():
            engine = schemas.open_schema(self._settings.database_url, course.schema, pool_size=1)
            try:
                await schemas.drop(engine, course.schema)
            finally:
                await engine.dispose()

    def _candles(self) -> list[str]:
        return [self._key(f"candles:{symbol}") for symbol in {*self.asked.symbols, *self.asked.references}]

    def _key(self, what: str) -> str:
        return KEY.format(replay=self.id, what=what)


def threads_of_workers(market: str) -> list[int]:
    """How many threads each worker has that serves the market now; blocks for two seconds. Raises `BadReplay` where
    there is none, and what the broker raises."""
    inspect = app.control.inspect(timeout=ANSWER_SECONDS)
    queues = inspect.active_queues() or {}
    serving = sorted(name for name, of in queues.items() if any(queue["name"] == market for queue in of))
    if not serving:
        raise BadReplay(
            f"no worker serves {market}: start one (autotrader worker {market}), or run this with --local, which "
            "brings its own"
        )
    stats = app.control.inspect(serving, timeout=ANSWER_SECONDS).stats() or {}
    return [int(stats.get(name, {}).get("pool", {}).get("max-concurrency", 1)) for name in serving]


def at_once(threads: Sequence[int]) -> int:
    """How many parts may be out: two per worker, and even if all went to the smallest one, half of it is left."""
    return max(1, min(PARTS_OF_A_WORKER * len(threads), min(threads) // 2))
