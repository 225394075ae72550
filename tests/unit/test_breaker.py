"""The circuit breaker: real losses of the whole account, by KST day and week, the same however often it is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trading.breaker import Equity, Flow, LossLimits, breaker
from trading.state import State, TradingState

# a Wednesday, 10:00 in Korea
NOW = datetime(2026, 11, 25, 1, tzinfo=UTC)
# 00:00 KST of that day, of its Monday, and of the days after
MIDNIGHT = datetime(2026, 11, 24, 15, tzinfo=UTC)
MONDAY = datetime(2026, 11, 22, 15, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = LossLimits()


def at(hours: float, total: Any) -> Equity:
    """Equity so many hours after midnight of today."""
    return Equity(MIDNIGHT + timedelta(hours=hours), Decimal(total))


def ask(points: list[Equity], flows: list[Flow] | None = None, now: datetime = NOW, **more: Any) -> TradingState | None:
    return breaker(points, flows or [], LIMITS, now, **more)


def test_below_the_limit_nothing_is_written() -> None:
    assert ask([at(-1, 1000), at(5, 901)]) is None
    assert ask([]) is None
    assert ask([at(1, 1000)]) is None


def test_a_daily_loss_reduces_until_midnight_in_korea() -> None:
    row = ask([at(-1, 1000), at(5, 900)], market="upbit")
    assert row is not None
    assert (row.state, row.until, row.market, row.symbol) == (State.REDUCING, MIDNIGHT + DAY, "upbit", None)
    assert row.reason == "circuit breaker: daily loss 10.00% at 2026-11-24T20:00:00+00:00, the limit is 10.00%"


def test_a_weekly_loss_reduces_until_monday_in_korea() -> None:
    row = ask([at(-50, 1000), at(-20, 930), at(-10, 925), at(5, 850)])
    assert row is not None
    assert row.until == MONDAY + 7 * DAY
    assert "weekly loss 15.00%" in row.reason


def test_yesterdays_loss_is_not_todays() -> None:
    assert ask([at(-10, 1000), at(-1, 890), at(5, 880)]) is None


def test_the_day_turns_at_midnight_in_korea_not_in_london() -> None:
    points = [at(-1, 1000), at(5, 890)]
    assert ask(points, now=MIDNIGHT + timedelta(hours=23, minutes=59)) is not None
    assert ask(points, now=MIDNIGHT + DAY) is None


def test_a_loss_is_weighed_by_the_whole_account() -> None:
    # a tenth of the account loses half: five percent, not fifty
    assert ask([at(-1, 1000), at(5, 950)]) is None


def test_a_withdrawal_is_no_loss_and_a_deposit_hides_none() -> None:
    assert ask([at(-1, 1000), at(5, 400)], [Flow(MIDNIGHT, Decimal(-600))]) is None
    hidden = [at(-1, 1000), at(2, 900), at(5, 9900)]
    assert ask(hidden, [Flow(MIDNIGHT + timedelta(hours=3), Decimal(9000))]) is not None


def test_a_recovery_does_not_close_the_breaker_within_the_day() -> None:
    broken = [at(-1, 1000), at(2, 880)]
    assert ask([*broken, at(5, 1100)]) == ask(broken)


def test_resuming_starts_the_periods_anew() -> None:
    points = [at(-1, 1000), at(2, 880), at(3, 870)]
    resumed = MIDNIGHT + timedelta(hours=2, minutes=30)
    assert ask(points, resumed_at=resumed) is None
    assert ask([*points, at(5, 790)], resumed_at=resumed) is not None


def test_an_empty_account_is_neither_won_nor_lost() -> None:
    assert ask([at(-1, 0), at(5, 0)]) is None
    assert ask([at(-1, 0), at(5, 1000)], [Flow(MIDNIGHT, Decimal(1000))]) is None
    assert ask([at(-1, 1000), at(5, 0)]) is not None


def test_switched_off_limits_never_break() -> None:
    off = LossLimits(daily_loss=None, weekly_loss=None)
    assert breaker([at(-1, 1000), at(5, 1)], [], off, NOW) is None


equities = st.lists(
    st.builds(at, st.integers(-58, 10), st.integers(0, 1000)), max_size=12, unique_by=lambda point: point.at
)


@given(equities, st.integers(0, 12))
def test_asking_again_gives_the_same_row_or_a_longer_one(points: list[Equity], hours: int) -> None:
    first = ask(points)
    assert ask(points) == first
    assert ask(list(reversed(points))) == first
    later = ask(points, now=NOW + timedelta(hours=hours))
    if first is not None:
        assert later is not None
        assert later == first
        more = ask([*points, at(10.5, 1)])
        assert more is not None
        assert more.until is not None
        assert first.until is not None
        assert more.until >= first.until


@given(equities)
def test_a_greater_limit_never_breaks_first(points: list[Equity]) -> None:
    wide = LossLimits(daily_loss=Decimal("0.2"), weekly_loss=Decimal("0.3"))
    if breaker(points, [], wide, NOW) is not None:
        assert ask(points) is not None
