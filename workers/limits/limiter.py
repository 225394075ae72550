"""Waiting for a slot, and closing a gate after a refusal, for all processes that share a Redis.

A caller reserves its slot in one atomic step and sleeps exactly until it; nobody polls. After a sleep it asks once
more whether it may send: a gate may have been closed meanwhile, and the one before it in its lane may have been late.
What is answered late may have reached the venue late, so its lane opens as much later.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from importlib import resources
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from redis.asyncio import Redis
from redis.exceptions import RedisError

from telemetry import instruments
from workers.errors import Throttled
from workers.limits.local import LocalSlots, Slot
from workers.limits.rules import GUARD_SECONDS, Bucket

log = logging.getLogger(__name__)

BLOCKED = 418
# A refusal closes its group at least for the window it was counted in.
SHORTEST_CLOSED_SECONDS = 1.0
# A Redis that hangs may not hold up a request for longer, and is not asked again by every one of them.
REDIS_SECONDS = 1.0
REDIS_AGAIN_SECONDS = 2.0
MICROSECONDS = 1_000_000
# How fast a venue can answer is known after so many windows; until then all of a request's time counts as delay.
WINDOWS_TO_LEARN = 1
# ... and forgotten by so much per request, should the way there become longer for good.
FORGET = 1.01


@dataclass(frozen=True, slots=True)
class Admission:
    """A request may be sent now. `waited` is in seconds; `lane` is 0 where no slot of Redis was taken."""

    waited: float
    lane: int
    at: float


class Limiter:
    """The limits of all venues. For one event loop; `redis` stays the caller's."""

    def __init__(self, redis: Redis) -> None:
        self._reserve_script = redis.register_script(_script("reserve"))
        self._close_script = redis.register_script(_script("close"))
        self._late_script = redis.register_script(_script("late"))
        self._local = LocalSlots()
        self._fastest: dict[str, tuple[int, float]] = {}
        self._away_until = float("-inf")
        self._away = False

    async def enter(self, bucket: Bucket, what: object, *, max_wait: float, fail_closed: bool = False) -> Admission:
        """Wait for a slot of `bucket`; `what` names the request in messages.

        Raises `Throttled` at once, without taking a slot, if the wait would be longer than `max_wait` seconds; with
        `fail_closed` also if Redis is away, where it else goes on at half the rate.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        held: Slot | None = None
        while True:
            at = clock()
            left = max_wait - (at - started)
            slot = await self._reserve(bucket, left, held, what, fail_closed)
            if slot.refusal:
                raise self._refuse(bucket, what, slot)
            if slot.wait <= 0:
                break
            held = slot
            await asyncio.sleep(slot.wait)
        waited = clock() - started
        instruments.limiter_wait.record(waited * 1000, {"service": bucket.venue, "group": bucket.group})
        return Admission(waited, slot.lane, at)

    async def answered(self, bucket: Bucket, admission: Admission) -> None:
        """The request was answered, or given up: see whether it may have reached the venue late."""
        if not admission.lane:
            return
        took = asyncio.get_running_loop().time() - admission.at
        seen, fastest = self._fastest.get(bucket.lanes, (0, took))
        self._fastest[bucket.lanes] = seen + 1, min(took, fastest * FORGET)
        usual = fastest if seen >= WINDOWS_TO_LEARN * bucket.requests else 0.0
        late = took - usual - GUARD_SECONDS
        if late > 0:
            arguments = [admission.lane, int(late * MICROSECONDS), int(bucket.window * MICROSECONDS)]
            await self._ask(self._late_script, [bucket.lanes], arguments)

    async def refused(self, bucket: Bucket, status: int, refusal: Throttled) -> None:
        """The venue refused for rate: close the group's gate for all processes, after a 418 the whole venue's."""
        gate = bucket.venue_gate if status == BLOCKED else bucket.gate
        seconds = max(SHORTEST_CLOSED_SECONDS, refusal.retry_after)
        scope = bucket.venue if status == BLOCKED else f"{bucket.venue} {bucket.group}"
        log.warning("%s refused for rate (%s): closed for %g s in all processes", scope, status, seconds)
        # also here, for the case that Redis is away, or goes away before it opens
        self._local.close(gate, seconds)
        await self._ask(self._close_script, [gate], [int(seconds * MICROSECONDS)])

    async def _reserve(self, bucket: Bucket, left: float, held: Slot | None, what: object, fail_closed: bool) -> Slot:
        for gate, seconds in self._local.closed_for(bucket).items():
            # Redis may have been away when it was closed, or have come back empty
            await self._ask(self._close_script, [gate], [int(seconds * MICROSECONDS)])
        reply = await self._ask(
            self._reserve_script,
            [bucket.lanes, bucket.gate, bucket.venue_gate],
            [
                bucket.requests,
                int(bucket.window * MICROSECONDS),
                int(bucket.gap * MICROSECONDS),
                max(0, int(left * MICROSECONDS)),
                held.lane if held is not None else 0,
            ],
        )
        if reply is not None:
            outcome, wait, lane = reply
            name = outcome.decode() if isinstance(outcome, bytes) else str(outcome)
            return Slot(int(wait) / MICROSECONDS, int(lane), "" if name == "slot" else name)
        if fail_closed:
            self._count_refused(bucket, "no_redis")
            raise Throttled(
                f"{what}: not sent, because Redis, where the rate limit is shared, does not answer; "
                "check REDIS_URL and that Redis runs",
                REDIS_AGAIN_SECONDS,
            )
        return self._local.reserve(bucket, left, held)

    async def _ask(self, script: Any, keys: list[str], arguments: list[int]) -> Any:
        """The script's reply, or None while Redis is away."""
        clock = asyncio.get_running_loop().time
        if clock() < self._away_until:
            return None
        try:
            # a span of its own for every slot would drown the requests they are for
            with suppress_instrumentation():
                async with asyncio.timeout(REDIS_SECONDS):
                    reply = await script(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = clock() + REDIS_AGAIN_SECONDS
            if not self._away:
                self._away = True
                log.warning(
                    "rate limits are not shared, because Redis does not answer (%s): reads go on at half the rate of "
                    "this process alone, orders wait; check REDIS_URL and that Redis runs",
                    type(error).__name__,
                )
            return None
        if self._away:
            self._away = False
            log.info("rate limits are shared through Redis again")
        return reply

    def _refuse(self, bucket: Bucket, what: object, slot: Slot) -> Throttled:
        self._count_refused(bucket, slot.refusal)
        why = "is closed after a refusal" if slot.refusal == "closed" else "has no slot"
        return Throttled(
            f"{what}: not sent, the limit of the {bucket.group} group {why} for {slot.wait:.1f} s; "
            "it is tried again at the next tick",
            slot.wait,
        )

    def _count_refused(self, bucket: Bucket, reason: str) -> None:
        attributes = {"service": bucket.venue, "group": bucket.group, "reason": reason}
        instruments.limiter_refused.add(1, attributes)
        trace.get_current_span().add_event("limiter.refused", attributes)


def _script(name: str) -> str:
    return resources.files("workers.limits").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
