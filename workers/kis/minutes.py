"""Minutes put together to longer candles."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby

from trading.types import Candle


def bucket_start(time: datetime, unit: int) -> datetime:
    """The start of the `unit`-minute candle that holds `time`; Korean hours start with UTC hours."""
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = (time.hour * 60 + time.minute) // unit * unit
    return midnight + timedelta(minutes=minutes)


def aggregate(minutes: Iterable[Candle], unit: int) -> list[Candle]:
    """Candles of `unit` minutes from candles of one minute, both oldest first."""
    return [
        _merge(start, list(group)) for start, group in groupby(minutes, lambda candle: bucket_start(candle.time, unit))
    ]


def _merge(start: datetime, minutes: list[Candle]) -> Candle:
    return Candle(
        time=start,
        open=minutes[0].open,
        high=_extreme([minute.high for minute in minutes], highest=True),
        low=_extreme([minute.low for minute in minutes], highest=False),
        close=minutes[-1].close,
        volume=sum((minute.volume for minute in minutes), Decimal(0)),
    )


def _extreme(values: list[Decimal], *, highest: bool) -> Decimal:
    # NaN does not compare; it is passed on, for the check of the candles to name it
    broken = [value for value in values if value.is_nan()]
    if broken:
        return broken[0]
    return max(values) if highest else min(values)
