"""How one symbol is traded: the settings of its ladder, its exits and its limits, and the profiles they start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Annotated

from trading.declared import BadStrategy, Setting, check, convert, duration, require

__all__ = ["MAXIMUM_LEVELS", "BadStrategy", "SymbolStrategy", "convert", "duration", "profile_of", "strategy"]

MAXIMUM_LEVELS = 4
# an analysis gives at most four prices a side; a margin beyond half of the price is a percentage mistyped
MAXIMUM_MARGIN = Decimal("0.5")

_FRACTION = ": it is a fraction, 0.05 for five percent"
_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStrategy:
    """The settings of one symbol; rates are fractions of a price or a value, 0.05 for five percent.

    Raises `BadStrategy` for what is out of its bounds.
    """

    enabled: Annotated[bool, Setting(what="nothing is ordered while it is off, exits included")] = True
    levels: Annotated[int, Setting(what="limit orders a side", least=1, most=MAXIMUM_LEVELS)] = MAXIMUM_LEVELS
    take: Annotated[
        bool, Setting(what="the first order takes the best opposite price where that lies in the appropriate range")
    ] = True
    max_distance: Annotated[Decimal, Setting(what="no order further than this from the current price", above=0)] = (
        Decimal("0.30")
    )
    max_order_age: Annotated[
        timedelta, Setting(what="an order that has rested as long is cancelled", above=_NO_TIME)
    ] = timedelta(days=1)
    level_value: Annotated[
        Decimal | None,
        Setting(
            what="money per buy order, fee included, in the instrument's currency; without a file that of the "
            "environment",
            above=0,
        ),
    ] = None
    level_quantity: Annotated[
        Decimal | None,
        Setting(what="units per buy order, in place of the value; with neither of the two nothing is bought", above=0),
    ] = None
    averaging_rule: Annotated[
        bool, Setting(what="buy more of what is held only below its average price less `averaging_margin`")
    ] = True
    averaging_margin: Annotated[Decimal, Setting(what="see `averaging_rule`", least=0, most=MAXIMUM_MARGIN)] = Decimal(
        "0.01"
    )
    sell_margin: Annotated[
        Decimal,
        Setting(
            what="sell at no less than the average price plus this; negative allows a loss",
            least=-MAXIMUM_MARGIN,
            most=MAXIMUM_MARGIN,
        ),
    ] = Decimal("0.01")
    stop_loss_rate: Annotated[
        Decimal | None,
        Setting(what="sell all at this loss against the average price", above=0, below=1, hint=_FRACTION),
    ] = Decimal("0.05")
    take_profit_rate: Annotated[Decimal | None, Setting(what="sell all at this profit", above=0)] = Decimal("0.10")
    atr_exits: Annotated[
        bool, Setting(what="stop and target at `stop_atr` and `target_atr` ATR from the average, in place of the rates")
    ] = False
    stop_atr: Annotated[Decimal, Setting(what="see `atr_exits`", above=0)] = Decimal("1.5")
    target_atr: Annotated[Decimal, Setting(what="see `atr_exits`", above=0)] = Decimal("2.5")
    trailing: Annotated[
        bool, Setting(what="sell all `trailing_atr` ATR below the highest price since the position was opened")
    ] = False
    trailing_atr: Annotated[Decimal, Setting(what="see `trailing`", above=0)] = Decimal(2)
    exit_slippage: Annotated[
        Decimal,
        Setting(
            what="an exit sells at no less than the best bid less this; what is left is sold at the next turn",
            least=0,
            most=MAXIMUM_MARGIN,
        ),
    ] = Decimal("0.01")
    min_interval: Annotated[timedelta, Setting(what="between the last trade and a buy", least=_NO_TIME)] = timedelta(
        hours=4
    )
    max_trades_per_day: Annotated[
        int, Setting(what="buys stop after this many fills of orders in a KST day", least=1)
    ] = 5
    max_position_value: Annotated[
        Decimal | None,
        Setting(what="in the instrument's currency; without it only the share limits a position", above=0),
    ] = None
    max_position_share: Annotated[Decimal, Setting(what="of the account's equity", above=0, most=1)] = Decimal("0.30")
    cash_reserve: Annotated[Decimal, Setting(what="what buys leave in the account, in its currency", least=0)] = (
        Decimal(0)
    )
    min_confidence: Annotated[
        int, Setting(what="of the analysis; without a file that of the environment", least=0, most=100)
    ] = 55
    max_analysis_age: Annotated[timedelta, Setting(what="nothing is ordered on an older one", above=_NO_TIME)] = (
        timedelta(minutes=10)
    )
    max_quote_age: Annotated[timedelta, Setting(what="nothing is ordered on an older one", above=_NO_TIME)] = timedelta(
        minutes=1
    )

    def __post_init__(self) -> None:
        check(self)
        both = self.level_value is not None and self.level_quantity is not None
        require(not both, "level_quantity", self.level_quantity, "must not be set together with level_value")


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


@lru_cache(maxsize=1)
def _profiles() -> dict[str, dict[str, dict[str, object]]]:
    text = resources.files("trading").joinpath("profiles.json").read_text(encoding="utf-8")
    profiles: dict[str, dict[str, dict[str, object]]] = json.loads(text)["profiles"]
    return profiles
