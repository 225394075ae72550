"""Orders as Upbit takes them (docs.upbit.com, new-order): what may be asked for, and its body."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from trading.types import Side

TimeInForce: TypeAlias = Literal["ioc", "fok", "post_only"]
SelfMatch: TypeAlias = Literal["cancel_maker", "cancel_taker", "reduce", "none"]

IDENTIFIER_LENGTH = 36
SIDES = {Side.BUY: "bid", Side.SELL: "ask"}


@dataclass(frozen=True, slots=True)
class NewOrder:
    """One order. `volume` is in units; `price` is per unit in a limit order and the total in a buy by value.

    `identifier` is ours, at most 36 characters, and burnt with the first request that names it, also if that
    fails. Make it by `limit`, `market_buy`, `market_sell` or `best`.
    """

    symbol: str
    side: Side
    ord_type: Literal["limit", "price", "market", "best"]
    identifier: str
    volume: Decimal | None = None
    price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    smp_type: SelfMatch | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.identifier) <= IDENTIFIER_LENGTH:
            raise ValueError(f"identifier {self.identifier!r}: use 1 to {IDENTIFIER_LENGTH} characters")
        for name in ("volume", "price"):
            value: Decimal | None = getattr(self, name)
            if value is not None and not (value.is_finite() and value > 0):
                raise ValueError(f"{name} {value}: use a positive number")
        if self.time_in_force == "post_only" and self.smp_type not in (None, "none"):
            raise ValueError(f"smp_type {self.smp_type}: post_only takes none only")

    def body(self) -> dict[str, str]:
        """The JSON body; its order is the one that is signed."""
        fields = {
            "market": self.symbol,
            "side": SIDES[self.side],
            "volume": None if self.volume is None else plain(self.volume),
            "price": None if self.price is None else plain(self.price),
            "ord_type": self.ord_type,
            "identifier": self.identifier,
            "time_in_force": self.time_in_force,
            "smp_type": self.smp_type,
        }
        return {name: value for name, value in fields.items() if value is not None}


def limit(
    symbol: str,
    side: Side,
    volume: Decimal,
    price: Decimal,
    identifier: str,
    *,
    time_in_force: TimeInForce | None = None,
    smp_type: SelfMatch | None = None,
) -> NewOrder:
    """`volume` units at `price` or better; it rests in the book unless `time_in_force` says otherwise."""
    return NewOrder(symbol, side, "limit", identifier, volume, price, time_in_force, smp_type)


def market_buy(symbol: str, total: Decimal, identifier: str) -> NewOrder:
    """Buy for `total` KRW at whatever the book asks."""
    return NewOrder(symbol, Side.BUY, "price", identifier, price=total)


def market_sell(symbol: str, volume: Decimal, identifier: str) -> NewOrder:
    """Sell `volume` units at whatever the book bids."""
    return NewOrder(symbol, Side.SELL, "market", identifier, volume=volume)


def best(symbol: str, side: Side, amount: Decimal, identifier: str, time_in_force: Literal["ioc", "fok"]) -> NewOrder:
    """At the best price of the other side only: `amount` is the total in KRW of a buy, the units of a sell."""
    if side is Side.BUY:
        return NewOrder(symbol, side, "best", identifier, price=amount, time_in_force=time_in_force)
    return NewOrder(symbol, side, "best", identifier, volume=amount, time_in_force=time_in_force)


def plain(value: Decimal) -> str:
    """A number without exponent or trailing zeros."""
    return f"{value.normalize():f}"
