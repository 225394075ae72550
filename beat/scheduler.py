"""RedBeat, traced: every firing is the root of a trace, every tick a metric, and a start may sweep at once."""

from __future__ import annotations

import logging
import sys
import time
from datetime import timedelta
from functools import cached_property
from typing import Any

from celery.beat import SchedulingError
from opentelemetry import trace
from redbeat.schedulers import RedBeatScheduler, get_redis

from beat.schedule import sweep_entries
from beat.watch import WorkerWatch
from settings import get_settings
from storage.redis import RedisUnavailable, check_redis_sync
from telemetry import systemd
from telemetry.instruments import beat_entry_failed, beat_entry_last_sent, beat_last_tick
from telemetry.pulse import SLOWEST_TURN_SECONDS, Pulse

log = logging.getLogger(__name__)
# By how much a clock may be set back without being noticed, and an entry be due late for that.
CLOCK_STEP_SECONDS = 30.0
_tracer = trace.get_tracer("autotrader")


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """The beat's scheduler; only the holder of the Redis lock ever ticks."""

    _swept_at_start = False
    # how far the wall clock was ahead of the monotonic one at the last tick
    _ahead: float | None = None
    # made at the first tick: a stand-by that never ticks looks after nobody
    _workers = cached_property(lambda _: WorkerWatch(get_settings()))
    _pulse = cached_property(
        lambda _: Pulse("the beat", get_settings().watchdog_seconds + SLOWEST_TURN_SECONDS, excused=_redis_is_silent)
    )

    def setup_schedule(self) -> None:
        """RedBeat's first look at Redis; one that is away ends the process with one line."""
        try:
            check_redis_sync(get_settings().redis_url)
        except RedisUnavailable as error:
            sys.exit(f"autotrader: {error}")
        super().setup_schedule()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self._pulse.beat()
        self._follow_clock()
        if not self._swept_at_start:
            self._swept_at_start = True
            if get_settings().sweep_at_start:
                self._sweep_now()
        seconds: float = super().tick(*args, **kwargs)
        beat_last_tick.set(time.time())
        return min(seconds, self._workers.look())

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send one entry, under a span of its own. One that cannot be sent is counted and waits for its next time."""
        self._pulse.beat()
        with _tracer.start_as_current_span(f"beat {entry.name}") as span:
            span.set_attribute("celery.beat.entry", entry.name)
            try:
                result = super().apply_async(entry, producer=producer, advance=advance, **kwargs)
            except Exception:
                beat_entry_failed.add(1, {"entry": entry.name})
                raise
        beat_entry_last_sent.set(time.time(), {"entry": entry.name})
        return result

    def close(self) -> None:
        systemd.stopping()
        self._pulse.rest()
        super().close()

    def _follow_clock(self) -> None:
        """Make due again what a clock that was ahead has put off: at the first tick, and whenever it is set back.

        RedBeat keeps in Redis when each entry last ran and is due next. Where that is in the future, which a machine
        without a battery clock writes until it knows the time, nothing of it runs until then.
        """
        before, self._ahead = self._ahead, time.time() - time.monotonic()
        if before is not None and before - self._ahead <= CLOCK_STEP_SECONDS:
            return
        now = self.app.now()
        latest = now + timedelta(seconds=CLOCK_STEP_SECONDS)
        client, key = get_redis(self.app), self.app.redbeat_conf.schedule_key
        put_off = []
        for name, score in client.zrange(key, 0, -1, withscores=True):
            try:
                entry = self.Entry.from_key(name, app=self.app)
            except KeyError:
                continue  # RedBeat removes what is no entry
            if entry.last_run_at is not None and entry.last_run_at > latest:
                put_off.append(entry.name)
                entry.reschedule(now)
            elif entry.score + CLOCK_STEP_SECONDS < score:
                # overdue by the wrong clock, it was put down for what that called now
                client.zadd(key, {entry.key: entry.score})
        if put_off:
            log.error(
                "the clock was set back: %d entries that had last run in its future count from now (%s)",
                len(put_off),
                ", ".join(sorted(put_off)),
            )

    def _sweep_now(self) -> None:
        """Sweep every market once; the slot's row makes a sweep that has run already a counted duplicate."""
        for name, definition in sweep_entries(get_settings()).items():
            entry = self.Entry(name=name, app=self.app, **definition)
            try:
                self.apply_async(entry, advance=False)
            except SchedulingError:
                log.exception("the sweep at start of %s could not be sent; its schedule goes on", name)


def _redis_is_silent() -> bool:
    """Whether Redis answers nobody, so that it is no fault of the beat to wait for it."""
    try:
        check_redis_sync(get_settings().redis_url)
    except RedisUnavailable:
        return True
    return False
