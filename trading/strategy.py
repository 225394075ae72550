"""How one symbol is traded: the settings of its ladder, its exits and its limits, and the profiles they start from."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from importlib import resources
from typing import Any, get_type_hints

MAXIMUM_LEVELS = 4
# an analysis gives at most four prices a side; a margin beyond half of the price is a percentage mistyped
MAXIMUM_MARGIN = Decimal("0.5")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class BadStrategy(ValueError):
    """A setting of a strategy is unknown or makes no sense: correct it, nothing is traded until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStrategy:
    """The settings of one symbol; rates are fractions of a price or a value, 0.05 for five percent.

    enabled             nothing is ordered while it is off, exits included
    levels              1-4 limit orders a side
    take                the first order takes the best opposite price where that lies in the appropriate range
    max_distance        no order further than this from the current price
    max_order_age       an order that has rested as long is cancelled
    level_value         money per buy order, fee included, in the instrument's currency (usual for crypto)
    level_quantity      units per buy order (usual for stocks); with neither of the two nothing is bought
    averaging_rule      buy more of what is held only below its average price less `averaging_margin`
    sell_margin         sell at no less than the average price plus this; negative allows a loss
    stop_loss_rate      sell all at this loss against the average price; None for never
    take_profit_rate    sell all at this profit; None for never
    atr_exits           stop and target at `stop_atr` and `target_atr` ATR from the average, in place of the rates
    trailing            sell all `trailing_atr` ATR below the highest price since the position was opened
    exit_slippage       an exit sells at no less than the best bid less this; what is left is sold at the next turn
    min_interval        between two buys of the symbol
    max_trades_per_day  buys stop after this many fills of orders in a KST day
    max_position_value  in the instrument's currency, None for no limit besides the share
    max_position_share  of the account's equity
    cash_reserve        what buys leave in the account, in its currency
    min_confidence      of the analysis, 0-100
    max_analysis_age, max_quote_age  nothing is ordered on older ones
    """

    enabled: bool = True
    levels: int = MAXIMUM_LEVELS
    take: bool = True
    max_distance: Decimal = Decimal("0.30")
    max_order_age: timedelta = timedelta(days=1)
    level_value: Decimal | None = None
    level_quantity: Decimal | None = None
    averaging_rule: bool = True
    averaging_margin: Decimal = Decimal("0.01")
    sell_margin: Decimal = Decimal("0.01")
    stop_loss_rate: Decimal | None = Decimal("0.05")
    take_profit_rate: Decimal | None = Decimal("0.10")
    atr_exits: bool = False
    stop_atr: Decimal = Decimal("1.5")
    target_atr: Decimal = Decimal("2.5")
    trailing: bool = False
    trailing_atr: Decimal = Decimal(2)
    exit_slippage: Decimal = Decimal("0.01")
    min_interval: timedelta = timedelta(hours=4)
    max_trades_per_day: int = 5
    max_position_value: Decimal | None = None
    max_position_share: Decimal = Decimal("0.30")
    cash_reserve: Decimal = Decimal(0)
    min_confidence: int = 55
    max_analysis_age: timedelta = timedelta(minutes=10)
    max_quote_age: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            _require(not isinstance(value, Decimal) or value.is_finite(), field.name, value, "must be a finite number")
        _between("levels", self.levels, 1, MAXIMUM_LEVELS)
        _between("min_confidence", self.min_confidence, 0, 100)
        _require(self.max_trades_per_day >= 1, "max_trades_per_day", self.max_trades_per_day, "must be at least 1")
        for name in ("level_value", "level_quantity", "max_position_value", "take_profit_rate", "stop_loss_rate"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "must be above 0, or null for none")
        _require(
            self.level_value is None or self.level_quantity is None,
            "level_quantity",
            self.level_quantity,
            "must not be set together with level_value",
        )
        _require(
            self.stop_loss_rate is None or self.stop_loss_rate < 1,
            "stop_loss_rate",
            self.stop_loss_rate,
            "must be below 1: it is a fraction, 0.05 for five percent",
        )
        _between("averaging_margin", self.averaging_margin, Decimal(0), MAXIMUM_MARGIN)
        _between("exit_slippage", self.exit_slippage, Decimal(0), MAXIMUM_MARGIN)
        _between("sell_margin", self.sell_margin, -MAXIMUM_MARGIN, MAXIMUM_MARGIN)
        for name in ("stop_atr", "target_atr", "trailing_atr", "max_position_share", "max_distance"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "must be above 0")
        _require(self.max_position_share <= 1, "max_position_share", self.max_position_share, "must be at most 1")
        _require(self.cash_reserve >= 0, "cash_reserve", self.cash_reserve, "must not be negative")
        _require(self.min_interval >= timedelta(0), "min_interval", self.min_interval, "must not be negative")
        for name in ("max_analysis_age", "max_quote_age", "max_order_age"):
            _require(getattr(self, name) > timedelta(0), name, getattr(self, name), "must be above 0")


def strategy(profile: str = "base", overrides: Mapping[str, object] | None = None) -> SymbolStrategy:
    """The strategy of a profile with some settings replaced. Raises `BadStrategy`.

    Numbers may be given as text, durations as `90s`, `10m`, `4h` or `1d`.
    """
    return SymbolStrategy(**convert(SymbolStrategy, {**profile_of(profile)["symbol"], **(overrides or {})}))


def profile_of(name: str) -> Mapping[str, Mapping[str, object]]:
    """The settings of a profile: `symbol` and `account`. Raises `BadStrategy`."""
    profiles = _profiles()
    if name not in profiles:
        raise BadStrategy(f"unknown profile {name!r}: use one of {', '.join(profiles)}")
    return profiles[name]


def convert(settings: type, given: Mapping[str, object]) -> dict[str, Any]:
    """Values for the fields of a settings dataclass from text and plain numbers. Raises `BadStrategy`."""
    kinds = get_type_hints(settings)
    values = {}
    for name, value in given.items():
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, n=1)
            hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(sorted(kinds))}"
            raise BadStrategy(f"unknown setting {name}: {hint}")
        values[name] = _value(name, value, kinds[name])
    return values


def _value(name: str, value: object, kind: Any) -> object:
    if kind is bool:
        _require(isinstance(value, bool), name, value, "must be true or false")
        return value
    if kind is int:
        number = _decimal(name, value)
        _require(number == number.to_integral_value(), name, value, "must be a whole number")
        return int(number)
    if kind is timedelta:
        return duration(name, value)
    # what is left is Decimal and Decimal | None
    if value is None and kind is not Decimal:
        return None
    return _decimal(name, value)


def _decimal(name: str, value: object) -> Decimal:
    try:
        number = None if isinstance(value, bool) else Decimal(str(value).strip())
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise BadStrategy(f"{name} is {value!r}: must be a number")
    return number


def duration(name: str, value: object) -> timedelta:
    """A duration from text such as 90s, 10m, 4h or 1d. Raises `BadStrategy` with `name`."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if match is None:
        raise BadStrategy(f"{name} is {value!r}: must be a duration such as 90s, 10m, 4h or 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _between(name: str, value: Any, low: Any, high: Any) -> None:
    _require(low <= value <= high, name, value, f"must be {low} to {high}")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise BadStrategy(f"{name} is {value}: {rule}")


@lru_cache(maxsize=1)
def _profiles() -> dict[str, dict[str, dict[str, object]]]:
    text = resources.files("trading").joinpath("profiles.json").read_text(encoding="utf-8")
    profiles: dict[str, dict[str, dict[str, object]]] = json.loads(text)["profiles"]
    return profiles
