"""Replies of Upbit's private endpoints, the fields we need (docs.upbit.com, v1.6). Amounts are strings there."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from workers.wire import UtcTime, Wire

# more than all the money there is, and still well inside what Decimal reckons with
_MOST = Decimal(10) ** 20
Amount = Annotated[Decimal, Field(allow_inf_nan=False, ge=0, lt=_MOST)]
Traded = Annotated[Decimal, Field(allow_inf_nan=False, gt=0, lt=_MOST)]
_ZERO = Decimal(0)


class AccountRow(Wire):
    """One row of `/v1/accounts`; `locked` is what open orders and withdrawals hold, `avg_buy_price` is without fees."""

    currency: str
    balance: Amount
    locked: Amount
    avg_buy_price: Amount = _ZERO
    unit_currency: str


class Trade(Wire):
    """One execution of an order."""

    uuid: str
    price: Traded
    volume: Traded
    funds: Traded
    created_at: UtcTime


class OrderBody(Wire):
    """An order as every endpoint tells it; only `/v1/order` tells its trades.

    A market buy has a `price` (its total) and no `volume`, a market sell the other way round. `state` is
    wait, watch, done or cancel, and `cancel` is also how a market buy ends that was filled.
    """

    uuid: str = Field(min_length=1)
    market: str
    side: Literal["bid", "ask"]
    ord_type: str
    state: str
    created_at: UtcTime
    price: Amount | None = None
    volume: Amount | None = None
    remaining_volume: Amount | None = None
    executed_volume: Amount = _ZERO
    paid_fee: Amount = _ZERO
    identifier: str | None = None
    time_in_force: str | None = None
    trades: list[Trade] | None = None


class Placed(Wire):
    """What proves that an order was accepted; every other field of the reply is for `/v1/order` to tell."""

    uuid: str = Field(min_length=1)


class ChanceSide(Wire):
    """What one side of a market may be traded in."""

    currency: str
    min_total: Amount


class ChanceMarket(Wire):
    """The limits of a market; totals are in its quote currency."""

    id: str
    bid: ChanceSide
    ask: ChanceSide
    max_total: Amount
    bid_types: tuple[str, ...] = ()
    ask_types: tuple[str, ...] = ()
    state: str


class ChanceAccount(Wire):
    """The balance an order of that side would use."""

    currency: str
    balance: Amount
    locked: Amount


class Chance(Wire):
    """`/v1/orders/chance`: fees are fractions of the value."""

    bid_fee: Amount
    ask_fee: Amount
    market: ChanceMarket
    bid_account: ChanceAccount
    ask_account: ChanceAccount


class ApiKey(Wire):
    """One row of `/v1/api_keys`; a key lasts a year and cannot be prolonged."""

    access_key: str = Field(repr=False)
    expire_at: UtcTime
