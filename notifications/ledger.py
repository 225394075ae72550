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
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from redis.asyncio import Redis as AsyncRedis

from notifications.alert import Alert, BadPayload, Claim, Digest, from_milliseconds, read_payload
from notifications.message import Chat, Priority
from notifications.spool import Spool
from telemetry.instruments import alerts_recorded

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).with_name("lua")
PREFIX = "autotrader:alerts:"
# what was sent, for whoever looks: ids by the time of delivery, and what each said
SENT, SENT_WHAT = "sent", "sent:what"
SENT_KEPT = 200

# Three requests of at most 10 s each (formatted, plain, fallback), and room to acknowledge.
LEASE_SECONDS = 45.0
MAX_ATTEMPTS = 5
# How much later a message of one step less priority is taken for.
AGING_SECONDS = 60.0
# A record is kept a little longer than its window, in case the server's clock is set back.
KEEP_SECONDS = 3600.0

RECORD_TIMEOUT_SECONDS = 2.0


class Recorded(StrEnum):
    """What became of a recording: a new alert, one more of a known one, on disk because Redis is away, or lost
    because the disk does not take it either."""

    NEW = "new"
    REPEATED = "repeated"
    SPOOLED = "spooled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to claim; there may be something in `seconds`, or as soon as somebody records."""

    seconds: float


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many alerts wait or are being sent, the age of the oldest in seconds (0 without one), and the dead ones."""

    depth: int
    oldest_age: float
    dead: int


@dataclass(frozen=True, slots=True)
class Dead:
    """An alert that was given up, with why and when."""

    id: str
    fingerprint: str
    kind: str
    payload: str
    attempts: int
    occurrences: int
    first: datetime
    last: datetime
    reason: str
    died_at: datetime


@cache
def script(name: str) -> str:
    """The source of one of the ledger's scripts."""
    return "".join((SCRIPTS / f"{part}.lua").read_text("utf-8") for part in ("ledger", name))


def record_arguments(alert: Alert) -> list[str]:
    """What `record.lua` wants to know of an alert, before the times and ids of its occurrences."""
    return [
        alert.fingerprint,
        alert.message.chat.value,
        str(int(alert.message.priority)),
        "1" if alert.once else "0",
        _milliseconds(alert.window_seconds),
        alert.payload(),
    ]


def count_recorded(kind: str, reply: Sequence[Any]) -> Recorded:
    """Count a recording by what the script answered."""
    result = Recorded(_text(reply[0]))
    alerts_recorded.add(1, {"kind": kind, "result": result.value})
    return result


def spool_or_lose(spool: Spool | None, alert: Alert, occurrence: str, error: BaseException) -> Recorded:
    """Keep on disk what Redis did not take; what cannot be kept is logged and counted as lost. Never raises."""
    reason = str(error) or type(error).__name__
    result = Recorded.LOST
    if spool is not None:
        try:
            spool.append(alert, occurrence, record_arguments(alert))
        except OSError as full:
            reason = f"{reason}; and it cannot be spooled: {full}"
        else:
            result = Recorded.SPOOLED
    alerts_recorded.add(1, {"kind": alert.kind, "result": result.value})
    if result is Recorded.LOST:
        # the log is then the only place that has it
        log.error("alert lost, because Redis is away (%s): %s", reason, alert.message.text)
    return result


