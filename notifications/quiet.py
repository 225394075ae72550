"""What is not told now: kinds that are switched off, and what waits for the end of the quiet hours."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, cast

from redis import RedisError, ResponseError
from redis.asyncio import Redis

from notifications.alert import ONCE_WINDOW_SECONDS, Alert, Claim, Contents, Kind, read_payload
from notifications.kinds import INFORMATIVE, Told, Verbosity
from notifications.ledger import PREFIX, Ledger, Recorded
from notifications.message import Priority
from notifications.quiet_hours import QuietHours
from notifications.quiet_texts import Kept, quiet_summary
from notifications.words import Words

log = logging.getLogger(__name__)

REDIS_ERRORS = (RedisError, OSError, TimeoutError)
LOOK_SECONDS = 2.0
KEPT = PREFIX + "quiet:kept"
# Among what is kept: the whole message with the newest picture of each symbol.
PICTURED = "pictured:"
# With the summary no more than make a digest.
PICTURED_SHOWN = 8
# Taken out of `KEPT` to be told: what comes meanwhile is of the next summary.
TELLING = PREFIX + "quiet:telling"

Held = Literal["kept", "off"]


def utc_now() -> datetime:
    """The time, as an aware one."""
    return datetime.now(UTC)


class Quiet:
    """Decides how a message is told, and keeps what waits in Redis until the quiet hours are over."""

    def __init__(
        self,
        redis: Redis,
        ledger: Ledger,
        words: Words,
        verbosity: Verbosity,
        hours: QuietHours | None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._redis = redis
        self._ledger = ledger
        self._words = words
        self._verbosity = verbosity
        self._hours = hours
        self._clock = clock

    def now(self) -> bool:
        """Whether these are quiet hours."""
        return self._hours is not None and self._hours.contain(self._clock())

    def is_off(self, contents: Contents) -> bool:
        """Whether it is not told at all. What is critical always is."""
        return contents.message.priority is not Priority.CRITICAL and self._verbosity.of(contents.kind) is Told.OFF

    def is_silent(self, contents: Contents) -> bool:
        """Whether it comes without a sound."""
        priority = contents.message.priority
        if priority is Priority.CRITICAL:
            return False
        return priority >= Priority.NORMAL or self._verbosity.of(contents.kind) is Told.SILENT or self.now()

    async def hold(self, claim: Claim, contents: Contents) -> Held | None:
        """Whether the claim is not to be sent, and why. What waits was written down before this returns.

        Where Redis does not take it, it is told at once instead.
        """
        if self.is_off(contents):
            return "off"
        # an edit makes no sound, and what is shown already has nothing to wait for
        if claim.message_id is not None or contents.kind not in INFORMATIVE or not self.now():
            return None
        if contents.message.priority is not Priority.NORMAL:
            return None
        line = contents.summary or contents.message.text.partition("\n")[0]
        entry = {
            "kind": contents.kind,
            "line": line if contents.symbol in line else f"{line} {contents.symbol}",
            "n": max(claim.occurrences - claim.shown, 1),
            "at": claim.last.isoformat(),
        }
        # the same claim may be held twice, and counts once
        entries: dict[Any, Any] = {f"{claim.id}:{claim.shown}": json.dumps(entry, ensure_ascii=False)}
        if contents.message.picture:
            whole = {"id": claim.id, "at": contents.at.isoformat(), "payload": claim.payload}
            entries[f"{PICTURED}{contents.kind}:{contents.symbol}"] = json.dumps(whole, ensure_ascii=False)
        try:
            await self._redis.hset(KEPT, mapping=entries)
        except REDIS_ERRORS:
            return None
        return "kept"

    async def watch(self) -> None:
        """Tell what waited once the quiet hours are over; until cancelled."""
        while True:
            # the lanes say when Redis is away
            with suppress(*REDIS_ERRORS):
                if not self.now():
                    await self.tell_what_waited()
            await asyncio.sleep(LOOK_SECONDS)

    async def tell_what_waited(self) -> None:
        """Record one summary of all that waits, and the newest message with a picture of each symbol after it: what an
        earlier picture showed is in the newest, too. Nothing without any. Raises `RedisError`.

        Being killed at any point repeats the recording of the same messages, which the ledger knows, and loses nothing.
        """
        if not await self._redis.exists(TELLING):
            try:
                await self._redis.renamenx(KEPT, TELLING)
            except ResponseError:
                return  # nothing waits
        entries = await self._redis.hgetall(TELLING)
        if not entries:
            return
        told = {_text(name): _text(value) for name, value in entries.items()}
        names = sorted(name for name in told if not name.startswith(PICTURED))
        kept = [_kept(told[name]) for name in names]
        now = self._clock()
        alert = Alert(
            fingerprint="quiet:" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:32],
            kind="quiet_summary",
            message=quiet_summary(self._words, str(self._hours or ""), [one for one in kept if one], now),
            at=now,
            window_seconds=ONCE_WINDOW_SECONDS,
            once=True,
        )
        pictured = [one for name, value in told.items() if name.startswith(PICTURED) and (one := _pictured(value))]
        newest = sorted(pictured, key=lambda one: one.at)[-PICTURED_SHOWN:]
        if Recorded.LOST not in [await self._ledger.record(one) for one in (alert, *newest)]:
            await self._redis.delete(TELLING)


def _pictured(entry: str) -> Alert | None:
    """The message as it was held back, as an alert of its own."""
    try:
        fields: dict[str, Any] = json.loads(entry)
        contents = read_payload(str(fields["payload"]))
        return Alert(
            fingerprint=f"quiet:{fields['id']}",
            kind=cast(Kind, contents.kind),
            message=contents.message,
            at=datetime.fromisoformat(str(fields["at"])),
            symbol=contents.symbol,
            traceparent=contents.traceparent,
            window_seconds=ONCE_WINDOW_SECONDS,
            once=True,
            summary=contents.summary,
        )
    except (KeyError, TypeError, ValueError):
        log.error("a picture of the quiet hours cannot be read: %.120s", entry)  # noqa: TRY400 - one line says it all
        return None


def _kept(entry: str) -> Kept | None:
    try:
        fields: dict[str, Any] = json.loads(entry)
        return Kept(
            str(fields["kind"]), str(fields["line"]), int(fields["n"]), datetime.fromisoformat(str(fields["at"]))
        )
    except (KeyError, TypeError, ValueError):
        log.error("an entry of the quiet hours cannot be read: %.120s", entry)  # noqa: TRY400 - one line says it all
        return None


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
