"""What was really sent and asks for attention, for whoever was not in the chat: everything of the error chat, and what
was critical in the other one.

The ledger forgets an alert once its window is over, or at once where it happens once. The list is written with the
delivery itself, is read by nothing that decides, and keeps the last `KEPT`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from notifications.alert import Claim, Contents, from_milliseconds
from notifications.ledger import PREFIX, SENT, SENT_WHAT
from notifications.message import Chat, Priority, cut, sendable
from telemetry.redaction import redact

LONGEST_LINE = 240
# Done with, and in no chat: a summary tells of what is kept.
NOT_SENT = frozenset({"kept", "off"})


@dataclass(frozen=True, slots=True)
class Sent:
    """An alert that a chat has. `at` is when it was first told, `occurrences` how many the chat knows of by now, `how`
    it was told: `sent`, `edited` for a new count, `plain` or `fallback` where Telegram refused its form, `diverted`
    where it went to the other chat."""

    at: datetime
    kind: str
    chat: str
    line: str
    fingerprint: str
    occurrences: int
    how: str


def entry(claim: Claim, contents: Contents, how: str, secrets: Iterable[str]) -> str:
    """What the list keeps of a delivery; "" for what does not belong there."""
    message = contents.message
    if how in NOT_SENT or not (message.chat is Chat.ERROR or message.priority is Priority.CRITICAL):
        return ""
    line = redact(contents.summary or message.text.partition("\n")[0], tuple(secrets))
    fields = {
        "kind": contents.kind,
        "chat": message.chat.value,
        "line": cut(sendable(line), LONGEST_LINE),
        "fp": claim.fingerprint,
        "n": claim.occurrences,
        "how": how,
    }
    return json.dumps(fields, ensure_ascii=False)


async def sent(redis: Redis, offset: int, limit: int, *, prefix: str = PREFIX) -> tuple[list[Sent], int]:
    """`limit` of what was sent after the first `offset`, the newest first, and how many there are. Raises
    `RedisError`."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zrange(prefix + SENT, offset, offset + limit - 1, desc=True, withscores=True)
        pipe.zcard(prefix + SENT)
        named, total = await pipe.execute()
    if not named:
        return [], int(total)
    found: list[Any] = await redis.hmget(prefix + SENT_WHAT, [id for id, _ in named])
    read = [_read(text, int(at)) for text, (_, at) in zip(found, named, strict=True)]
    return [one for one in read if one is not None], int(total)


def _read(text: str | bytes | None, at: int) -> Sent | None:
    """An entry; None for one that has just made way, or that another version wrote."""
    try:
        fields = json.loads(text or "")
        return Sent(
            at=from_milliseconds(at),
            kind=str(fields["kind"]),
            chat=str(fields["chat"]),
            line=str(fields["line"]),
            fingerprint=str(fields["fp"]),
            occurrences=int(fields["n"]),
            how=str(fields["how"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
