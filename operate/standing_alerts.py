"""The alerts as the ledger has them now: what waits to be told, what was told and still counts, what is muted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from redis.asyncio import Redis

from notifications.alert import BadPayload, first_line, from_milliseconds, read_payload
from notifications.ledger import PREFIX, Ledger
from notifications.message import Chat, Priority
from notifications.mutes import Mutes

# of each queue
WAITING_SHOWN = 20
TOLD_SHOWN = 30
# the records of what was told have no index; a look at so many keys takes some milliseconds
KEYS_PER_LOOK, MOST_LOOKS, MOST_RECORDS = 500, 40, 300
_FIELDS = ("chat", "prio", "n", "first", "last", "state", "until", "p", "parked")


@dataclass(frozen=True, slots=True)
class StandingAlert:
    """An alert in the ledger. `line` is what it is about, `until` when its window ends, None before it was told."""

    kind: str
    chat: str
    priority: Priority
    line: str
    occurrences: int
    first: datetime
    last: datetime
    until: datetime | None
    muted: bool


@dataclass(frozen=True, slots=True)
class StandingAlerts:
    """`depth` is how many wait in all, of which `waiting` are shown; `mutes` are names with their ends."""

    depth: int
    waiting: Sequence[StandingAlert]
    told: Sequence[StandingAlert]
    mutes: dict[str, datetime]
    paused_seconds: float


async def standing_alerts(redis: Redis) -> StandingAlerts:
    """The alerts of now, the most urgent and the newest first. Raises `RedisError`."""
    ledger = Ledger(redis)
    keys = [*await _queued(redis), *await _kept(redis)]
    alerts = await _records(redis, list(dict.fromkeys(keys)))
    waiting = [alert for alert in alerts if alert.until is None]
    told = [alert for alert in alerts if alert.until is not None]
    return StandingAlerts(
        depth=(await ledger.state()).depth,
        waiting=sorted(waiting, key=lambda alert: (alert.priority, alert.first))[:WAITING_SHOWN],
        told=sorted(told, key=lambda alert: alert.last, reverse=True)[:TOLD_SHOWN],
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


async def _kept(redis: Redis) -> list[str]:
    """The keys of records that are kept, among the first so many keys there are."""
    cursor, keys = 0, list[str]()
    for _ in range(MOST_LOOKS):
        cursor, found = await redis.scan(cursor, match=f"{PREFIX}rec:*", count=KEYS_PER_LOOK)
        keys += map(str, found)
        if cursor == 0 or len(keys) >= MOST_RECORDS:
            break
    return keys[:MOST_RECORDS]


async def _records(redis: Redis, keys: Sequence[str]) -> list[StandingAlert]:
    if not keys:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, _FIELDS)
        found: Sequence[Sequence[str | None]] = await pipe.execute()
    records = [dict(zip(_FIELDS, values, strict=True)) for values in found]
    # one without a payload was told and forgotten meanwhile; a dead one is shown with the dead
    return [_alert(record) for record in records if record["p"] is not None and record["state"] != "dead"]


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
        until=from_milliseconds(int(record["until"])) if record["until"] else None,
        muted=record["parked"] is not None,
    )
