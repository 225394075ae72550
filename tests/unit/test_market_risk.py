"""The three answers of the market, from candles whose course is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trading.market_risk import MarketRisk, assess, bearish_divergence, falling, flash_crash
from trading.thresholds import Thresholds
from trading.types import Candle

START = datetime(2026, 1, 1, tzinfo=UTC)


def candles(closes: Sequence[float]) -> list[Candle]:
    made = []
    for day, close in enumerate(closes):
        price = Decimal(str(close))
        made.append(Candle(START + timedelta(days=day), price, price, price, price, Decimal(1)))
    return made


def test_a_fall_in_a_day_or_a_week_is_falling() -> None:
    assert falling(candles([100] * 7 + [95])) is True
    assert falling(candles([100] * 7 + [95.1])) is False
    assert falling(candles([100, 98, 96, 94, 92, 90, 88, 85])) is True
    assert falling(candles([100] * 7)) is None


def test_a_flash_crash_is_measured_from_the_highest_of_the_hours_before() -> None:
    assert flash_crash(candles([100, 99, 100, 98, 92])) is True
    assert flash_crash(candles([100, 99, 100, 98, 93])) is False
    assert flash_crash(candles([100, 90])) is None


def test_a_higher_top_with_a_lower_rsi_is_a_divergence() -> None:
    rise = [100 + 3 * day for day in range(30)]
    fall = [rise[-1] - 2 * day for day in range(1, 11)]
    # back up to just above the old top, haltingly
    slow = [170, 174, 171, 177, 174, 181, 178, 185, 182, 188]
    assert bearish_divergence(candles(rise + fall + slow)) is True
    accelerating = [100 * 1.001 ** (day * day / 10) for day in range(60)]
    assert (
        bearish_divergence(
            candles([*accelerating[:30], *[130 - d for d in range(10)], *[140 + 5 * d for d in range(20)]])
        )
        is False
    )
    assert bearish_divergence(candles([100] * 43)) is None


def test_stocks_are_judged_without_bitcoin_and_by_their_day_where_there_are_no_hours() -> None:
    calm = candles([100] * 60)
    assert assess(calm, [], None) == MarketRisk(False, False, False)
    assert assess(calm[:-1] + candles([100] * 59 + [90])[-1:], [], None).flash_crash is True
    assert assess(calm, calm, candles([100] * 3)).reference_falling is None


def test_in_the_first_hours_of_a_session_the_last_day_is_judged_and_what_hours_there_are() -> None:
    calm, crashed = candles([100] * 60), candles([100] * 59 + [92])
    for hours in range(1, 5):
        few = candles([100] * hours)
        assert assess(calm, few, None) == MarketRisk(False, False, False), hours
        assert assess(crashed, few, None).flash_crash is True, hours
        # without either nobody can tell
        assert assess(calm[-1:], few, None).flash_crash is None, hours
    # it opened far above the day before, and fell back to it
    assert assess(calm, candles([110, 100]), None).flash_crash is True
    # five hours are enough, whatever the day before was
    assert assess(crashed, candles([92] * 5), None).flash_crash is False


def test_the_falls_that_count_are_configurable() -> None:
    calm = candles([100.0] * 60)
    crashed, fallen = candles([100] * 59 + [90]), candles([100] * 7 + [90])
    assert assess(calm, crashed, fallen).flash_crash is True
    bold = Thresholds(crash_fall=0.2, reference_day_fall=0.2, reference_week_fall=0.2)
    assert assess(calm, crashed, fallen, bold) == MarketRisk(False, False, False)
    # also where a day is all there is
    assert assess(crashed, [], None, bold).flash_crash is False
