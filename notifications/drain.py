"""From the spool on this host's disk into the ledger, once Redis is back. At least once, counted once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from threading import Event

from redis import RedisError

from notifications.recorder import SpoolRecorder
from notifications.spool import Spool, read
from telemetry.instruments import alerts_spooled
from telemetry.redaction import redact

log = logging.getLogger(__name__)

DRAIN_SECONDS = 1.0


def drain(spool: Spool, recorder: SpoolRecorder, stop: Event | None = None) -> int:
    """Record everything that is spooled, or what there is time for until `stop`; returns how many occurrences.

    A file is removed when all of it is recorded, so being killed at any point repeats and loses nothing. Raises
    `RedisError` or `OSError`, with what is left still on disk.
    """
    occurrences = 0
    for path in spool.take():
        try:
            alerts = read(path)
        except FileNotFoundError:
            continue  # another notifier of this host was quicker
        for spooled in alerts:
            if stop is not None and stop.is_set():
                return occurrences
            recorder.record(spooled)
            occurrences += len(spooled.ids)
        spool.finish(path)
    return occurrences


class Drain:
    """Empties the spool of this host as often as something is in it, in a thread, so that no disk holds up the
    sending."""

    def __init__(self, spool: Spool, redis_url: str, secrets: Iterable[str]) -> None:
        self._spool = spool
        self._recorder = SpoolRecorder(redis_url)
        self._secrets = tuple(secrets)
        self._stuck = False
        self._closed = Event()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(DRAIN_SECONDS)

    def close(self) -> None:
        """Close the connections. What is being drained is left where it is: the process waits for the thread."""
        self._closed.set()
        self._recorder.close()

    def _look(self) -> None:
        try:
            waiting = self._spool.waiting()
            alerts_spooled.set(waiting)
            if not waiting:
                return
            drained = drain(self._spool, self._recorder, self._closed)
            alerts_spooled.set(self._spool.waiting())
        except (RedisError, OSError) as error:
            if not self._stuck:
                reason = redact(str(error), self._secrets) or type(error).__name__
                log.warning("the spool %s is kept until Redis takes it (%s)", self._spool.directory, reason)
            self._stuck = True
        else:
            log.info("%d alerts from the spool %s are in the queue now", drained, self._spool.directory)
            self._stuck = False
