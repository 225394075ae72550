"""What an analyst that reads is given: one instrument, its candles and numbers, as plain data in a fixed order.

The same market data always makes the same snapshot, so a stored prompt can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trading.indicators import Indicators
from trading.names import one_line
from trading.types import Candle, Instrument, Position, Quote

LAST_DAYS = 10
LAST_HOURS = 24
# more digits than these say nothing about a price, and cost tokens
SIGNIFICANT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Checked candles, oldest first. `fundamentals` are those of `trading.fundamentals`, None where not known."""

    instrument: Instrument
    quote: Quote
    daily: Sequence[Candle]
    hourly: Sequence[Candle]
    indicators: Indicators
    position: Position
    fundamentals: Mapping[str, Decimal | None] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Ready for JSON; prices as plain numbers in the instrument's currency, times in UTC."""
        instrument, quote = self.instrument, self.quote
        return {
            "instrument": {
                "market": instrument.market,
                "symbol": instrument.symbol,
                "name": one_line(instrument.name),
                "type": instrument.asset_type,
                "currency": instrument.currency,
            },
            "quote": {
                "price": _plain(quote.price),
                "bid": _plain(quote.bid),
                "ask": _plain(quote.ask),
                "tick_size": _plain(quote.tick_size),
                "at": f"{quote.at:%Y-%m-%dT%H:%MZ}",
            },
            "position": {
                "quantity": _plain(self.position.quantity),
                "average_price": _plain(self.position.average_price) if self.position.quantity else None,
            },
            "indicators": {
                name: None if value is None else float(f"{value:.{SIGNIFICANT}g}")
                for name, value in self.indicators.as_dict().items()
            },
            "fundamentals": {
                name: None if value is None else _plain(value) for name, value in sorted(self.fundamentals.items())
            },
            "days": [_bar(candle, "%Y-%m-%d") for candle in self.daily[-LAST_DAYS:]],
            "hours": [_bar(candle, "%m-%dT%H:%MZ") for candle in self.hourly[-LAST_HOURS:]],
        }


def _bar(candle: Candle, time: str) -> list[Any]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    return [f"{candle.time:{time}}", *map(_plain, prices), float(f"{candle.volume:.{SIGNIFICANT}g}")]


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
