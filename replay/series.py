"""The candles of one symbol, as they are handed from who asks for a replay to the workers that run it."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.types import Candle


@dataclass(frozen=True, slots=True)
class Series:
    """Candles by day and, where there are any, by hour, oldest first, each dated as `MarketData.candles` has it."""

    daily: tuple[Candle, ...]
    hourly: tuple[Candle, ...] = ()

    def packed(self) -> str:
        """As ASCII text: a year is about 15 KB, with hours 200 KB; every digit is kept."""
        rows = json.dumps({"daily": _rows(self.daily), "hourly": _rows(self.hourly)})
        return b64encode(zlib.compress(rows.encode())).decode()

    @classmethod
    def unpacked(cls, packed: str) -> Series:
        """What `packed` made. Raises `ValueError` for anything else."""
        try:
            rows = json.loads(zlib.decompress(b64decode(packed)))
        except (zlib.error, ValueError):
            raise ValueError("these are no packed candles") from None
        return cls(_candles(rows["daily"]), _candles(rows["hourly"]))


def _rows(candles: Sequence[Candle]) -> list[list[str]]:
    return [
        [one.time.isoformat(), *(str(value) for value in (one.open, one.high, one.low, one.close, one.volume))]
        for one in candles
    ]


def _candles(rows: Sequence[Sequence[str]]) -> tuple[Candle, ...]:
    return tuple(Candle(datetime.fromisoformat(row[0]), *map(Decimal, row[1:6])) for row in rows)
