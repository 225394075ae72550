"""Replies of the Upbit quotation API, the fields we need (docs.upbit.com, v1.6)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from trading.fundamentals import told
from workers.wire import Number, ToldAmount, UtcTime, Wire

# of the years 2000 to 2100
Milliseconds = Annotated[int, Field(ge=946_684_800_000, lt=4_133_980_800_000)]


def _not_negative(value: Decimal) -> Decimal:
    if not (value.is_finite() and value >= 0):
        raise ValueError("is not 0 or more")
    return value


Size = Annotated[Number, AfterValidator(_not_negative)]


class CandleRow(Wire):
    """One row of `/v1/candles/*`; `candle_date_time_utc` is its start and names no zone."""

    market: str
    candle_date_time_utc: UtcTime
    opening_price: Number
    high_price: Number
    low_price: Number
    trade_price: Number
    candle_acc_trade_volume: Number


class Ticker(Wire):
    """One row of `/v1/ticker`; `timestamp` in milliseconds."""

    market: str
    trade_price: Number
    timestamp: Milliseconds
    highest_52_week_price: ToldAmount = None
    lowest_52_week_price: ToldAmount = None
    acc_trade_volume_24h: ToldAmount = None
    acc_trade_price_24h: ToldAmount = None

    @property
    def fundamentals(self) -> dict[str, Decimal]:
        """By the names of `trading.fundamentals`."""
        return told(
            week52_high=self.highest_52_week_price,
            week52_low=self.lowest_52_week_price,
            volume_24h=self.acc_trade_volume_24h,
            turnover_24h=self.acc_trade_price_24h,
        )


class OrderbookUnit(Wire):
    """One level of the book; the first one is the best."""

    ask_price: Number
    bid_price: Number
    ask_size: Size | None = None
    bid_size: Size | None = None


class Orderbook(Wire):
    """One row of `/v1/orderbook`; `timestamp` in milliseconds."""

    market: str
    timestamp: Milliseconds
    orderbook_units: list[OrderbookUnit]


class OrderbookInstrument(Wire):
    """One row of `/v1/orderbook/instruments`, whose values are strings."""

    market: str
    tick_size: Size | None = None


class Listing(Wire):
    """One row of `/v1/market/all`."""

    market: str
    korean_name: str


class Fault(Wire):
    """What is in `error`: `name` is a number in quotation errors and a word elsewhere."""

    name: int | str
    message: str = ""


class FaultReply(Wire):
    """The body of every refusal."""

    error: Fault
