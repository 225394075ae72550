"""A clock that was ahead and is set back: what RedBeat keeps in Redis of that future puts nothing off."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from redis import Redis

from beat import scheduler
from beat.scheduler import Scheduler
from sandbox.local import LocalRedis
from settings import Settings

EVERY = timedelta(seconds=30)
AHEAD = timedelta(hours=6)


class Clock:
    """This process's clock; `ahead` is how many seconds it is ahead of the true time."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.monotonic = time.monotonic

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(scheduler, "time", clock)
    return clock


@pytest.fixture
def app(redis_server: LocalRedis) -> Celery:
    with Redis.from_url(redis_server.url) as client:
        client.flushdb()
    app = Celery("test", broker=redis_server.url, set_as_current=False)
    app.conf.update(
        redbeat_redis_url=redis_server.url,
        redbeat_key_prefix="test:",
        beat_max_loop_interval=5,
        task_default_queue="test-beat",
        task_ignore_result=True,
        beat_schedule={
            "guard": {"task": "guard", "schedule": schedule(EVERY)},
            "report": {"task": "report", "schedule": crontab(minute="0")},
        },
    )
    return app


def beat_of(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    """A beat that holds the lock and has swept."""
    own = Settings(_env_file=None, redis_url=app.conf.redbeat_redis_url)
    monkeypatch.setattr(scheduler, "get_settings", lambda: own)
    monkeypatch.setattr(Scheduler, "_pulse", SimpleNamespace(beat=lambda: None, rest=lambda: None))
    beat = Scheduler(app=app)
    beat.lock_key, beat._swept_at_start = None, True
    return beat


def ran_at(app: Celery, at: datetime, *names: str) -> None:
    """Write down that these ran at that time, as the beat does when it sends them."""
    for name in names:
        Scheduler.Entry.from_key(f"test:{name}", app=app).reschedule(at)


def last_run(app: Celery, name: str) -> datetime:
    found: datetime = Scheduler.Entry.from_key(f"test:{name}", app=app).last_run_at
    return found


def due_in(app: Celery, name: str) -> float:
    """Seconds until RedBeat looks at the entry again."""
    score = Redis.from_url(app.conf.redbeat_redis_url).zscore("test::schedule", f"test:{name}")
    assert isinstance(score, float)
    return score - time.time()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_a_clock_that_is_set_back_puts_off_no_entry(
    app: Celery, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beat = beat_of(app, monkeypatch)
    clock.ahead = AHEAD.total_seconds()
    beat.tick()
    ran_at(app, datetime.now(UTC) + AHEAD, "guard", "report")
    assert due_in(app, "guard") > 3600
    beat.tick()
    assert due_in(app, "guard") > 3600, "the clock was not set back yet"
    assert errors(caplog) == []

    clock.ahead = 0.0
    beat.tick()
    assert due_in(app, "guard") <= EVERY.total_seconds()
    assert due_in(app, "report") <= 3600
    assert abs(datetime.now(UTC) - last_run(app, "guard")) < timedelta(minutes=2)
    [line] = errors(caplog)
    assert "set back" in line
    assert "guard, report" in line
    beat.tick()
    assert len(errors(caplog)) == 1


def test_a_beat_that_starts_after_it_puts_off_no_entry(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beat_of(app, monkeypatch)
    ran_at(app, datetime.now(UTC) + AHEAD, "guard")
    true = last_run(app, "report")
    beat = beat_of(app, monkeypatch)
    assert due_in(app, "guard") > 3600
    beat.tick()
    assert due_in(app, "guard") <= EVERY.total_seconds()
    assert last_run(app, "report") == true, "what is not in the future stays as it is"
    assert "guard" in errors(caplog)[0]


def test_what_was_overdue_by_the_wrong_clock_is_due(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beat = beat_of(app, monkeypatch)
    ran_at(app, datetime.now(UTC) - EVERY * 2, "guard")
    # stored anew while the clock was ahead: due at what was then called now
    with Redis.from_url(app.conf.redbeat_redis_url) as client:
        client.zadd("test::schedule", {"test:guard": time.time() + AHEAD.total_seconds()})
        beat.tick()
        assert client.llen("test-beat") == 1
        client.flushdb()
    assert errors(caplog) == []
