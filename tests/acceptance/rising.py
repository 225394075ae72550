"""Candles that the rule analyst buys: a steady rise with a pause at its end, so that the ask is in the buying range."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAYS = 260
PAUSE_DAYS = 3


def write(directory: Path, market: str, symbols: dict[str, float]) -> None:
    """Write `DIR/MARKET/SYMBOL.1d.csv` for each symbol, rising to about its level."""
    folder = directory / market
    folder.mkdir(parents=True, exist_ok=True)
    for symbol, level in symbols.items():
        (folder / f"{symbol}.1d.csv").write_text("\n".join(["time,open,high,low,close,volume", *_rows(symbol, level)]))


def _rows(symbol: str, level: float) -> list[str]:
    chance = random.Random(symbol)
    first = datetime(2025, 1, 1, tzinfo=UTC)
    tick = 1000 if level >= 1_000_000 else 1
    closes = []
    price = level * math.exp(-0.004 * (DAYS - PAUSE_DAYS))
    for day in range(DAYS):
        drift = 0.004 if day < DAYS - PAUSE_DAYS else 0.002
        price *= math.exp(drift + chance.gauss(0, 0.008))
        closes.append(max(tick, round(price / tick) * tick))
    rows = []
    for day, close in enumerate(closes):
        opened = closes[day - 1] if day else close
        high = max(opened, close) + 3 * tick
        low = max(tick, min(opened, close) - 3 * tick)
        rows.append(f"{first + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ},{opened},{high},{low},{close},{1000 + day}")
    return rows
