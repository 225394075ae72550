"""The beat looks after the workers: one that gives no sign is told of, and told of again when it is back.

Needs Redis only, so it works while PostgreSQL is away, which silences the workers' heartbeats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from redis import RedisError

from notifications import life_texts
from notifications.alert import Alert, system_event
from notifications.ledger import Recorded
from notifications.recorder import HookRecorder, connect
from notifications.silence import LONGEST_PAUSE_SECONDS, Silence
from notifications.spool import spool_of
from notifications.words import words
from settings import MARKETS, Settings
from storage.redis import BEAT_TICK_KEY, HEARTBEAT_KEY, SILENT_KEY

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
SHORTEST_LOOK_SECONDS = 0.05
TIMEOUT_SECONDS = 1.0
KEEP_SECONDS = 86_400


class WorkerWatch:
    """Called at every tick of the beat that holds the lock. Never raises for Redis."""

    def __init__(self, settings: Settings) -> None:
        self._markets = [market for market in MARKETS if settings.symbols(market)]
        self._redis = connect(settings.redis_url, TIMEOUT_SECONDS)
        self._recorder = HookRecorder(settings.redis_url, spool=spool_of(settings))
        self._tells = settings.telegram_enabled
        self._words = words(settings.notify_language)
        self._looked = time.time()
        patience = settings.worker_silent_seconds
        self._silences = {market: Silence(patience, self._looked) for market in self._markets}

    def look(self) -> float:
        """Leave the sign that the beat lives, and tell of workers; returns in how many seconds to look again."""
        now = time.time()
        # backwards too: a clock that was ahead is set right
        if abs(now - self._looked) > LONGEST_PAUSE_SECONDS:
            self._begin_anew(now)
        self._looked = now
        keys = [key.format(market=market, process=f"worker-{market}") for market in self._markets
                for key in (HEARTBEAT_KEY, SILENT_KEY)]  # fmt: skip
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(BEAT_TICK_KEY, f"{now:.3f}", ex=KEEP_SECONDS)
            if keys:
                pipeline.mget(keys)
            found: Sequence[Any] = pipeline.execute()[1] if keys else []
            return self._judge(found, now)
        except (RedisError, OSError):
            # the beat itself says that Redis is away; what was not seen is no silence
            self._begin_anew(now)
            return LOOK_SECONDS

    def _judge(self, found: Sequence[Any], now: float) -> float:
        again = LOOK_SECONDS
        for market, beaten, told_of in zip(self._markets, found[::2], found[1::2], strict=True):
            last, told = float(beaten or 0), None if told_of is None else float(told_of)
            verdict = self._silences[market].verdict(last, told, now)
            if verdict == "silent":
                self._tell_silent(market, last, now)
            elif verdict == "back":
                self._tell_back(market, last, now)
            elif told is None:
                again = min(again, self._silences[market].due_in(last, now))
        return max(again, SHORTEST_LOOK_SECONDS)

    def _tell_silent(self, market: str, last: float, now: float) -> None:
        at = datetime.fromtimestamp(now, UTC)
        log.critical("the worker of %s gave no sign since %s", market, shown(last))
        silent = max(now - last, 0) if last else 0
        message = life_texts.worker_silent(self._words, market, last=last, silent=silent, at=at)
        told = self._record(system_event(f"worker_silent:{market}:{last:.3f}:{now:.0f}", message, at))
        # after the recording: told twice rather than not at all
        if told:
            self._redis.set(SILENT_KEY.format(process=f"worker-{market}"), f"{last:.3f}")

    def _tell_back(self, market: str, last: float, now: float) -> None:
        at = datetime.fromtimestamp(now, UTC)
        log.warning("the worker of %s is back", market)
        message = life_texts.worker_back(self._words, market, at=at)
        if self._record(system_event(f"worker_back:{market}:{last:.3f}", message, at)):
            self._redis.delete(SILENT_KEY.format(process=f"worker-{market}"))

    def _record(self, alert: Alert) -> bool:
        """Whether nothing more is to be done to have it told."""
        return not self._tells or self._recorder.record(alert) is not Recorded.LOST

    def _begin_anew(self, now: float) -> None:
        for silence in self._silences.values():
            silence.begin_anew(now)


def shown(last: float) -> str:
    """A Unix time for the log."""
    return f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M:%SZ}" if last else "its start"
