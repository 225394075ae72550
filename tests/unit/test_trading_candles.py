"""Candles are checked before anything is computed from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from trading.candles import check, check_fresh, closes, columns
from trading.errors import BadCandles
from trading.types import Candle

START = datetime(2026, 1, 1, tzinfo=UTC)


def rising(count: int) -> list[Candle]:
    return [
        Candle(
            START + timedelta(days=n),
            Decimal(100 + n),
            Decimal(102 + n),
            Decimal(99 + n),
            Decimal(101 + n),
            Decimal(1000 + n),
        )
        for n in range(count)
    ]


def test_sound_candles_pass() -> None:
    check(rising(60), symbol="KRW-BTC", needed=60)
    check([], symbol="KRW-BTC", needed=0)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"close": Decimal("NaN")}, "close is NaN"),
        ({"volume": Decimal("NaN")}, "volume is NaN"),
        ({"high": Decimal("Infinity")}, "high is infinite"),
        ({"open": Decimal(0)}, "open is 0"),
        ({"low": Decimal(-5)}, "low is -5"),
        ({"volume": Decimal(-1)}, "volume is negative (-1)"),
        ({"low": Decimal(200)}, "low 200 is above high 107"),
        ({"time": START + timedelta(days=4)}, "time does not increase"),
        ({"time": START}, "time does not increase"),
        ({"time": datetime(2026, 1, 6)}, "time has no zone"),  # noqa: DTZ001
    ],
)
def test_a_fault_is_one_line_with_symbol_row_fault_and_cure(change: dict[str, object], fault: str) -> None:
    candles = rising(10)
    candles[5] = replace(candles[5], **change)  # type: ignore[arg-type]
    with pytest.raises(BadCandles) as caught:
        check(candles, symbol="005930", needed=5)
    message = str(caught.value)
    assert message.startswith(f"005930: candle of {candles[5].time.isoformat()}: ")
    assert fault in message
    assert "take 005930 out of the settings" in message
    assert "\n" not in message


def test_too_few_candles_says_how_many_there_are_and_how_many_it_takes() -> None:
    with pytest.raises(BadCandles, match=r"^AAPL: too few candles: has 59, needs 60, the last of 2026-02-28"):
        check(rising(59), symbol="AAPL", needed=60)
    with pytest.raises(BadCandles, match="has 0, needs 1;"):
        check([], symbol="AAPL", needed=1)


def test_the_columns_keep_the_order_of_the_candles() -> None:
    bars = columns(rising(3))
    assert bars.open.tolist() == [100, 101, 102]
    assert bars.high.tolist() == [102, 103, 104]
    assert bars.low.tolist() == [99, 100, 101]
    assert bars.close.tolist() == [101, 102, 103]
    assert bars.volume.tolist() == [1000, 1001, 1002]
    assert closes(rising(3)).dtype == "float64"


def test_candles_that_ended_long_ago_are_stale_and_no_holiday_is_as_long() -> None:
    rows = rising(3)
    newest = rows[-1].time
    check_fresh(rows, symbol="AAPL", now=newest + timedelta(days=12))
    with pytest.raises(BadCandles, match="AAPL: stale candles: the newest is of"):
        check_fresh(rows, symbol="AAPL", now=newest + timedelta(days=13))
