"""Alerts that were given up, from the ledger into PostgreSQL, where a full or restarted Redis does not lose them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from redis import RedisError

from notifications.ledger import Dead, Ledger
from storage.dead_letters import DeadLetter, keep, unseen
from storage.direct import DatabaseUnavailable
from telemetry.instruments import alerts_dead
from telemetry.redaction import redact

log = logging.getLogger(__name__)

MOVE_SECONDS = 5.0
# How often the database is asked how many are unseen when there is nothing to move.
COUNT_SECONDS = 300.0


class DeadLetters:
    """Moves what is dead, and sets how many of them nobody has seen."""

    def __init__(self, ledger: Ledger, database_url: str, secrets: Iterable[str]) -> None:
        self._ledger = ledger
        self._database_url = database_url
        self._secrets = tuple(secrets)
        self._unseen = 0
        self._away = False
        self._count_in = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(MOVE_SECONDS)

    async def look(self) -> None:
        """Move what there is. What cannot be moved stays where it is, and is counted all the same."""
        self._count_in -= MOVE_SECONDS
        try:
            letters = await self._ledger.dead_letters()
        except (RedisError, OSError, TimeoutError):
            return  # the lanes say that Redis is away
        left = len(letters)
        try:
            if letters:
                await keep(self._database_url, [self._letter(letter) for letter in letters])
                for letter in letters:
                    await self._ledger.forget_dead(letter)
                log.warning("%d alerts that were given up are kept: autotrader alerts dead", left)
                left = 0
            if self._count_in <= 0 or letters:
                self._unseen = await unseen(self._database_url)
                self._count_in = COUNT_SECONDS
        except DatabaseUnavailable as error:
            if not self._away and letters:
                log.error("dead letters stay in Redis, the database does not take them: %s", error)  # noqa: TRY400
            self._away = True
        except (RedisError, OSError, TimeoutError):
            return
        else:
            self._away = False
        alerts_dead.set(self._unseen + left)

    def _letter(self, dead: Dead) -> DeadLetter:
        return DeadLetter(
            id=dead.id,
            died_at=dead.died_at,
            fingerprint=dead.fingerprint,
            kind=dead.kind,
            payload=_storable(redact(dead.payload, self._secrets)),
            attempts=dead.attempts,
            occurrences=dead.occurrences,
            first_at=dead.first,
            last_at=dead.last,
            reason=_storable(redact(dead.reason, self._secrets)),
        )


def _storable(text: str) -> str:
    """PostgreSQL has no character 0."""
    return text.replace("\x00", "\ufffd")
