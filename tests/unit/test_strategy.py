"""A strategy comes from a profile; what is unknown or makes no sense is refused by name."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from trading.breaker import LossLimits, loss_limits
from trading.strategy import BadStrategy, SymbolStrategy, strategy


def test_the_base_profile_is_the_documented_default() -> None:
    assert strategy() == SymbolStrategy()
    assert loss_limits() == LossLimits()


def test_the_profiles_go_from_cautious_to_bold() -> None:
    profiles = [strategy(name) for name in ("conservative", "base", "aggressive")]
    stops = [one.stop_loss_rate for one in profiles]
    assert stops == [Decimal("0.03"), Decimal("0.05"), Decimal("0.08")]
    assert [one.min_interval for one in profiles] == [timedelta(hours=hours) for hours in (6, 4, 2)]
    assert loss_limits("conservative").daily_loss == Decimal("0.05")


def test_overrides_may_be_text() -> None:
    made = strategy("conservative", {"levels": "2", "level_value": "10000", "min_interval": "90m", "trailing": True})
    assert (made.levels, made.level_value, made.min_interval, made.trailing) == (
        2,
        Decimal(10000),
        timedelta(minutes=90),
        True,
    )
    assert made.take_profit_rate == Decimal("0.08")
    assert strategy("base", {"take_profit_rate": None}).take_profit_rate is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stop_los_rate": "0.05"}, "unknown setting stop_los_rate: did you mean stop_loss_rate"),
        ({"zzz": 1}, "unknown setting zzz: use one of atr_exits"),
        ({"levels": 5}, "levels is 5: must be 1 to 4"),
        ({"levels": "1.5"}, "levels is '?1.5'?: must be a whole number"),
        ({"levels": True}, "levels is True: must be a number"),
        ({"stop_loss_rate": "5"}, "stop_loss_rate is 5: must be below 1"),
        ({"stop_loss_rate": "-0.05"}, "stop_loss_rate is -0.05: must be above 0"),
        ({"sell_margin": "1.01"}, "sell_margin is 1.01"),
        ({"sell_margin": "NaN"}, "sell_margin is 'NaN': must be a number"),
        ({"min_interval": 4}, "min_interval is 4: must be a duration"),
        ({"enabled": "no"}, "enabled is no: must be true or false"),
        ({"max_position_share": "30"}, "max_position_share is 30: must be at most 1"),
        ({"level_value": 1, "level_quantity": 1}, "must not be set together"),
        ({"max_analysis_age": "0s"}, "max_analysis_age"),
        ({"cash_reserve": "-1"}, "must not be negative"),
        ({"levels": None}, "levels is None"),
    ],
)
def test_nonsense_is_refused_by_name(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(BadStrategy, match=message):
        strategy("base", overrides)


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(BadStrategy, match="conservative, base, aggressive"):
        strategy("reckless")


def test_a_loss_limit_is_a_fraction() -> None:
    with pytest.raises(BadStrategy, match="daily_loss is 10"):
        loss_limits("base", {"daily_loss": 10})
