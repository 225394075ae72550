"""Where each check of the validator begins to refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from trading.confidence import MEDIUM
from trading.declared import Setting, check, convert

_FRACTION = ": it is a fraction, 0.05 for five percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """`checks` of the strategy file; raises `BadStrategy` for what is out of its bounds.

    Those of `rsi_extreme`, `volatility`, `fake_breakout`, `trend` and `low_confidence` are the replaced system's; those
    of `market_risk` are not recorded there: bitcoin moves 5 % in a day about once a month, and other coins fall with it
    and further. Distances are fractions of the quote.
    """

    buy_max_rsi: Annotated[float, Setting(what="`rsi_extreme`: no BUY above this RSI", least=0, most=100)] = 70
    sell_min_rsi: Annotated[float, Setting(what="`rsi_extreme`: no SELL below this RSI", least=0, most=100)] = 30
    buy_max_atr: Annotated[
        float,
        Setting(
            what="`volatility`: no BUY while ATR is above this fraction of the price", above=0, most=1, hint=_FRACTION
        ),
    ] = 0.06
    reference_day_fall: Annotated[
        float,
        Setting(
            what="`market_risk`: no BUY of a coin after bitcoin fell so far in a day", above=0, below=1, hint=_FRACTION
        ),
    ] = 0.05
    reference_week_fall: Annotated[
        float, Setting(what="`market_risk`: the same in a week", above=0, below=1, hint=_FRACTION)
    ] = 0.15
    crash_fall: Annotated[
        float,
        Setting(
            what="`market_risk`: no BUY this far below the highest of the four hours before (or the day before, where "
            "there are fewer than five hourly candles)",
            above=0,
            below=1,
            hint=_FRACTION,
        ),
    ] = 0.08
    breakout_min_volume: Annotated[
        float, Setting(what="`fake_breakout`: no BUY on less than this multiple of the 20-day mean volume", least=0)
    ] = 1.5
    breakout_min_adx: Annotated[float, Setting(what="`fake_breakout`: no BUY below this ADX", least=0, most=100)] = 20
    trend_min_adx: Annotated[float, Setting(what="`trend`: no BUY below this ADX", least=0, most=100)] = 25
    trend_min_volume: Annotated[
        float, Setting(what="`trend`: no BUY on less than this multiple of the 20-day mean volume", least=0)
    ] = 1.5
    trend_min_width: Annotated[
        float,
        Setting(
            what="`trend`: no BUY while the Bollinger bands are narrower than this fraction of the middle one",
            least=0,
            most=1,
            hint=_FRACTION,
        ),
    ] = 0.04
    min_confidence: Annotated[
        int,
        Setting(
            what="`low_confidence`: neither BUY nor SELL below it; the strategy's own `min_confidence` comes after",
            least=0,
            most=100,
        ),
    ] = MEDIUM
    near: Annotated[
        Decimal,
        Setting(
            what="`price_distance`: how far from the quote the appropriate range of the decision's side may lie",
            above=0,
            most=1,
            hint=_FRACTION,
        ),
    ] = Decimal("0.30")
    far: Annotated[
        Decimal,
        Setting(what="`price_distance`: the same for its hoped-for dip or its target", above=0, most=1, hint=_FRACTION),
    ] = Decimal("0.60")
    moved: Annotated[
        Decimal,
        Setting(
            what="`quote_moved`: how far the quote may have run from the price the analyst saw",
            above=0,
            most=1,
            hint=_FRACTION,
        ),
    ] = Decimal("0.05")

    def __post_init__(self) -> None:
        check(self)


def thresholds(given: Mapping[str, object] | None = None) -> Thresholds:
    """The thresholds with some replaced. Raises `BadStrategy`."""
    return Thresholds(**convert(Thresholds, given or {}))
