"""Replies of Upbit's private endpoints, the fields we need (docs.upbit.com, v1.6). Amounts are strings there."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from workers.wire import PastTime, UtcTime, Wire

# more than all the money there is, and still well inside what Decimal reckons with
_MOST = Decimal(10) ** 20
Amount = Annotated[Decimal, Field(allow_inf_nan=False, ge=0, lt=_MOST)]
Traded = Annotated[Decimal, Field(allow_inf_nan=False, gt=0, lt=_MOST)]
Rate = Annotated[Decimal, Field(allow_inf_nan=False, ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")]
"""A uuid of Upbit's, so that nothing else is taken for the proof that an order exists."""
Currency = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")]
_ZERO = Decimal(0)


class AccountRow(Wire):
    """One row of `/v1/accounts`; `locked` is what open orders and withdrawals hold, `avg_buy_price` is without fees."""

    currency: Currency
    balance: Amount
    locked: Amount
    avg_buy_price: Amount = _ZERO
    unit_currency: Currency


class Trade(Wire):
    """One execution of an order."""

    uuid: Name
    price: Traded
    volume: Traded
    funds: Traded
    created_at: PastTime


class OrderBody(Wire):
    """An order as every endpoint tells it; only `/v1/order` tells its trades.

    A market buy has a `price` (its total) and no `volume`, a market sell the other way round. `state` is
    wait, watch, done or cancel, and `cancel` is also how a market buy ends that was filled.
    """

    uuid: Name
    market: str = Field(pattern=r"^[A-Z]{3,4}-[A-Z0-9]{1,20}$")
    side: Literal["bid", "ask"]
    ord_type: Literal["limit", "price", "market", "best"]
    state: str
    created_at: PastTime
    price: Amount | None = None
    volume: Amount | None = None
    remaining_volume: Amount | None = None
    executed_volume: Amount = _ZERO
    paid_fee: Amount = _ZERO
    identifier: str | None = None
    time_in_force: str | None = None
    trades: list[Trade] | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> OrderBody:
        known: dict[str, Trade] = {}
        if any(known.setdefault(trade.uuid, trade) != trade for trade in self.trades or ()):
            raise ValueError("two different trades have one uuid")
        return self


class Placed(Wire):
    """What proves that an order was accepted; every other field of the reply is for `/v1/order` to tell."""

    uuid: Name


class ChanceSide(Wire):
    """What one side of a market may be traded in."""

    currency: Currency
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

    currency: Currency
    balance: Amount
    locked: Amount


class Chance(Wire):
    """`/v1/orders/chance`: fees are fractions of the value."""

    bid_fee: Rate
    ask_fee: Rate
    market: ChanceMarket
    bid_account: ChanceAccount
    ask_account: ChanceAccount


class ApiKey(Wire):
    """One row of `/v1/api_keys`; a key lasts a year and cannot be prolonged."""

    access_key: str = Field(repr=False)
    expire_at: UtcTime
