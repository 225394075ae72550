"""The alerts of now: what waits to be told, what was told lately, what is muted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from redis.asyncio import Redis

from notifications.alert import BadPayload, first_line, from_milliseconds, read_payload
from notifications.ledger import PREFIX, Ledger
from notifications.message import Chat, Priority
from notifications.mutes import Mutes
from notifications.sent import Sent, sent

# of each queue
WAITING_SHOWN = 20
_FIELDS = ("chat", "prio", "n", "first", "last", "state", "until", "p", "parked")


@dataclass(frozen=True, slots=True)
class StandingAlert:
    """An alert that waits in the ledger. `line` is what it is about."""

    kind: str
    chat: str
    priority: Priority
    line: str
    occurrences: int
    first: datetime
    last: datetime
    muted: bool


@dataclass(frozen=True, slots=True)
class StandingAlerts:
    """`depth` is how many wait in all, of which `waiting` are shown; `told` are some of the `told_in_all` that are
    kept; `mutes` are names with their ends."""

    depth: int
    waiting: Sequence[StandingAlert]
    told: Sequence[Sent]
    told_in_all: int
    mutes: dict[str, datetime]
    paused_seconds: float


async def standing_alerts(redis: Redis, told_from: int, told_shown: int) -> StandingAlerts:
    """The alerts of now: of those that wait the most urgent, of those told the newest after the first `told_from`.
    Raises `RedisError`."""
    ledger = Ledger(redis)
    waiting = await _records(redis, list(dict.fromkeys(await _queued(redis))))
    told, in_all = await sent(redis, told_from, told_shown)
    return StandingAlerts(
        depth=(await ledger.state()).depth,
        waiting=sorted(waiting, key=lambda alert: (alert.priority, alert.first))[:WAITING_SHOWN],
        told=told,
        told_in_all=in_all,
        mutes=await Mutes(redis).in_force(),
        paused_seconds=await ledger.paused_seconds(),
    )


async def _queued(redis: Redis) -> list[str]:
    """The keys of the records that wait or are being sent, as many of each queue as are shown."""
    queues = [f"{PREFIX}ready:{chat.value}:{int(priority)}" for priority in Priority for chat in Chat]
    async with redis.pipeline(transaction=False) as pipe:
        for queue in (*queues, f"{PREFIX}inflight"):
            pipe.zrange(queue, 0, WAITING_SHOWN - 1)
        found: Sequence[Sequence[str]] = await pipe.execute()
    return [f"{PREFIX}rec:{id}" for ids in found for id in ids]


async def _records(redis: Redis, keys: Sequence[str]) -> list[StandingAlert]:
    if not keys:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, _FIELDS)
        found: Sequence[Sequence[str | None]] = await pipe.execute()
    records = [dict(zip(_FIELDS, values, strict=True)) for values in found]
    # one without a payload was told and forgotten meanwhile, one with a window was told and waits for its count; a dead
    # one is shown with the dead
    return [
        _alert(record)
        for record in records
        if record["p"] is not None and not record["until"] and record["state"] != "dead"
    ]


def _alert(record: Mapping[str, str | None]) -> StandingAlert:
    payload = record["p"] or ""
    try:
        kind = read_payload(payload).kind
    except BadPayload:
        kind = "unknown"
    return StandingAlert(
        kind=kind,
        chat=record["chat"] or "",
        priority=Priority(int(record["prio"] or Priority.NORMAL)),
        line=first_line(payload),
        occurrences=int(record["n"] or 0),
        first=from_milliseconds(int(record["first"] or 0)),
        last=from_milliseconds(int(record["last"] or 0)),
        muted=record["parked"] is not None,
    )
