"""What is held, what it cost and what it is worth. Money in the account's currency."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from trading.types import Position

NONE = Position(Decimal(0), Decimal(0))


def after_buy(position: Position, quantity: Decimal, price: Decimal, fee: Decimal) -> Position:
    """The position with `quantity` more; the fee is part of what the units cost. Raises `ValueError`."""
    _check(quantity, price, fee)
    total = position.quantity + quantity
    cost = position.quantity * position.average_price + quantity * price + fee
    return Position(total, cost / total)


def after_sell(position: Position, quantity: Decimal) -> Position:
    """The position with `quantity` less; what remains keeps its average. Raises `ValueError` for too much."""
    if not 0 < quantity <= position.quantity:
        raise ValueError(f"cannot sell {quantity} of {position.quantity}")
    rest = position.quantity - quantity
    return Position(rest, position.average_price) if rest else NONE


def realised_profit(position: Position, quantity: Decimal, price: Decimal, fee: Decimal) -> Decimal:
    """What selling `quantity` at `price` earned, the fees of both sides taken off."""
    _check(quantity, price, fee)
    return quantity * (price - position.average_price) - fee


def value(cash: Decimal, holdings: Iterable[tuple[Position, Decimal]]) -> Decimal:
    """Cash and every position at its price."""
    return cash + sum((position.quantity * price for position, price in holdings), Decimal(0))


def profit_rate(now: Decimal, start: Decimal) -> Decimal:
    """Profit as a fraction of `start`, 0.05 for five percent; 0 where nothing was started with."""
    return (now - start) / start if start else Decimal(0)


def _check(quantity: Decimal, price: Decimal, fee: Decimal) -> None:
    if quantity <= 0 or price <= 0 or fee < 0:
        raise ValueError(f"not a fill: {quantity} at {price} with fee {fee}")
