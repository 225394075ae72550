"""Tick sizes of KRW markets by price, for the case that the venue itself names none."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from workers.dated import in_force, load


@lru_cache(maxsize=1)
def _tables() -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = load("workers.upbit", "ticks.json")["tables"]
    return tables


def krw_tick(price: Decimal, on: date) -> Decimal:
    """The smallest price step of a KRW market at `price` KRW, by the table in force at that date."""
    steps = in_force(_tables(), on)["steps"]
    return next((Decimal(step["tick"]) for step in steps if price >= Decimal(step["from"])), Decimal(steps[-1]["tick"]))
