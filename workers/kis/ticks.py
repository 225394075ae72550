"""Price steps of the Korea Exchange by price. What KIS itself names (`aspr_unit`) goes first where it applies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from trading.types import Quote
from workers.dated import in_force, load

Kind: TypeAlias = Literal["stock", "fund"]
"""Which table holds: `fund` is an ETF or ETN."""
STOCK: Kind = "stock"
KINDS: tuple[Kind, ...] = (STOCK, "fund")


@lru_cache(maxsize=1)
def _tables() -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = load("workers.kis", "ticks.json")["tables"]
    return tables


def krx_tick(price: Decimal, on: date, kind: Kind = STOCK) -> Decimal:
    """The price step at `price` KRW, by the table in force at that date."""
    return Decimal(_step(price, on, kind)["tick"])


def kind_by_tick(price: Decimal, tick: Decimal, on: date) -> Kind | None:
    """Of which kind an instrument with that step at `price` is; None where both have it, or neither."""
    stock, fund = krx_tick(price, on, "stock"), krx_tick(price, on, "fund")
    if stock == fund or tick not in (stock, fund):
        return None
    return "stock" if tick == stock else "fund"


def tick_beside(quote: Quote, price: Decimal, on: date) -> Decimal:
    """The step at `price` of what is quoted: the venue's own in the band of the last price, the table's elsewhere.

    Where the last price does not tell whether it is a stock or a fund, the finer one of the two: what is off the
    coarser one is for the venue to refuse.
    """
    kinds = [kind for kind in KINDS if krx_tick(quote.price, on, kind) == quote.tick_size] or [STOCK]
    if any(_step(price, on, each) is _step(quote.price, on, each) for each in kinds):
        return quote.tick_size
    return min(krx_tick(price, on, each) for each in kinds)


def _step(price: Decimal, on: date, kind: Kind) -> Mapping[str, str]:
    steps: list[dict[str, str]] = in_force(_tables(), on)[kind]
    return next((step for step in steps if price >= Decimal(step["from"])), steps[-1])
