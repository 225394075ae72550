"""The notifier looks after the beat, which looks after the workers (`beat.watch`), and leaves a sign of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime

from redis import RedisError
from redis.asyncio import Redis

from notifications import life_texts
from notifications.alert import system_event
from notifications.ledger import Ledger, Recorded
from notifications.silence import LONGEST_PAUSE_SECONDS, Silence
from notifications.words import Words
from storage.redis import BEAT_TICK_KEY, NOTIFIER_SIGN_KEY, SILENT_KEY

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
SHORTEST_LOOK_SECONDS = 0.05
SIGN_SECONDS = 3.0
# so long it can be told since when there was none
KEEP_SIGN_SECONDS = 86_400


async def leave_signs(redis: Redis) -> None:
    """Say in Redis that the notifier runs, for those who cannot ask it; until cancelled."""
    while True:
        # a sign that cannot be left is missed by whoever looks for it
        with suppress(RedisError, OSError, TimeoutError):
            await redis.set(NOTIFIER_SIGN_KEY, f"{time.time():.3f}", ex=KEEP_SIGN_SECONDS)
        await asyncio.sleep(SIGN_SECONDS)


class BeatWatch:
    """Tells once that the beat has not ticked for `patience` seconds, and once that it is back."""

    def __init__(self, redis: Redis, ledger: Ledger, words: Words, patience: float) -> None:
        self._redis = redis
        self._ledger = ledger
        self._words = words
        self._key = SILENT_KEY.format(process="beat")
        self._looked = time.time()
        self._silence = Silence(patience, self._looked)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            seconds = await self._look()
            await asyncio.sleep(min(max(seconds, SHORTEST_LOOK_SECONDS), LOOK_SECONDS))

    async def _look(self) -> float:
        now = time.time()
        # backwards too: a clock that was ahead is set right
        if abs(now - self._looked) > LONGEST_PAUSE_SECONDS:
            self._silence.begin_anew(now)
        self._looked = now
        try:
            tick, told = await self._redis.mget(BEAT_TICK_KEY, self._key)
            last = float(tick or 0)
            verdict = self._silence.verdict(last, None if told is None else float(told), now)
            if verdict is not None:
                await self._tell(verdict == "silent", last, now)
        except (RedisError, OSError, TimeoutError):
            self._silence.begin_anew(now)
            return LOOK_SECONDS
        return self._silence.due_in(last, now) if told is None else LOOK_SECONDS

    async def _tell(self, silent: bool, last: float, now: float) -> None:
        at = datetime.fromtimestamp(now, UTC)
        if silent:
            log.critical("the beat has not ticked since %s", datetime.fromtimestamp(last, UTC) if last else "its start")
            message = life_texts.beat_silent(self._words, last=last, silent=max(now - last, 0) if last else 0, at=at)
            recorded = await self._ledger.record(system_event(f"beat_silent:{last:.3f}:{now:.0f}", message, at))
            # after the recording: told twice rather than not at all
            if recorded is not Recorded.LOST:
                await self._redis.set(self._key, f"{last:.3f}")
        else:
            log.warning("the beat ticks again")
            message = life_texts.beat_back(self._words, at=at)
            recorded = await self._ledger.record(system_event(f"beat_back:{now:.0f}", message, at))
            if recorded is not Recorded.LOST:
                await self._redis.delete(self._key)
