from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab, schedule

from beat.schedule import every, slot, static_schedule, sweep_entries
from settings import Settings


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


def test_a_slot_is_the_period_a_message_was_published_in() -> None:
    at = datetime(2026, 11, 21, 22, 47, 13, tzinfo=UTC)
    assert slot(at, 30) == datetime(2026, 11, 21, 22, 30, tzinfo=UTC)
    assert slot(at, 60) == datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
    assert slot(at + timedelta(minutes=12), 30) == slot(at, 30)
    assert slot(at + timedelta(minutes=13), 30) != slot(at, 30)


def test_a_market_swept_only_at_start_may_be_swept_at_every_start() -> None:
    at = datetime(2026, 11, 21, 22, 47, 13, 900_000, tzinfo=UTC)
    assert slot(at, 0) == datetime(2026, 11, 21, 22, 47, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (5, crontab(minute="*/5")),
        (60, crontab(minute="*/60")),
        (240, crontab(minute="0", hour="*/4")),
        (7, schedule(timedelta(minutes=7))),
        (1440, crontab(minute="0", hour="*/24")),
    ],
)
def test_a_period_runs_on_the_clock_where_it_divides_the_day(minutes: int, expected: schedule) -> None:
    assert every(minutes) == expected


def test_every_sweep_goes_to_its_markets_queue_and_expires_with_its_period() -> None:
    entries = static_schedule(settings(kis_sweep_minutes=15))
    assert entries["sweep-kis"]["options"] == {"queue": "kis", "expires": 900}
    assert entries["sweep-kis"]["args"] == ("kis",)


def test_a_period_of_0_leaves_the_sweep_to_the_start() -> None:
    only_start = settings(upbit_sweep_minutes=0)
    assert "sweep-upbit" not in static_schedule(only_start)
    assert "sweep-upbit" in sweep_entries(only_start)


def test_a_market_without_symbols_is_not_scheduled() -> None:
    entries = static_schedule(settings(yfinance_symbols=""))
    assert not [name for name in entries if "yfinance" in name]
