"""When to leave a position whatever the analysis says: stop-loss, take-profit, their ATR and trailing kinds, and a
person who wants it closed.

An exit is an outcome. It sells everything, at a loss too; but for a person's word it is judged by the last price.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trading.strategy import SymbolStrategy
from trading.ticks import check_quote
from trading.types import Position, Quote


class ExitKind(StrEnum):
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    ATR_STOP = "atr_stop"
    ATR_TARGET = "atr_target"
    TRAILING = "trailing"
    FLATTEN = "flatten"


@dataclass(frozen=True, slots=True)
class Exit:
    """Sell `quantity`: `price` has reached `trigger`. `rate` is the change against the average price, 0.05 for
    five percent; 0 where no average is known."""

    kind: ExitKind
    quantity: Decimal
    price: Decimal
    trigger: Decimal
    rate: Decimal
    reason: str


def check_exit(
    position: Position,
    quote: Quote,
    strategy: SymbolStrategy,
    atr: Decimal | None,
    high_water: Decimal | None = None,
) -> Exit | None:
    """The first exit that the price has reached, stops before targets, or None.

    `atr` is in the instrument's currency; without one the fixed rates hold in its place, so that no position is
    without a stop. `high_water` is the highest price since the position was opened. Raises `BadQuote`.
    """
    check_quote(quote)
    if position.quantity <= 0:
        return None
    usable = atr if atr is not None and atr.is_finite() and atr > 0 else None
    for kind, trigger in _stops(position.average_price, strategy, usable, high_water):
        if quote.price <= trigger:
            return _exit(kind, position, quote.price, trigger)
    for kind, trigger in _targets(position.average_price, strategy, usable):
        if quote.price >= trigger:
            return _exit(kind, position, quote.price, trigger)
    return None


def flatten(position: Position, price: Decimal, by: str) -> Exit:
    """A person, `by`, wants the position closed at whatever the market pays; `price` is the last one known."""
    average = position.average_price
    rate = price / average - 1 if average > 0 else Decimal(0)
    return Exit(ExitKind.FLATTEN, position.quantity, price, price, rate, f"flatten: {by} wants the position closed")


def next_high_water(high_water: Decimal | None, price: Decimal) -> Decimal:
    """The mark after a price was seen; None where the position has just been opened."""
    return price if high_water is None else max(high_water, price)


def _stops(
    average: Decimal, strategy: SymbolStrategy, atr: Decimal | None, high_water: Decimal | None
) -> list[tuple[ExitKind, Decimal]]:
    stops = []
    if average > 0:
        if strategy.atr_exits and atr is not None:
            stops.append((ExitKind.ATR_STOP, average - strategy.stop_atr * atr))
        elif strategy.stop_loss_rate is not None:
            stops.append((ExitKind.STOP_LOSS, average * (1 - strategy.stop_loss_rate)))
    if strategy.trailing and atr is not None and high_water is not None:
        stops.append((ExitKind.TRAILING, high_water - strategy.trailing_atr * atr))
    return stops


def _targets(average: Decimal, strategy: SymbolStrategy, atr: Decimal | None) -> list[tuple[ExitKind, Decimal]]:
    if average <= 0:
        return []
    if strategy.atr_exits and atr is not None:
        return [(ExitKind.ATR_TARGET, average + strategy.target_atr * atr)]
    if strategy.take_profit_rate is not None:
        return [(ExitKind.TAKE_PROFIT, average * (1 + strategy.take_profit_rate))]
    return []


def _exit(kind: ExitKind, position: Position, price: Decimal, trigger: Decimal) -> Exit:
    average = position.average_price
    rate = price / average - 1 if average > 0 else Decimal(0)
    return Exit(
        kind,
        position.quantity,
        price,
        trigger,
        rate,
        f"{kind}: the price {price:f} has reached {trigger:f}, {rate:+.2%} against the average {average:f}",
    )