class Ledger:
    """The ledger over a `redis.asyncio` client that stays the caller's to close."""

    def __init__(self, client: AsyncRedis, *, prefix: str = PREFIX, spool: Spool | None = None) -> None:
        self._redis = client
        self._prefix = prefix
        self._spool = spool
        self._record = client.register_script(script("record"))
        self._claim = client.register_script(script("claim"))
        self._ack = client.register_script(script("ack"))
        self._nack = client.register_script(script("nack"))
        self._state = client.register_script(script("state"))

    async def record(self, alert: Alert) -> Recorded:
        """Count one occurrence. Never raises for Redis: what it does not take goes to the spool, where there is one,
        and is logged and counted as lost where that fails too."""
        occurrence = uuid4().hex
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_SECONDS):
                arguments = [*record_arguments(alert), "", "", occurrence]
                reply = await self._record(keys=[self._prefix], args=arguments)
        except (redis.RedisError, TimeoutError, OSError) as error:
            # in a thread: the disk may take its time, and this is the loop that trades
            return await asyncio.to_thread(spool_or_lose, self._spool, alert, occurrence, error)
        return count_recorded(alert.kind, reply)

    async def claim(
        self,
        chats: Iterable[Chat],
        *,
        lowest: Priority = Priority.NORMAL,
        lease_seconds: float = LEASE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
        fold_above: int = -1,
    ) -> Claim | Digest | Idle:
        """Lease the most urgent alert for one of `chats`, none less urgent than `lowest`.

        Where more than `fold_above` different ones wait that count their occurrences and are not critical, they are
        leased together, for a digest; -1 does so never. Alerts whose lease ended are given out again; after
        `max_attempts` they are dead. Raises `RedisError`.
        """
        token = uuid4().hex
        arguments = [_milliseconds(lease_seconds), token, str(max_attempts), _milliseconds(AGING_SECONDS)]
        arguments += [str(int(lowest)), str(fold_above), *(chat.value for chat in chats)]
        reply: Sequence[Any] = await self._claim(keys=[self._prefix], args=arguments)
        if _text(reply[0]) == "*":
            return Digest(tuple(_claim(leased, token) for leased in reply[1:]))
        if len(reply) == 1:
            return Idle(int(reply[0]) / 1000)
        return _claim(reply, token)

    async def ack(self, claim: Claim, message_id: int | None, via: str = "", sent: str = "") -> bool:
        """Delivered as `message_id`, or None if in a digest; the window starts now. `via` is the chat it went to, if
        that was not its own; `sent` is what the list of what was sent shows of it (`notifications.sent`), "" for
        nothing. False if the claim had passed to another sender."""
        arguments = [claim.id, claim.token, "" if message_id is None else str(message_id), str(claim.occurrences)]
        arguments += [_milliseconds(KEEP_SECONDS), via, sent, str(SENT_KEPT)]
        return bool(await self._ack(keys=[self._prefix], args=arguments))

    async def nack(
        self,
        claim: Claim,
        delay_seconds: float,
        *,
        refund: bool = False,
        pause: Chat | None = None,
        pause_bot: bool = False,
        critical_passes: bool = False,
        reason: str = "",
        max_attempts: int = MAX_ATTEMPTS,
    ) -> bool:
        """Not delivered: due again after the delay. False if it is dead now, for want of attempts; `reason` is then
        kept with it.

        `refund` does not count the attempt. `pause` and `pause_bot` keep everybody off that chat, or off the
        whole bot, for the same time; with `critical_passes` what is critical is given out all the same.
        """
        scope = "bot" if pause_bot else pause.value if pause else ""
        arguments = [claim.id, claim.token, _milliseconds(delay_seconds), "1" if refund else "0", str(max_attempts)]
        arguments += [scope, "1" if critical_passes else "0", reason]
        return _text(await self._nack(keys=[self._prefix], args=arguments)) != "dead"

    async def paused_seconds(self) -> float:
        """For how long the whole bot must not be used, because Telegram asked for it."""
        return max(int(await self._redis.pttl(self._prefix + "pause")), 0) / 1000

    async def pause_bot(self, seconds: float) -> None:
        """Keep everybody off the whole bot for so long."""
        if await self.paused_seconds() < seconds:
            await self._redis.set(self._prefix + "pause", "all", px=round(seconds * 1000))

    async def wait_for_wake(self, seconds: float) -> bool:
        """Block until somebody records a new alert, at most `seconds`. Raises `RedisError`."""
        return await self._redis.blpop([self._prefix + "wake"], timeout=seconds) is not None

    async def state(self) -> QueueState:
        """How the queue stands. Raises `RedisError`."""
        arguments = [str(int(Priority.NORMAL)), *(chat.value for chat in Chat)]
        reply: Sequence[Any] = await self._state(keys=[self._prefix], args=arguments)
        return QueueState(int(reply[0]), int(reply[1]) / 1000, int(reply[2]))

    async def depth(self) -> int:
        """How many alerts wait or are being sent; edits whose window still runs are not among them."""
        return (await self.state()).depth

    async def dead(self) -> list[str]:
        """The ids of the alerts that were given up and not moved yet, oldest first."""
        return [_text(item) for item in await self._redis.zrange(self._prefix + "dead", 0, -1)]

    async def dead_letters(self, most: int = 100) -> list[Dead]:
        """The alerts that were given up and not moved yet, oldest first."""
        found: Sequence[Any] = await self._redis.zrange(self._prefix + "dead", 0, most - 1, withscores=True)
        letters = []
        for item, died_at in found:
            id = _text(item)
            values = await self._redis.hgetall(f"{self._prefix}rec:{id}")
            record = {_text(name): _text(value) for name, value in values.items()}
            letters.append(_dead(id, int(died_at), record))
        return letters

    async def forget_dead(self, letter: Dead) -> None:
        """Remove one that is kept elsewhere now."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.zrem(self._prefix + "dead", letter.id)
        pipeline.delete(f"{self._prefix}rec:{letter.id}")
        await pipeline.execute()

    async def moved_chat(self, chat_id: str) -> str:
        """The chat's id, or its new one if the group became a supergroup."""
        moved = await self._redis.hget(self._prefix + "moved", chat_id)
        return _text(moved) if moved else chat_id

    async def remember_moved_chat(self, chat_id: str, new_id: str) -> None:
        """Keep the new id of a chat over restarts."""
        await self._redis.hset(self._prefix + "moved", chat_id, new_id)


def _claim(leased: Sequence[Any], token: str) -> Claim:
    values = [_text(value) for value in leased[1]]
    record = dict(zip(values[::2], values[1::2], strict=True))
    return Claim(
        id=_text(leased[0]),
        token=token,
        fingerprint=record["fp"],
        occurrences=int(record["n"]),
        first=from_milliseconds(int(record["first"])),
        last=from_milliseconds(int(record["last"])),
        attempts=int(record["att"]),
        message_id=int(record["msg"]) if record["msg"] else None,
        payload=record["p"],
        shown=int(record["shown"]),
        via=record.get("via", ""),
    )


def _dead(id: str, died_at: int, record: dict[str, str]) -> Dead:
    payload = record.get("p", "")
    try:
        kind = read_payload(payload).kind
    except BadPayload:
        kind = "unknown"
    return Dead(
        id=id,
        fingerprint=record.get("fp", id),
        kind=kind,
        payload=payload,
        attempts=int(record.get("att", 0)),
        occurrences=int(record.get("n", 1)),
        first=from_milliseconds(int(record.get("first", died_at))),
        last=from_milliseconds(int(record.get("last", died_at))),
        reason=record.get("why", ""),
        died_at=from_milliseconds(died_at),
    )


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
