"""An account at the sandbox's KIS: cash, holdings, and orders that meet a book one tick wide."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from sandbox.ticks import best_bid_and_ask

FEE_RATE = Decimal("0.00015")
SELL, BUY = "01", "02"
LIMIT, MARKET_ORDER, IMMEDIATE = "00", "01", "11"
KST = timedelta(hours=9)
_ZERO = Decimal(0)


@dataclass(slots=True)
class Order:
    """One order, taken at `at` (UTC). The daily list leaves it out the next `hidden` times it is read.

    `expired` is what was left of it at the end of its day. A cancellation of `withdrawn` shares takes effect when the
    daily list has been read `patience` times more.
    """

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
    expired: int = 0
    withdrawn: int = 0
    patience: int = 0
    exchange: str = "KRX"

    @property
    def left(self) -> int:
        return self.quantity - self.filled - self.cancelled - self.rejected - self.expired

    @property
    def day(self) -> date:
        return (self.at + KST).date()


@dataclass(slots=True)
class Holding:
    quantity: int
    cost: Decimal


@dataclass(slots=True)
class AccountBook:
    """Cash in KRW, holdings and orders of one account. `depth` is how much one order finds in the book at a time."""

    environment: str
    cash: Decimal
    page_rows: int | None = None
    depth: int | None = None
    holdings: dict[str, Holding] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)

    def reserved(self) -> Decimal:
        """What resting buys will cost, with their fees."""
        cost = sum((order.price * order.left for order in self.orders if order.side == BUY), _ZERO)
        return cost * (1 + FEE_RATE)

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
        if order.left and (order.kind == MARKET_ORDER or _crosses(order, last)):
            self.fill(order, self._found(order), price)
        if order.kind != LIMIT:
            order.cancelled += order.left
        return order

    def trade(self, symbol: str, last: Decimal) -> None:
        """Match what rests in a symbol at a last price: those that cross fill at their own limit, up to the depth."""
        for order in self.orders:
            if order.left and order.symbol == symbol and _crosses(order, last):
                self.fill(order, self._found(order), order.price)

    def end_days_before(self, today: date) -> None:
        """End what rests of the orders of earlier days (KST)."""
        for order in self.orders:
            if order.day < today:
                order.expired += order.left

    def read(self) -> list[Order]:
        """The orders the daily list shows, now that it is read once more."""
        shown = [order for order in self.orders if not order.hidden]
        for order in self.orders:
            order.hidden = max(order.hidden - 1, 0)
            if order.withdrawn:
                order.patience -= 1
                if order.patience < 0:
                    order.cancelled += min(order.withdrawn, order.left)
                    order.withdrawn = 0
        return shown

    def fill(self, order: Order, quantity: int, price: Decimal) -> None:
        """Trade `quantity` of an order at `price`."""
        amount = price * quantity
        order.filled, order.amount = order.filled + quantity, order.amount + amount
        held = self.holdings.setdefault(order.symbol, Holding(0, _ZERO))
        if order.side == BUY:
            self.cash -= amount * (1 + FEE_RATE)
            held.quantity, held.cost = held.quantity + quantity, held.cost + amount
        else:
            self.cash += amount * (1 - FEE_RATE)
            held.cost -= held.cost / held.quantity * quantity
            held.quantity -= quantity

    def _found(self, order: Order) -> int:
        return order.left if self.depth is None else min(order.left, self.depth)


def _crosses(order: Order, last: Decimal) -> bool:
    bid, ask = best_bid_and_ask("kis", last)
    return order.price >= ask if order.side == BUY else order.price <= bid
