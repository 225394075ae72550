"""The words the whole system speaks: candles, quotes, analyses and orders.

Money and quantities are `Decimal`, times are aware UTC. A price is in the currency of its instrument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class Decision(StrEnum):
    BUY = "buy"
    HOLD = "hold"
    SELL = "sell"


class TimeInForce(StrEnum):
    """`ioc`: what does not cross the book at once is cancelled. `gtc`: it rests until it is filled or cancelled; a
    stock exchange ends it with the session."""

    IOC = "ioc"
    GTC = "gtc"


class OrderState(StrEnum):
    """Where an order stands; `unknown` means sent but not proven either way.

    `accepted` and `partly_filled` orders may still trade. One that ended with a part filled is `cancelled`, and its
    fills say how much it traded.
    """

    PLANNED = "planned"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    NOT_CREATED = "not_created"


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar: `time` is its start; prices in the instrument's currency, volume in units of the instrument."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a symbol is and in which steps it is traded.

    `asset_type` is the seed's tag: `crypto`, `equity_kr` or `equity_us`. `quantity_step` is the smallest
    quantity difference of an order, `min_order_value` the smallest price x quantity, in `currency`.
    `fee_rate` is a fraction of the value, each side.
    """

    market: str
    symbol: str
    name: str
    asset_type: str
    currency: str
    quantity_step: Decimal
    min_order_value: Decimal
    fee_rate: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """Last price and best book prices at `at`; where a venue shows no book, bid = ask = price.

    `tick_size` is the one at `price`. `bid_size` and `ask_size` are the units on offer at the best prices, None where
    the venue does not say.
    """

    symbol: str
    price: Decimal
    bid: Decimal
    ask: Decimal
    tick_size: Decimal
    at: datetime
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PriceRange:
    """A closed interval of prices."""

    min: Decimal
    max: Decimal


@dataclass(frozen=True, slots=True)
class PriceRanges:
    """The four ranges of an analysis: where to buy, where to sell, the hoped-for dip and the target."""

    appropriate_buy: PriceRange
    appropriate_sell: PriceRange
    buy_hope: PriceRange
    sell_target: PriceRange


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an analyst proposes. `confidence` is 0-100, `reasons` one to three, `price` the quote it saw,
    `rejected_by` the rule of `trading.validator` that made it a HOLD."""

    decision: Decision
    confidence: int
    reasons: tuple[str, ...]
    ranges: PriceRanges
    model: str
    price: Decimal
    at: datetime
    rejected_by: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Units held and their average buy price including fees; quantity 0 means none is held."""

    quantity: Decimal
    average_price: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """Free cash in `currency` and the units of one symbol that are free to sell, at the average of all of them."""

    currency: str
    cash: Decimal
    position: Position


@dataclass(frozen=True, slots=True)
class Holdings:
    """All an account holds, with what open orders reserve of it: cash in `currency` and the positions by symbol,
    without those sold off."""

    currency: str
    cash: Decimal
    positions: Mapping[str, Position]


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """A limit order to place.

    `client_order_id` is derived from run, market, symbol, side, leg and attempt, so the same decision
    always makes the same id.
    """

    client_order_id: str
    market: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    currency: str
    time_in_force: TimeInForce = TimeInForce.IOC


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, keyed by the venue's own trade id; `fee` in the order's currency."""

    trade_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Placement:
    """The venue's word on an order: its id, its state (accepted, filled, partly_filled, cancelled or
    rejected), the fills so far and, for a rejection or a cancellation, the reason."""

    venue_order_id: str | None
    state: OrderState
    fills: tuple[Fill, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that rests in the account's book, whoever sent it. `client_order_id` is None where the venue keeps
    none; `filled` is how many of `quantity` units it has traded, `at` when the venue took it."""

    venue_order_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    price: Decimal
    currency: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Clamp:
    """A rule cut something: `after` is what is left of `before`, None where it was dropped altogether. Both in
    the rule's own unit (a price, a quantity or a value), which `reason` names."""

    rule: str
    before: Decimal
    after: Decimal | None
    reason: str


RefusalRule = Literal[
    "below_minimum",
    "cash_reserve",
    "clock",
    "decision",
    "disabled",
    "insufficient_cash",
    "low_confidence",
    "market_closed",
    "min_interval",
    "no_analysis",
    "no_level_amount",
    "nothing_to_sell",
    "position_cap",
    "price_out_of_range",
    "stale_analysis",
    "stale_quote",
    "trades_per_day",
    "trading_state",
    "unproven_order",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule decided against an order: an outcome, not a failure. `have` and `need` are in the rule's own unit;
    `clamps` are the cuts made before it."""

    rule: RefusalRule
    reason: str
    have: Decimal | None = None
    need: Decimal | None = None
    clamps: tuple[Clamp, ...] = ()
