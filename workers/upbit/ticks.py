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
    return Decimal(_band(price, on)["tick"])


def band_start(price: Decimal, on: date) -> Decimal:
    """The lowest price of the band `price` lies in, by the table in force at that date: one step holds in a band."""
    return Decimal(_band(price, on)["from"])


def pair_tick(price: Decimal, named: Decimal, named_at: Decimal, on: date) -> Decimal:
    """The price step at `price` of a pair that has `named` at the price `named_at`. That holds for its band; some
    pairs have a step of their own there."""
    return named if band_start(price, on) == band_start(named_at, on) else krw_tick(price, on)


def _band(price: Decimal, on: date) -> dict[str, str]:
    steps: list[dict[str, str]] = in_force(_tables(), on)["steps"]
    # a price that is no number is for the check of the quote to refuse
    return next((step for step in steps if not price.is_nan() and price >= Decimal(step["from"])), steps[-1])
