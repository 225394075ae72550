"""A market's trades and account over a period, as a report shows them. Money is in the market's currency."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain

from trading.breaker import Equity, Flow, growths
from trading.pnl import BadFills, Realised, Trade, book
from trading.reports import Holding, Profit, SymbolProfit, Worth
from trading.round_trips import RoundTrip, round_trips
from trading.types import Side

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an account held when it was last looked at in a period."""

    at: datetime
    cash: Decimal
    positions: Decimal


def profit_of(trades: Iterable[Trade], start: datetime, end: datetime, *, exempt: Collection[str] = ()) -> Profit:
    """What was traded from `start` until before `end`.

    `trades` are all fills of one market and currency since the beginning, since a sale's cost is that of what was
    bought before. `exempt` are the symbols free of transaction tax.
    """
    past = _until(trades, end)
    inside = [trade for trade in past if trade.fill.at >= start]
    sold_symbols = {trade.symbol for trade in inside if trade.side is Side.SELL}
    sales: list[Realised] = []
    trips: list[RoundTrip] = []
    unbooked = []
    # symbol by symbol: one that was held before anything was bought here must not take the others' figures with it
    for symbol, of_symbol in _by_symbol(past, sold_symbols).items():
        try:
            sales.extend(sale for sale in book(of_symbol, exempt=exempt).realised if sale.at >= start)
            trips.extend(trip for trip in round_trips(of_symbol, exempt=exempt) if trip.ended_at >= start)
        except BadFills:
            unbooked.append(symbol)
    return Profit(
        fills=len(inside),
        bought=_value(inside, Side.BUY),
        sold=_value(inside, Side.SELL),
        fees=sum((trade.fill.fee for trade in inside), ZERO),
        taxes=sum((sale.tax for sale in sales), ZERO),
        realised=sum((sale.profit for sale in sales), ZERO),
        rate=_rate(sales),
        symbols=_symbols(sales),
        unbooked=tuple(sorted(unbooked)),
        round_trips=len(trips),
        won=sum(trip.profit > 0 for trip in trips),
    )


def holdings_of(trades: Iterable[Trade], end: datetime, prices: Mapping[str, Decimal]) -> tuple[Holding, ...]:
    """What our own fills left by `end`, the largest worth first.

    A symbol is worth its price in `prices`, else that of its last fill. One whose fills do not fit together, because
    it was held before anything was bought here, is left out.
    """
    past = _until(trades, end)
    found = []
    for symbol, of_symbol in _by_symbol(past, {trade.symbol for trade in past}).items():
        try:
            positions = book(of_symbol).positions.values()
        except BadFills:
            continue
        for position in positions:
            price = prices.get(symbol, max(of_symbol, key=lambda trade: trade.fill.at).fill.price)
            average = position.average_price
            rate = price / average - 1 if average > 0 else None
            found.append(Holding(symbol, position.quantity, average, price, position.quantity * price, rate))
    return tuple(sorted(found, key=lambda holding: (-holding.worth, holding.symbol)))


def worth_of(
    seen: Seen | None, points: Sequence[Equity], start: datetime, end: datetime, *, flows: Sequence[Flow] = ()
) -> Worth | None:
    """What the account came to, or None where it was never seen before `end`.

    `points` are what it was worth, from the last time not after `start` on.
    """
    known = sorted((point for point in points if point.at < end), key=lambda point: point.at)
    if seen is None or not known:
        return None
    opening = next(chain((point for point in reversed(known) if point.at <= start), known))
    grown = [growth for _, growth in growths(known, flows, start)]
    return Worth(
        at=seen.at,
        cash=seen.cash,
        positions=seen.positions,
        total=seen.cash + seen.positions,
        start=opening.total,
        rate=(grown[-1] if grown else Decimal(1)) - 1 if opening.total > 0 else None,
        drawdown=drawdown(grown) if opening.total > 0 else None,
    )


def drawdown(grown: Iterable[Decimal]) -> Decimal:
    """The deepest fall from a high before it, 0.1 for ten percent; `grown` over the start, which counts as a high."""
    high, deepest = Decimal(1), ZERO
    for growth in grown:
        high = max(high, growth)
        deepest = max(deepest, 1 - growth / high)
    return deepest


def _until(trades: Iterable[Trade], end: datetime) -> list[Trade]:
    # a trade that is told twice is still one
    return list({trade.fill.trade_id: trade for trade in trades if trade.fill.at < end}.values())


def _by_symbol(trades: Iterable[Trade], symbols: Collection[str]) -> dict[str, list[Trade]]:
    found: dict[str, list[Trade]] = {}
    for trade in trades:
        if trade.symbol in symbols:
            found.setdefault(trade.symbol, []).append(trade)
    return found


def _value(trades: Iterable[Trade], side: Side) -> Decimal:
    return sum((trade.fill.quantity * trade.fill.price for trade in trades if trade.side is side), ZERO)


def _rate(sales: Iterable[Realised]) -> Decimal | None:
    """The profit of sales over the average cost of what was sold."""
    profit = cost = ZERO
    for sale in sales:
        profit += sale.profit
        cost += sale.value - sale.fee - sale.tax - sale.profit
    return profit / cost if cost > 0 else None


def _symbols(sales: Iterable[Realised]) -> tuple[SymbolProfit, ...]:
    by_symbol: dict[str, list[Realised]] = {}
    for sale in sales:
        by_symbol.setdefault(sale.symbol, []).append(sale)
    found = [
        SymbolProfit(symbol, sum((sale.profit for sale in of_symbol), ZERO), _rate(of_symbol), len(of_symbol))
        for symbol, of_symbol in by_symbol.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.realised, one.symbol)))
