"""What is traded in the past and on which terms: from the dated data of the venues, with no request to any."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from trading.markets import ASSET_TYPES
from trading.types import Instrument
from workers.dated import in_force, load
from workers.kis.ticks import krx_tick
from workers.upbit.ticks import krw_tick

CURRENCIES = {"upbit": "KRW", "kis": "KRW", "yfinance": "USD"}
COIN_STEP = Decimal("0.00000001")
SEOUL, NEW_YORK = ZoneInfo("Asia/Seoul"), ZoneInfo("America/New_York")
# regular sessions; a coin's day is that of its daily candle
SESSIONS = {"kis": (SEOUL, time(9), time(15, 30)), "yfinance": (NEW_YORK, time(9, 30), time(16))}


def session(market: str, day: date) -> tuple[datetime, datetime]:
    """When the day's first trade may be and when its candle is closed, UTC. Short days are taken for whole ones."""
    if market not in SESSIONS:
        opens = datetime.combine(day, time(0), UTC)
        return opens, opens + timedelta(days=1)
    zone, first, last = SESSIONS[market]
    return tuple(datetime.combine(day, at, zone).astimezone(UTC) for at in (first, last))  # type: ignore[return-value]


def instrument_of(market: str, symbol: str, on: date) -> Instrument:
    """A symbol on the terms of that day; its name is its symbol."""
    crypto = market == "upbit"
    terms = in_force(_fees(market), on)
    return Instrument(
        market=market,
        symbol=symbol,
        name=symbol,
        asset_type=ASSET_TYPES[market],
        currency=CURRENCIES[market],
        quantity_step=COIN_STEP if crypto else Decimal(1),
        min_order_value=Decimal(terms["min_order_value"]) if crypto else Decimal(1),
        fee_rate=Decimal(terms["fee_rate"] if crypto else terms["brokerage"]),
    )


def tick_at(market: str, price: Decimal, on: date) -> Decimal:
    """The price step at `price` by the table of that day; funds of the Korea Exchange are taken for stocks."""
    if market == "upbit":
        return krw_tick(price, on)
    if market == "kis":
        return krx_tick(price, on)
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")


@lru_cache(maxsize=3)
def _fees(market: str) -> list[dict[str, str]]:
    rates: list[dict[str, str]] = load(f"workers.{market}", "fees.json")["rates"]
    return rates
