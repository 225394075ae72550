"""Market sessions: the questions the sweep asks, and the data against the calendar library."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from beat.generate_sessions import EXCHANGES, FIRST, LAST, Exchange, build, overrides
from beat.sessions import DATA, FILES, is_open, load

# exchange_calendars uses what the next pandas will change
pytestmark = pytest.mark.filterwarnings("ignore:Series.values")

SEOUL = ZoneInfo("Asia/Seoul")
NEW_YORK = ZoneInfo("America/New_York")


def seoul(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SEOUL)


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def test_upbit_never_closes() -> None:
    for moment in (seoul("2026-11-21T03:00"), seoul("2027-01-01T00:00"), seoul("2099-12-31T23:59")):
        assert is_open("upbit", moment).open


@pytest.mark.parametrize(
    ("at", "open_", "reason"),
    [
        ("2026-11-23T08:59:59", False, "closed: opens at 2026-11-23T09:00+09:00"),
        ("2026-11-23T09:00", True, "open until 2026-11-23T15:30+09:00"),
        ("2026-11-23T15:29:59", True, "open until 2026-11-23T15:30+09:00"),
        ("2026-11-23T15:30", False, "closed: closed at 2026-11-23T15:30+09:00"),
        ("2026-11-21T11:00", False, "closed: 2026-11-21 is a Saturday"),
        ("2027-01-01T11:00", False, "closed: 2027-01-01 is New Year's Day"),
        ("2026-06-03T11:00", False, "closed: 2026-06-03 is Local elections"),
        ("2026-07-17T11:00", False, "closed: 2026-07-17 is Constitution Day"),
        ("2026-01-02T09:30", False, "closed: opens at 2026-01-02T10:00+09:00 (First trading day of the year)"),
        ("2026-11-19T09:30", False, "closed: opens at 2026-11-19T10:00+09:00 (College Scholastic Ability Test)"),
        ("2026-11-19T16:00", True, "open until 2026-11-19T16:30+09:00 (College Scholastic Ability Test)"),
    ],
)
def test_krx_says_whether_it_is_open_and_why(at: str, open_: bool, reason: str) -> None:
    session = is_open("kis", seoul(at))
    assert (session.open, session.reason) == (open_, reason)


@pytest.mark.parametrize(
    ("at", "open_", "reason"),
    [
        ("2026-11-23T09:29", False, "closed: opens at 2026-11-23T09:30-05:00"),
        ("2026-07-01T09:30", True, "open until 2026-07-01T16:00-04:00"),
        ("2026-11-26T11:00", False, "closed: 2026-11-26 is Thanksgiving"),
        ("2026-11-27T12:59", True, "open until 2026-11-27T13:00-05:00 (Early close)"),
        ("2026-11-27T13:00", False, "closed: closed at 2026-11-27T13:00-05:00 (Early close)"),
        ("2026-11-22T11:00", False, "closed: 2026-11-22 is a Sunday"),
    ],
)
def test_the_us_market_says_whether_it_is_open_and_why(at: str, open_: bool, reason: str) -> None:
    session = is_open("yfinance", new_york(at))
    assert (session.open, session.reason) == (open_, reason)


def test_the_day_is_the_one_of_the_market_not_of_the_caller() -> None:
    # Sunday evening in UTC is Monday morning in Seoul
    assert is_open("kis", datetime(2026, 11, 23, 0, 30, tzinfo=UTC)).open
    assert (
        is_open("kis", datetime(2026, 11, 22, 23, 59, tzinfo=UTC)).reason == "closed: opens at 2026-11-23T09:00+09:00"
    )
    # and the US session moves by an hour in UTC when daylight saving ends
    assert not is_open("yfinance", datetime(2026, 11, 23, 13, 45, tzinfo=UTC)).open
    assert is_open("yfinance", datetime(2026, 7, 1, 13, 45, tzinfo=UTC)).open


@pytest.mark.parametrize("market", ["kis", "yfinance"])
def test_beyond_the_data_it_is_closed_and_names_the_cure(market: str) -> None:
    late = is_open(market, datetime(2028, 1, 5, 15, 0, tzinfo=UTC))
    assert (late.open, late.reason) == (False, "no session data after 2027-12-31: run python -m beat.generate_sessions")
    early = is_open(market, datetime(2024, 12, 30, 3, 0, tzinfo=UTC))
    assert (early.open, early.reason) == (
        False,
        "no session data before 2025-01-01: run python -m beat.generate_sessions",
    )


def test_an_unknown_market_or_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of upbit, kis, yfinance"):
        is_open("nasdaq", datetime(2026, 11, 23, tzinfo=UTC))
    with pytest.raises(ValueError, match="has no time zone"):
        is_open("kis", datetime(2026, 11, 23))  # noqa: DTZ001


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.key)
def test_the_files_are_what_the_generator_writes(exchange: Exchange) -> None:
    written = json.loads((DATA / f"{exchange.key}.json").read_text(encoding="utf-8"))
    assert written == build(exchange, overrides(exchange.key))


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.key)
def test_the_data_differ_from_the_calendar_library_by_the_overrides_alone(exchange: Exchange) -> None:
    import exchange_calendars

    # wider than ours, as the library answers only for days between its first and its last session
    library = exchange_calendars.get_calendar(exchange.code, start="2024-12-02", end="2028-01-31")
    ours = load(f"{exchange.key}.json")
    differing: set[str] = set()
    for offset in range((LAST - FIRST).days + 1):
        day: date = FIRST + timedelta(days=offset)
        hours = ours.hours(day)
        mine = (
            (datetime.combine(day, hours.opens, ours.zone), datetime.combine(day, hours.closes, ours.zone))
            if hours
            else None
        )
        text = str(day)
        theirs = (
            (library.session_open(text).to_pydatetime(), library.session_close(text).to_pydatetime())
            if library.is_session(text)
            else None
        )
        if mine != theirs:
            differing.add(text)
    assert differing == {entry["date"] for entry in overrides(exchange.key)["days"]}


def test_every_override_has_its_source() -> None:
    for exchange in EXCHANGES:
        for entry in overrides(exchange.key)["days"]:
            assert entry["source"]
            assert entry["name"]
            assert entry.get("closed") or (entry["open"] < entry["close"])


def test_asking_for_a_session_loads_no_calendar_library() -> None:
    code = (
        "import sys; from datetime import datetime, UTC; from beat.sessions import is_open; "
        "is_open('kis', datetime.now(UTC)); "
        "sys.exit(any(name in sys.modules for name in ('exchange_calendars', 'pandas', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_every_market_with_hours_has_its_file() -> None:
    for file in FILES.values():
        if file:
            calendar = load(file)
            assert calendar.valid_from < calendar.valid_until
