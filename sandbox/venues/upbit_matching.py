"""Accounts and orders of the Upbit stand-in: balances, locks, matching at the quote, fees. No HTTP.

An order that crosses the book when it comes trades at the book's price; one that rests trades at its own price when
the book comes to it. Both are looked at whenever the account is, and when a price is set by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_DOWN, Decimal
from typing import Any
from uuid import uuid4

# each side of a KRW market (orders/chance)
FEE = Decimal("0.0005")
MIN_TOTAL = Decimal(5000)
MAX_TOTAL = Decimal(1_000_000_000)
UNIT = Decimal("0.00000001")
QUOTE = "KRW"
KST = timezone(timedelta(hours=9))
_ZERO = Decimal(0)

BookSides = Callable[[str], tuple[Decimal, Decimal]]
"""Best bid and best ask of a market, now."""


@dataclass(slots=True)
class Balance:
    """Free units, those that open orders hold, and the average price they were bought at, without fees."""

    free: Decimal = _ZERO
    locked: Decimal = _ZERO
    avg_buy_price: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution, with a price of its own."""

    uuid: str
    price: Decimal
    volume: Decimal
    at: datetime


@dataclass(slots=True)
class Order:
    """An order as it was asked for, and what became of it. From `visible_at` on reads find it, from `matched_at` on
    it is matched, and from `cancelled_at` on it is cancelled. Of `share` it trades at the first price it meets, which
    is `met`, and the rest at any other one; `rests` once it was in the book."""

    market: str
    side: str
    ord_type: str
    volume: Decimal | None
    price: Decimal | None
    identifier: str | None
    time_in_force: str | None
    smp_type: str
    created_at: datetime
    visible_at: datetime
    matched_at: datetime
    share: Decimal = Decimal(1)
    met: Decimal | None = None
    rests: bool = False
    cancelled_at: datetime | None = None
    uuid: str = field(default_factory=lambda: str(uuid4()))
    state: str = "wait"
    locked: Decimal = _ZERO
    trades: list[Trade] = field(default_factory=list)

    @property
    def executed(self) -> Decimal:
        return sum((trade.volume for trade in self.trades), _ZERO)

    @property
    def funds(self) -> Decimal:
        return sum((trade.price * trade.volume for trade in self.trades), _ZERO)

    @property
    def fee(self) -> Decimal:
        return self.funds * FEE

    def row(self) -> dict[str, Any]:
        """The order as every endpoint tells it, in Upbit's words."""
        rest = None if self.volume is None else self.volume - self.executed
        reserved = self.locked * FEE / (1 + FEE) if self.side == "bid" else _ZERO
        fields: dict[str, Any] = {
            "uuid": self.uuid,
            "market": self.market,
            "side": self.side,
            "ord_type": self.ord_type,
            "price": text(self.price),
            "state": self.state,
            "created_at": stamp(self.created_at),
            "volume": text(self.volume),
            "remaining_volume": text(rest),
            "executed_volume": text(self.executed),
            "reserved_fee": text(self.fee + reserved),
            "remaining_fee": text(reserved),
            "paid_fee": text(self.fee),
            "locked": text(self.locked),
            "prevented_volume": "0",
            "prevented_locked": "0",
            "smp_type": self.smp_type,
            "trades_count": len(self.trades),
        }
        if self.identifier is not None:
            fields["identifier"] = self.identifier
        if self.time_in_force is not None:
            fields["time_in_force"] = self.time_in_force
        return {name: value for name, value in fields.items() if value is not None}

    def trade_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "market": self.market,
                "uuid": trade.uuid,
                "price": text(trade.price),
                "volume": text(trade.volume),
                "funds": text(trade.price * trade.volume),
                "trend": "up" if self.side == "bid" else "down",
                "created_at": stamp(trade.at),
                "side": self.side,
            }
            for trade in self.trades
        ]


