"""An account at the sandbox's KIS: cash, holdings, and orders that meet a book one tick wide."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sandbox.ticks import best_bid_and_ask

FEE_RATE = Decimal("0.00015")
SELL, BUY = "01", "02"
LIMIT, MARKET_ORDER, IMMEDIATE = "00", "01", "11"
_ZERO = Decimal(0)


@dataclass(slots=True)
class Order:
    """One order, taken at `at` (UTC). The daily list leaves it out the next `hidden` times it is read."""

    odno: str
    symbol: str
    side: str
    kind: str
    quantity: int
    price: Decimal
    at: datetime
    filled: int = 0
    amount: Decimal = _ZERO
    cancelled: int = 0
    rejected: int = 0
    original: str = ""
    hidden: int = 0

    @property
    def left(self) -> int:
        return self.quantity - self.filled - self.cancelled - self.rejected


@dataclass(slots=True)
class Holding:
    quantity: int
    cost: Decimal


@dataclass(slots=True)
class AccountBook:
    """Cash in KRW, holdings and orders of one account. `depth` is how much one order finds in the book."""

    environment: str
    cash: Decimal
    page_rows: int | None = None
    depth: int | None = None
    holdings: dict[str, Holding] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)

    def reserved(self) -> Decimal:
        return sum((order.price * order.left for order in self.orders if order.side == BUY), _ZERO)

    def free_cash(self) -> Decimal:
        return self.cash - self.reserved()

    def sellable(self, symbol: str) -> int:
        held = self.holdings.get(symbol, Holding(0, _ZERO)).quantity
        return held - sum(order.left for order in self.orders if order.side == SELL and order.symbol == symbol)

    def add(self, order: Order, last: Decimal) -> Order:
        """Take an order and match it at the last price: fill what crosses at the best price of the other side, up to
        the depth of the book, and cancel the rest of an order that does not rest."""
        self.orders.append(order)
        bid, ask = best_bid_and_ask("kis", last)
        price = ask if order.side == BUY else bid
        crosses = order.price >= ask if order.side == BUY else order.price <= bid
        if order.left and (order.kind == MARKET_ORDER or crosses):
            quantity = order.left if self.depth is None else min(order.left, self.depth)
            self._fill(order, quantity, price)
        if order.kind != LIMIT:
            order.cancelled += order.left
        return order

    def _fill(self, order: Order, quantity: int, price: Decimal) -> None:
        order.filled, order.amount = quantity, price * quantity
        held = self.holdings.setdefault(order.symbol, Holding(0, _ZERO))
        if order.side == BUY:
            self.cash -= order.amount * (1 + FEE_RATE)
            held.quantity, held.cost = held.quantity + quantity, held.cost + order.amount
        else:
            self.cash += order.amount * (1 - FEE_RATE)
            held.cost -= held.cost / held.quantity * quantity
            held.quantity -= quantity
