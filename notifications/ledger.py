"""The alert ledger in Redis: what is to be told, what is being sent, and what was told already.

Dedupe state is a record of deliveries, not of intentions: the window starts when Telegram has the message,
so a crash between recording and sending loses nothing. Delivery is at least once. All times are the
server's, all steps are Lua scripts, so any number of recorders and senders may run on any hosts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.retry import Retry

from notifications.alert import KINDS, Alert, Claim, from_milliseconds
from notifications.message import Chat, Priority
from telemetry.instruments import alerts_recorded, start_at_zero

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).with_name("lua")
PREFIX = "autotrader:alerts:"

# Three requests of at most 10 s each (formatted, plain, fallback), and room to acknowledge.
LEASE_SECONDS = 45.0
MAX_ATTEMPTS = 5
# How much later a message of one step less priority is taken for.
AGING_SECONDS = 60.0
# A record is kept a little longer than its window, in case the server's clock is set back.
KEEP_SECONDS = 3600.0

RECORD_TIMEOUT_SECONDS = 2.0
HOOK_TIMEOUT_SECONDS = 0.2


class Recorded(StrEnum):
    """What became of a recording: a new alert, one more of a known one, or lost because Redis is away."""

    NEW = "new"
    REPEATED = "repeated"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to claim; there may be something in `seconds`, or as soon as somebody records."""

    seconds: float


@cache
def _script(name: str) -> str:
    return "".join((SCRIPTS / f"{part}.lua").read_text("utf-8") for part in ("ledger", name))


def _record_arguments(alert: Alert) -> list[str]:
    return [
        alert.fingerprint,
        alert.message.chat,
        str(int(alert.message.priority)),
        "1" if alert.once else "0",
        _milliseconds(alert.window_seconds),
        alert.payload(),
    ]


def _count_recorded(alert: Alert, reply: Sequence[Any]) -> Recorded:
    result = Recorded(_text(reply[0]))
    alerts_recorded.add(1, {"kind": alert.kind, "result": result.value})
    return result


def _count_lost(alert: Alert, error: BaseException) -> Recorded:
    alerts_recorded.add(1, {"kind": alert.kind, "result": Recorded.LOST.value})
    # the log is then the only place that has it
    log.error("alert lost, because Redis is away (%s): %s", error or type(error).__name__, alert.message.text)
    return Recorded.LOST


