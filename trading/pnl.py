"""Realised profit and positions, from fills alone. Fees and the sell side's transaction tax are taken off."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources

from trading.periods import kst_day, kst_week
from trading.portfolio import NONE, after_buy, after_sell, realised_profit
from trading.types import Fill, Position, Side


class BadFills(ValueError):
    """The fills do not fit together, such as a sale of more than was bought: some are missing, read them anew."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill and what was traded; `asset_type` as in `Instrument`, `currency` that of price and fee."""

    market: str
    symbol: str
    asset_type: str
    currency: str
    side: Side
    fill: Fill


@dataclass(frozen=True, slots=True)
class Realised:
    """What one sale earned, in `currency`: its value less the average cost of what was sold, `fee` and `tax`."""

    market: str
    symbol: str
    currency: str
    at: datetime
    quantity: Decimal
    value: Decimal
    fee: Decimal
    tax: Decimal
    profit: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Positions by (market, symbol), without those sold off, and the sales in order of time."""

    positions: dict[tuple[str, str], Position]
    realised: tuple[Realised, ...]


def book(trades: Iterable[Trade], *, exempt: Collection[str] = ()) -> Book:
    """Work off the fills in order of time; a trade id that comes twice in a market counts once.

    Cost is the average, buy fees included. `exempt` are the symbols free of transaction tax, such as ETFs.
    Raises `BadFills`.
    """
    held: dict[tuple[str, str], Position] = {}
    sales: list[Realised] = []
    once = {(trade.market, trade.fill.trade_id): trade for trade in trades}
    # of fills at the same moment the buys come first: what is sold has been bought
    in_order = sorted(once.values(), key=lambda trade: (trade.fill.at, trade.side is Side.SELL, trade.fill.trade_id))
    for trade in in_order:
        key, fill = (trade.market, trade.symbol), trade.fill
        position = held.get(key, NONE)
        try:
            if trade.side is Side.BUY:
                held[key] = after_buy(position, fill.quantity, fill.price, fill.fee)
                continue
            rest = after_sell(position, fill.quantity)
            value = fill.quantity * fill.price
            tax = Decimal(0) if trade.symbol in exempt else value * tax_rate(trade.asset_type, kst_day(fill.at))
            profit = realised_profit(position, fill.quantity, fill.price, fill.fee + tax)
        except ValueError as error:
            raise BadFills(f"{trade.symbol}: fill {fill.trade_id} of {fill.at.isoformat()}: {error}") from error
        held[key] = rest
        sales.append(
            Realised(trade.market, trade.symbol, trade.currency, fill.at, fill.quantity, value, fill.fee, tax, profit)
        )
    return Book({key: position for key, position in held.items() if position.quantity}, tuple(sales))


def profit_by_day(realised: Iterable[Realised]) -> dict[tuple[str, date], Decimal]:
    """Realised profit by currency and KST day."""
    return _summed(realised, kst_day)


def profit_by_week(realised: Iterable[Realised]) -> dict[tuple[str, date], Decimal]:
    """Realised profit by currency and the Monday of the KST week."""
    return _summed(realised, kst_week)


def tax_rate(asset_type: str, on: date) -> Decimal:
    """The transaction tax on a sale filled on a KST date, as a fraction of its value. Raises `ValueError` for an
    asset type or a date that the dated rates (`taxes.json`) do not cover."""
    rates = _rates()
    if asset_type not in rates:
        raise ValueError(f"no transaction tax is known for {asset_type!r}: add it to trading/taxes.json")
    if not rates[asset_type]:
        return Decimal(0)
    started = [rate for effective, rate in rates[asset_type] if effective <= on]
    if not started:
        raise ValueError(f"no transaction tax of {asset_type} is known for {on}: add it to trading/taxes.json")
    return started[-1]


def _summed(realised: Iterable[Realised], period: Callable[[datetime], date]) -> dict[tuple[str, date], Decimal]:
    sums: dict[tuple[str, date], Decimal] = {}
    for sale in realised:
        key = (sale.currency, period(sale.at))
        sums[key] = sums.get(key, Decimal(0)) + sale.profit
    return sums


@lru_cache(maxsize=1)
def _rates() -> dict[str, list[tuple[date, Decimal]]]:
    document = json.loads(resources.files("trading").joinpath("taxes.json").read_text(encoding="utf-8"))
    return {
        asset_type: sorted((date.fromisoformat(row["effective"]), Decimal(row["sell"])) for row in rows)
        for asset_type, rows in document["rates"].items()
    }
