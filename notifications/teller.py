"""Records messages that are told once: an event has a fingerprint, and a second telling of it is the same event."""

from __future__ import annotations

from datetime import datetime

from redis.asyncio import Redis

from notifications.alert import ONCE_WINDOW_SECONDS, Alert, Kind, current_traceparent
from notifications.ledger import Ledger, Recorded
from notifications.message import Message
from notifications.spool import Spool
from notifications.texts import NO_LINKS, Links, Style
from notifications.words import Language, Mode, words
from telemetry.trace_ids import current_trace_id


class Teller:
    """Writes into the alert ledger over a Redis client that stays the caller's to close.

    Nothing here raises for Redis: a trade is not undone because it could not be told. What Redis does not take goes
    to the `spool`; without one it is logged and counted as lost. Each telling returns None when `enabled` is false.
    """

    def __init__(
        self,
        redis: Redis,
        language: Language,
        *,
        enabled: bool = True,
        mode: Mode = "paper",
        links: Links = NO_LINKS,
        spool: Spool | None = None,
    ) -> None:
        self._ledger = Ledger(redis, spool=spool)
        self._words = words(language)
        self._enabled = enabled
        self._mode: Mode = mode
        self._links = links

    def _style(self, trace_id: str) -> Style:
        return Style(self._words, self._mode, self._links, trace_id or current_trace_id())

    async def _tell(
        self, kind: Kind, fingerprint: str, message: Message, at: datetime, symbol: str, *, summary: str = ""
    ) -> Recorded | None:
        if not self._enabled:
            return None
        return await self._ledger.record(
            Alert(
                fingerprint=fingerprint,
                kind=kind,
                message=message.redacted(()),
                at=at,
                symbol=symbol,
                traceparent=current_traceparent(),
                window_seconds=ONCE_WINDOW_SECONDS,
                once=True,
                summary=summary,
            )
        )
