"""What a replay came to, in figures: pure, from fills and from what the account was worth at each close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_FLOOR, Decimal

from replay.terms import instrument_of
from trading.markets import ASSET_TYPES
from trading.pnl import BadFills, Trade, book
from trading.round_trips import round_trips
from trading.types import Candle, Fill, Side

ZERO = Decimal(0)
Curve = Sequence[tuple[date, Decimal]]


@dataclass(frozen=True, slots=True)
class Figures:
    """One account, or the sum of several. Money in one currency; rates are fractions.

    `trades` are fills, `round_trips` those from nothing held to nothing held, of which `wins` earned something after
    fees and the tax on sales. `tax` is that tax: the paper account does not pay it, so it is not taken off `final`.
    `hold` is what buying at the first open and keeping it came to, its fee paid.
    """

    cash: Decimal
    final: Decimal
    trades: int
    round_trips: int
    wins: int
    drawdown: Decimal
    fees: Decimal
    tax: Decimal
    hold: Decimal
    hold_drawdown: Decimal

    @property
    def change(self) -> Decimal:
        return self.final / self.cash - 1 if self.cash else ZERO

    @property
    def hold_change(self) -> Decimal:
        return self.hold / self.cash - 1 if self.cash else ZERO

    @property
    def win_rate(self) -> Decimal | None:
        return Decimal(self.wins) / self.round_trips if self.round_trips else None


def figures(cash: Decimal, worth: Curve, held: Curve, trades: Sequence[Trade], symbol: str) -> Figures:
    """The figures of one symbol, whose account began with `cash`; `worth` and `held` are of the same days."""
    try:
        trips, realised = round_trips(trades), book(trades).realised
    except BadFills:
        # sales of before the taxes that are known
        trips, realised = round_trips(trades, exempt={symbol}), ()
    return Figures(
        cash=cash,
        final=worth[-1][1],
        trades=len(trades),
        round_trips=len(trips),
        wins=sum(trip.profit > 0 for trip in trips),
        drawdown=drawdown(cash, worth),
        fees=sum((trade.fill.fee for trade in trades), ZERO),
        tax=sum((sale.tax for sale in realised), ZERO),
        hold=held[-1][1],
        hold_drawdown=drawdown(cash, held),
    )


def together(parts: Sequence[Figures], worth: Curve, held: Curve) -> Figures:
    """The figures of all accounts as one, whose curves are `worth` and `held`."""
    cash = sum((part.cash for part in parts), ZERO)
    return Figures(
        cash=cash,
        final=worth[-1][1],
        trades=sum(part.trades for part in parts),
        round_trips=sum(part.round_trips for part in parts),
        wins=sum(part.wins for part in parts),
        drawdown=drawdown(cash, worth),
        fees=sum((part.fees for part in parts), ZERO),
        tax=sum((part.tax for part in parts), ZERO),
        hold=held[-1][1],
        hold_drawdown=drawdown(cash, held),
    )


def drawdown(cash: Decimal, curve: Curve) -> Decimal:
    """The deepest fall from a highest close before it, or from `cash`, as a fraction; 0 where it never fell."""
    highest, deepest = cash, ZERO
    for _, value in curve:
        highest = max(highest, value)
        if highest > 0:
            deepest = max(deepest, 1 - value / highest)
    return deepest


def kept(market: str, symbol: str, cash: Decimal, candles: Sequence[Candle]) -> list[tuple[date, Decimal]]:
    """What buying at the open of the first candle for all of `cash`, its fee included, was worth at each close."""
    first = candles[0]
    of = instrument_of(market, symbol, first.time.date())
    units = (cash / (first.open * (1 + of.fee_rate)) / of.quantity_step).quantize(Decimal(1), ROUND_FLOOR)
    units *= of.quantity_step
    left = cash - units * first.open * (1 + of.fee_rate)
    return [(candle.time.date(), left + units * candle.close) for candle in candles]


def summed(curves: Mapping[str, Curve], cash: Mapping[str, Decimal]) -> list[tuple[date, Decimal]]:
    """The sum of the curves on every day that one of them has; one without that day counts as on the day before."""
    at = dict(cash)
    by_day: dict[date, dict[str, Decimal]] = {}
    for symbol, curve in curves.items():
        for day, value in curve:
            by_day.setdefault(day, {})[symbol] = value
    found = []
    for day in sorted(by_day):
        at |= by_day[day]
        found.append((day, sum(at.values(), ZERO)))
    return found


def trades_of(market: str, symbol: str, currency: str, fills: Sequence[Sequence[str]]) -> list[Trade]:
    """The trades of a symbol, from the rows that its last part has told."""
    return [
        Trade(
            market,
            symbol,
            ASSET_TYPES[market],
            currency,
            Side(side),
            Fill(f"{number:06d}", Decimal(quantity), Decimal(price), Decimal(fee), datetime.fromisoformat(at)),
        )
        for number, (at, side, quantity, price, fee) in enumerate(fills)
    ]
