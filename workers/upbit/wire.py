"""Replies of the Upbit quotation API, the fields we need (docs.upbit.com, v1.6)."""

from __future__ import annotations

from workers.wire import Number, UtcTime, Wire


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
    timestamp: int


class OrderbookUnit(Wire):
    """One level of the book; the first one is the best."""

    ask_price: Number
    bid_price: Number


class Orderbook(Wire):
    """One row of `/v1/orderbook`; `timestamp` in milliseconds."""

    market: str
    timestamp: int
    orderbook_units: list[OrderbookUnit]


class OrderbookInstrument(Wire):
    """One row of `/v1/orderbook/instruments`, whose values are strings."""

    market: str
    tick_size: Number | None = None


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
