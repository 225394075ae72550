"""What replies prove of this machine's clock: never more than is true, whatever the network does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.clock import PROOF, REPLIES, WINDOW, ClockWatch, parse_date

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ZERO = timedelta(0)


@dataclass(frozen=True)
class Exchange:
    """A request begun `at` after NOW by our clock, with how long it and its reply were under way."""

    at: timedelta
    out: timedelta = timedelta(milliseconds=10)
    back: timedelta = timedelta(milliseconds=10)


def hear(watch: ClockWatch, offset: timedelta, exchange: Exchange, venue: str = "upbit") -> datetime:
    """The watch hears a venue whose clock is `offset` ahead of ours; returns when, by ours."""
    sent = NOW + exchange.at
    # a Date has whole seconds, the rest is cut off
    date = (sent + exchange.out + offset).replace(microsecond=0)
    received = sent + exchange.out + exchange.back
    watch.hear(venue, {"Date": format_datetime(date, usegmt=True)}, sent, received)
    return received


def heard(offset: timedelta, count: int = 20, venue: str = "upbit", watch: ClockWatch | None = None) -> ClockWatch:
    """A watch that heard `count` quick replies, spread over the phases of a second."""
    watch = watch or ClockWatch()
    for number in range(count):
        hear(watch, offset, Exchange(number * timedelta(seconds=1.07)), venue)
    return watch


offsets = st.timedeltas(timedelta(hours=-2), timedelta(hours=2))
delays = st.timedeltas(ZERO, timedelta(seconds=20))
exchanges = st.builds(Exchange, st.timedeltas(ZERO, timedelta(minutes=8)), delays, delays)


@settings(deadline=None)
@given(offsets, st.lists(exchanges, min_size=1, max_size=30))
def test_no_more_is_ever_proven_than_the_clock_is_off(offset: timedelta, made: list[Exchange]) -> None:
    watch = ClockWatch()
    for exchange in made:
        now = hear(watch, offset, exchange)
        proven = watch.offset(now)
        if proven is not None:
            # the same direction, and not further: the true offset is among those left
            assert (proven > ZERO) == (offset > ZERO)
            assert abs(proven) <= abs(offset)


@settings(deadline=None)
@given(st.lists(exchanges, min_size=1, max_size=30))
def test_no_delay_of_the_network_makes_a_right_clock_look_wrong(made: list[Exchange]) -> None:
    watch = ClockWatch()
    for exchange in made:
        assert watch.offset(hear(watch, ZERO, exchange)) is None


@pytest.mark.parametrize("seconds", [3.1, -3.1, 2.2, -2.2, 86_400])
def test_quick_replies_soon_prove_an_offset_to_a_tenth_of_a_second(seconds: float) -> None:
    offset = timedelta(seconds=seconds)
    proven = heard(offset).offset(NOW)
    assert proven is not None
    assert ZERO <= abs(offset) - abs(proven) < timedelta(seconds=0.1)
    assert (proven > ZERO) == (seconds > 0)


def test_one_reply_alone_or_two_prove_nothing() -> None:
    assert ClockWatch().offset(NOW) is None
    assert heard(timedelta(hours=1), PROOF - 1).offset(NOW) is None
    assert heard(timedelta(hours=1), PROOF).offset(NOW) is not None


def test_a_clock_that_was_corrected_is_believed_at_the_next_replies() -> None:
    watch = heard(5 * SECOND)
    assert watch.offset(NOW) is not None
    hear(watch, ZERO, Exchange(30 * SECOND))
    assert watch.offset(NOW) is None
    heard(ZERO, watch=watch)
    assert watch.offset(NOW) is None
    # and one that is set wrong is noticed
    heard(-4 * SECOND, watch=watch)
    assert watch.offset(NOW) is not None


def test_a_clock_that_is_set_back_while_a_reply_is_awaited_voids_what_was_heard() -> None:
    watch = heard(5 * SECOND)
    sent = NOW + 30 * SECOND
    watch.hear("upbit", {"Date": format_datetime(sent, usegmt=True)}, sent, sent - timedelta(minutes=1))
    assert watch.offset(NOW) is None


def test_what_was_heard_ten_minutes_ago_counts_no_more() -> None:
    watch = heard(5 * SECOND)
    assert watch.offset(NOW + WINDOW) is not None
    assert watch.offset(NOW + WINDOW + 30 * SECOND) is None
    # the clock of the caller jumped
    assert watch.offset(NOW - WINDOW - 30 * SECOND) is None


def test_the_memory_is_bounded() -> None:
    watch = heard(5 * SECOND, count=3 * REPLIES)
    assert len(watch._heard["upbit"]) == REPLIES


def test_one_venues_wrong_clock_is_not_taken_for_ours() -> None:
    watch = heard(5 * SECOND, venue="upbit")
    heard(ZERO, venue="kis", watch=watch)
    assert watch.offset(NOW) is None
    # as wrong the other way is no agreement either
    watch = heard(5 * SECOND, venue="upbit")
    heard(-5 * SECOND, venue="kis", watch=watch)
    assert watch.offset(NOW) is None


def test_two_venues_prove_what_both_of_them_prove() -> None:
    watch = heard(5 * SECOND, venue="upbit")
    heard(4 * SECOND, venue="kis", watch=watch)
    heard(ZERO, venue="yfinance", watch=watch)
    proven = watch.offset(NOW)
    assert proven is not None
    assert timedelta(seconds=3.9) < proven <= 4 * SECOND


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": ""},
        {"Date": "today"},
        {"Date": "Mon, 30 Feb 2026 00:00:00 GMT"},
        {"Date": "Mon, 23 Nov 2026 02:00:00 -0000"},
        {"Date": "Mon, 23 Nov 99999 02:00:00 GMT"},
        # out of a cache: it has the date it was stored with
        {"Date": "Mon, 23 Nov 2026 00:00:00 GMT", "Age": "3600"},
    ],
)
def test_a_reply_without_a_date_of_its_own_says_nothing(headers: dict[str, str]) -> None:
    watch = ClockWatch()
    for _ in range(PROOF):
        watch.hear("upbit", headers, NOW, NOW)
    assert watch.offset(NOW) is None
    assert watch._heard == {}


@settings(deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,5} [A-Z][a-z]{2} \d{1,6} \d+:\d+:\d+ \S{0,6}"))
def test_no_header_is_more_than_refused(header: str) -> None:
    date = parse_date(header)
    assert date is None or date.tzinfo is UTC


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_date_is_read_as_it_was_written(timestamp: int) -> None:
    whole = datetime.fromtimestamp(timestamp, UTC)
    assert parse_date(format_datetime(whole, usegmt=True)) == whole