class Ledger:
    """The ledger over a `redis.asyncio` client that stays the caller's to close."""

    def __init__(self, client: AsyncRedis, *, prefix: str = PREFIX) -> None:
        self._redis = client
        self._prefix = prefix
        self._record = client.register_script(_script("record"))
        self._claim = client.register_script(_script("claim"))
        self._ack = client.register_script(_script("ack"))
        self._nack = client.register_script(_script("nack"))

    async def record(self, alert: Alert) -> Recorded:
        """Count one occurrence. Never raises for Redis: what it cannot record is logged and counted as lost."""
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_SECONDS):
                reply = await self._record(keys=[self._prefix], args=_record_arguments(alert))
        except (redis.RedisError, TimeoutError, OSError) as error:
            return _count_lost(alert, error)
        return _count_recorded(alert, reply)

    async def claim(
        self,
        chats: Iterable[Chat],
        *,
        lowest: Priority = Priority.NORMAL,
        lease_seconds: float = LEASE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> Claim | Idle:
        """Lease the most urgent alert for one of `chats`, none less urgent than `lowest`.

        Alerts whose lease ended are given out again; after `max_attempts` they are dead. Raises `RedisError`.
        """
        token = uuid4().hex
        arguments = [_milliseconds(lease_seconds), token, str(max_attempts), _milliseconds(AGING_SECONDS)]
        reply = await self._claim(keys=[self._prefix], args=[*arguments, str(int(lowest)), *chats])
        if len(reply) == 1:
            return Idle(int(reply[0]) / 1000)
        values = [_text(value) for value in reply[1]]
        record = dict(zip(values[::2], values[1::2], strict=True))
        return Claim(
            id=_text(reply[0]),
            token=token,
            fingerprint=record["fp"],
            occurrences=int(record["n"]),
            first=from_milliseconds(int(record["first"])),
            last=from_milliseconds(int(record["last"])),
            attempts=int(record["att"]),
            message_id=int(record["msg"]) if record["msg"] else None,
            payload=record["p"],
        )

    async def ack(self, claim: Claim, message_id: int) -> bool:
        """Delivered as `message_id`; the window starts now. False if the claim had passed to another sender."""
        arguments = [claim.id, claim.token, str(message_id), str(claim.occurrences), _milliseconds(KEEP_SECONDS)]
        return bool(await self._ack(keys=[self._prefix], args=arguments))

    async def nack(
        self,
        claim: Claim,
        delay_seconds: float,
        *,
        refund: bool = False,
        pause: Chat | None = None,
        pause_bot: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> bool:
        """Not delivered: due again after the delay. False if it is dead now, for want of attempts.

        `refund` does not count the attempt. `pause` and `pause_bot` keep everybody off that chat, or off the
        whole bot, for the same time.
        """
        scope = "bot" if pause_bot else pause or ""
        arguments = [claim.id, claim.token, _milliseconds(delay_seconds), "1" if refund else "0", str(max_attempts)]
        return _text(await self._nack(keys=[self._prefix], args=[*arguments, scope])) != "dead"

    async def wait_for_wake(self, seconds: float) -> bool:
        """Block until somebody records a new alert, at most `seconds`. Raises `RedisError`."""
        return await self._redis.blpop([self._prefix + "wake"], timeout=seconds) is not None

    async def depth(self) -> int:
        """How many alerts are due or being sent; edits whose window still runs are not."""
        seconds, _ = await self._redis.time()
        pipeline = self._redis.pipeline(transaction=False)
        for chat in Chat:
            for priority in Priority:
                pipeline.zcount(f"{self._prefix}ready:{chat}:{int(priority)}", "-inf", (seconds + 1) * 1000)
        pipeline.zcard(self._prefix + "inflight")
        return sum(int(count) for count in await pipeline.execute())

    async def dead(self) -> list[str]:
        """The ids of the alerts that were given up, oldest first."""
        return [_text(item) for item in await self._redis.zrange(self._prefix + "dead", 0, -1)]

    async def moved_chat(self, chat_id: str) -> str:
        """The chat's id, or its new one if the group became a supergroup."""
        moved = await self._redis.hget(self._prefix + "moved", chat_id)
        return _text(moved) if moved else chat_id

    async def remember_moved_chat(self, chat_id: str, new_id: str) -> None:
        """Keep the new id of a chat over restarts."""
        await self._redis.hset(self._prefix + "moved", chat_id, new_id)


class HookRecorder:
    """Records from Celery's signal handlers: synchronous, thread-safe, fast, and never raises.

    At most about 0.4 s when Redis hangs; a refused connection costs a millisecond.
    """

    def __init__(self, redis_url: str, *, prefix: str = PREFIX) -> None:
        self._redis = redis.Redis.from_url(
            redis_url,
            socket_connect_timeout=HOOK_TIMEOUT_SECONDS,
            socket_timeout=HOOK_TIMEOUT_SECONDS,
            # a connection that died while it was idle is worth another try; a time-out is not
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
            protocol=2,
        )
        self._prefix = prefix
        self._record = self._redis.register_script(_script("record"))
        start_at_zero(alerts_recorded, kind=KINDS, result=[item.value for item in Recorded])

    def record(self, alert: Alert) -> Recorded:
        """Count one occurrence; what cannot be recorded is logged and counted as lost."""
        try:
            reply = self._record(keys=[self._prefix], args=_record_arguments(alert))
        except (redis.RedisError, OSError) as error:
            return _count_lost(alert, error)
        return _count_recorded(alert, reply)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
