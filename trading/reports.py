"""What a KST day or week earned, per currency: from fills, the taxes on them, and what the accounts were worth.

Realised profit is that of the period's sales, fees of both sides and taxes taken off, at average cost. Open positions
show in the equity only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Literal

from trading.breaker import Equity, Flow, growths
from trading.periods import DAY, WEEK, kst_day, kst_week, starts
from trading.pnl import BadFills, Realised, Trade, book
from trading.types import Side

Period = Literal["day", "week"]

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class AccountHistory:
    """What one market's account was worth, from before the period on, and what was paid in and out meanwhile."""

    market: str
    currency: str
    points: Sequence[Equity]
    flows: Sequence[Flow] = ()


@dataclass(frozen=True, slots=True)
class SymbolProfit:
    """What the sales of a symbol earned, in the report's currency."""

    market: str
    symbol: str
    realised: Decimal
    sales: int


@dataclass(frozen=True, slots=True)
class CurrencyProfit:
    """One currency's share of a report.

    `fees` are of both sides, `taxes` of the sales; `realised` is after both. `equity_start` and `equity_end` are None
    where no account was seen in time; `rate` is what the accounts gained, 0.05 for five percent, with deposits and
    withdrawals taken out. `symbols` stand best first. `unbooked` names symbols (`market symbol`) that were sold in the
    period and whose cost is not known, since they were not bought here: their profit is in no sum.
    """

    currency: str
    realised: Decimal
    fees: Decimal
    taxes: Decimal
    volume: Decimal
    fills: int
    equity_start: Decimal | None
    equity_end: Decimal | None
    rate: Decimal | None
    symbols: tuple[SymbolProfit, ...]
    unbooked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProfitReport:
    """A day or a week from `starts_at` until before `ends_at`, both 00:00 KST."""

    period: Period
    starts_at: datetime
    ends_at: datetime
    currencies: tuple[CurrencyProfit, ...]


def bounds(period: Period, at: datetime) -> tuple[datetime, datetime]:
    """Start and end of the KST day or week that `at`, an aware time, lies in."""
    start, length = (starts(kst_day(at)), DAY) if period == "day" else (starts(kst_week(at)), WEEK)
    return start, start + length


def last_ended(period: Period, now: datetime) -> datetime:
    """The start of the last day or week that is over at `now`, an aware time."""
    start, end = bounds(period, now)
    return start - (end - start)


def profit_report(
    period: Period,
    at: datetime,
    trades: Iterable[Trade],
    accounts: Iterable[AccountHistory],
    *,
    exempt: Collection[str] = (),
) -> ProfitReport:
    """The report of the KST day or week that `at` lies in.

    `trades` are all fills since the beginning, since a sale's cost is that of what was bought before. `exempt` are the
    symbols free of transaction tax. A currency is there if it traded in the period or has an account.
    """
    start, end = bounds(period, at)
    histories = list(accounts)
    # a trade that is told twice is still one
    once = {(trade.market, trade.fill.trade_id): trade for trade in trades if trade.fill.at < end}
    inside = [trade for trade in once.values() if trade.fill.at >= start]
    sales, unbooked = _sales(once.values(), inside, start, exempt)
    currencies = {trade.currency for trade in inside} | {history.currency for history in histories}
    return ProfitReport(
        period,
        start,
        end,
        tuple(
            _of_currency(
                currency,
                [trade for trade in inside if trade.currency == currency],
                [sale for sale in sales if sale.currency == currency],
                tuple(sorted(name for name, of in unbooked.items() if of == currency)),
                _equity([history for history in histories if history.currency == currency], start, end),
            )
            for currency in sorted(currencies)
        ),
    )


def _sales(
    trades: Iterable[Trade], inside: Iterable[Trade], start: datetime, exempt: Collection[str]
) -> tuple[list[Realised], dict[str, str]]:
    """The period's sales, and by name the currency of each symbol whose sales cannot be booked."""
    sold = {(trade.market, trade.symbol): trade.currency for trade in inside if trade.side is Side.SELL}
    by_symbol: dict[tuple[str, str], list[Trade]] = {key: [] for key in sold}
    for trade in trades:
        if (trade.market, trade.symbol) in by_symbol:
            by_symbol[trade.market, trade.symbol].append(trade)
    sales: list[Realised] = []
    unbooked: dict[str, str] = {}
    # symbol by symbol: one that was held before anything was bought here must not take the others' figures with it
    for (market, symbol), of_symbol in by_symbol.items():
        try:
            realised = book(of_symbol, exempt=exempt).realised
        except BadFills:
            unbooked[f"{market} {symbol}"] = sold[market, symbol]
            continue
        sales.extend(sale for sale in realised if sale.at >= start)
    return sales, unbooked


def _of_currency(
    currency: str,
    inside: Sequence[Trade],
    sales: Sequence[Realised],
    unbooked: tuple[str, ...],
    equity: tuple[Decimal, Decimal, Decimal | None] | None,
) -> CurrencyProfit:
    worth_start, worth_end, rate = equity or (None, None, None)
    by_symbol: dict[tuple[str, str], list[Decimal]] = {}
    for sale in sales:
        by_symbol.setdefault((sale.market, sale.symbol), []).append(sale.profit)
    symbols = [SymbolProfit(*key, sum(profits, ZERO), len(profits)) for key, profits in by_symbol.items()]
    return CurrencyProfit(
        currency=currency,
        realised=sum((sale.profit for sale in sales), ZERO),
        fees=sum((trade.fill.fee for trade in inside), ZERO),
        taxes=sum((sale.tax for sale in sales), ZERO),
        volume=sum((trade.fill.quantity * trade.fill.price for trade in inside), ZERO),
        fills=len(inside),
        equity_start=worth_start,
        equity_end=worth_end,
        rate=rate,
        symbols=tuple(sorted(symbols, key=lambda one: (-one.realised, one.market, one.symbol))),
        unbooked=unbooked,
    )


def _equity(
    histories: Iterable[AccountHistory], start: datetime, end: datetime
) -> tuple[Decimal, Decimal, Decimal | None] | None:
    """What the accounts were worth at both ends, and the rate they gained together; None where none was seen.

    An account not seen before the period counts from the first time it was seen in it.
    """
    first = last = grown = ZERO
    seen = False
    for history in histories:
        points = sorted((point for point in history.points if point.at < end), key=lambda point: point.at)
        if not points:
            continue
        seen = True
        opening = next(chain((p for p in reversed(points) if p.at <= start), points))
        growth = [after for _, after in growths(points, history.flows, start)][-1:] or [Decimal(1)]
        first, last, grown = first + opening.total, last + points[-1].total, grown + opening.total * growth[0]
    if not seen:
        return None
    return first, last, grown / first - 1 if first > 0 else None