class Account:
    """One account: its balances and every order it ever had. `sides` says what the book shows."""

    def __init__(self, sides: BookSides, now: Callable[[], datetime]) -> None:
        self._sides = sides
        self._now = now
        self.balances: dict[str, Balance] = {}
        self.orders: dict[str, Order] = {}
        # an identifier is burnt with the first request that names it, whatever comes of it
        self.identifiers: set[str] = set()

    def set(self, balances: Mapping[str, Balance]) -> None:
        """Replace all balances; orders stay."""
        self.balances = dict(balances)

    def balance(self, currency: str) -> Balance:
        return self.balances.setdefault(currency, Balance())

    def need(self, order: Order) -> tuple[str, Decimal]:
        """What the order would lock: the currency and how much of it."""
        if order.side == "ask":
            assert order.volume is not None
            return coin(order.market), order.volume
        assert order.price is not None
        value = order.price if order.volume is None else order.price * order.volume
        return QUOTE, value * (1 + FEE)

    def open(self, order: Order) -> None:
        """Take in an order that may be afforded, and match it if it is time."""
        currency, amount = self.need(order)
        held = self.balance(currency)
        held.free -= amount
        held.locked += amount
        order.locked = amount
        self.orders[order.uuid] = order
        self.settle()

    def settle(self) -> None:
        """Match every open order whose time has come against the book, and end those whose cancellation is due."""
        now = self._now()
        for order in self.orders.values():
            if order.state == "wait" and order.matched_at <= now:
                self._match(order)
            if order.state == "wait" and order.cancelled_at is not None and order.cancelled_at <= now:
                self._end(order, "cancel")

    def fill(self, order: Order, volume: Decimal) -> None:
        """Let a resting limit order trade `volume` units at its price."""
        assert order.price is not None
        self._trade(order, order.price, volume)
        if order.volume is not None and order.executed >= order.volume:
            self._end(order, "done")

    def cancel(self, order: Order, seconds: float = 0) -> None:
        """Release what the order holds, `seconds` from now; until then it may trade."""
        order.cancelled_at = self._now() + timedelta(seconds=seconds)
        self.settle()

    def find(self, uuid: str, identifier: str) -> Order | None:
        """The order reads find; the uuid wins if both are given."""
        self.settle()
        for order in self.visible():
            if order.uuid == uuid if uuid else order.identifier == identifier:
                return order
        return None

    def visible(self) -> list[Order]:
        now = self._now()
        return [order for order in self.orders.values() if order.visible_at <= now]

    def _match(self, order: Order) -> None:
        bid, ask = self._sides(order.market)
        price = ask if order.side == "bid" else bid
        by_value = order.volume is None
        limited = order.ord_type == "limit" and order.price is not None
        crosses = not limited or (order.price >= price if order.side == "bid" else order.price <= price)  # type: ignore[operator]
        if crosses and order.time_in_force == "post_only" and not order.rests:
            self._end(order, "cancel")
            return
        if not crosses or (order.time_in_force == "fok" and order.share < 1):
            order.rests = True
            if order.time_in_force in ("ioc", "fok"):
                self._end(order, "cancel")
            return
        if order.met == price:
            # the other side offered no more at this price
            return
        whole = (order.price or _ZERO) / price if by_value else (order.volume or _ZERO) - order.executed
        volume = (whole * order.share).quantize(UNIT, ROUND_DOWN)
        if order.share < 1:
            order.share, order.met = Decimal(1), price
        # in two trades, as it mostly is, so that a fee has to be told for each
        first = (volume / 3).quantize(UNIT, ROUND_DOWN)
        for part in (first, volume - first):
            if part:
                self._trade(order, order.price if order.rests and order.price is not None else price, part)
        order.rests = True
        if not by_value and order.executed == order.volume:
            self._end(order, "done")
        elif order.ord_type != "limit" or order.time_in_force == "ioc":
            self._end(order, "cancel")

    def _trade(self, order: Order, price: Decimal, volume: Decimal) -> None:
        value = price * volume
        fee = value * FEE
        money, units = self.balance(QUOTE), self.balance(coin(order.market))
        if order.side == "bid":
            order.locked -= value + fee
            money.locked -= value + fee
            held = units.free + units.locked
            units.avg_buy_price = ((units.avg_buy_price * held + value) / (held + volume)).quantize(UNIT)
            units.free += volume
        else:
            order.locked -= volume
            units.locked -= volume
            money.free += value - fee
        order.trades.append(Trade(str(uuid4()), price, volume, self._now()))

    def _end(self, order: Order, state: str) -> None:
        held = self.balance(QUOTE if order.side == "bid" else coin(order.market))
        held.locked -= order.locked
        held.free += order.locked
        order.locked = _ZERO
        order.state = state


def coin(market: str) -> str:
    """What is traded in a market: BTC of KRW-BTC."""
    return market.partition("-")[2]


def text(value: Decimal | None) -> str | None:
    """An amount as Upbit writes it: no exponent, no trailing zeros."""
    return None if value is None else f"{value.normalize():f}"


def balance_row(currency: str, held: Balance) -> dict[str, Any]:
    """One row of `/v1/accounts`."""
    return {
        "currency": currency,
        "balance": text(held.free),
        "locked": text(held.locked),
        "avg_buy_price": text(held.avg_buy_price),
        "avg_buy_price_modified": False,
        "unit_currency": QUOTE,
    }


def stamp(moment: datetime) -> str:
    """A time as Upbit writes those of orders: KST, whole seconds."""
    return moment.astimezone(KST).isoformat(timespec="seconds")


def utc_now() -> datetime:
    return datetime.now(UTC)
