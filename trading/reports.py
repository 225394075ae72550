"""What a day or a week came to, market by market: decisions, trades, profit, what is held, and what went wrong.

A day runs from 09:00 KST to 09:00 KST, so that a morning's report has the whole session of New York in it, and a week
from Monday 09:00. Realised profit is that of the period's sales, fees of both sides and taxes taken off, at average
cost. Open positions show in the account only. Currencies are never added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from trading.periods import DAY, WEEK, kst_day, kst_week, starts

Period = Literal["day", "week"]

OPENS = timedelta(hours=9)


@dataclass(frozen=True, slots=True)
class Decisions:
    """How many analyses said what; `overruled` of the HOLDs are proposals that did not pass the validator."""

    buy: int = 0
    sell: int = 0
    hold: int = 0
    overruled: int = 0


@dataclass(frozen=True, slots=True)
class Sweeps:
    """The scheduled sweeps of a market: `expected` is None where none are scheduled. `carried_out` ended, `closed` of
    them because the market was."""

    expected: int | None = None
    carried_out: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True)
class SymbolProfit:
    """What the sales of a symbol earned; `rate` over the cost of what was sold, 0.05 for five percent."""

    symbol: str
    realised: Decimal
    rate: Decimal | None
    sales: int


@dataclass(frozen=True, slots=True)
class Profit:
    """A market's trades in its currency.

    `bought` and `sold` are values without fees; `fees` are of both sides, `taxes` of the sales; `realised` is after
    both, `rate` that over the average cost of what was sold. `symbols` stand best first. `unbooked` are symbols that
    were sold and whose cost is not known, since they were not bought here: their profit is in no sum. Of
    `round_trips`, from nothing held to nothing held again, `won` earned something.
    """

    fills: int
    bought: Decimal
    sold: Decimal
    fees: Decimal
    taxes: Decimal
    realised: Decimal
    rate: Decimal | None
    symbols: tuple[SymbolProfit, ...]
    unbooked: tuple[str, ...]
    round_trips: int
    won: int


@dataclass(frozen=True, slots=True)
class Holding:
    """Units of a symbol at the period's end. `price` is the last one known by then, `worth` that of all units, `rate`
    what they have gained over their cost."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    price: Decimal
    worth: Decimal
    rate: Decimal | None


@dataclass(frozen=True, slots=True)
class Worth:
    """A market's account as it was last seen in the period, at `at`.

    `start` is the total that the report before showed; an account that is new starts with the first it was seen with.
    `rate` is what it gained, deposits and withdrawals taken out, and `drawdown` the deepest fall from a high of the
    period, both as fractions; None where they cannot be told.
    """

    at: datetime
    cash: Decimal
    positions: Decimal
    total: Decimal
    start: Decimal
    rate: Decimal | None
    drawdown: Decimal | None


@dataclass(frozen=True, slots=True)
class MarketReport:
    """One market. `currency` is "" and there is no `profit` where nothing was ever traded or held in it."""

    market: str
    asset_type: str
    currency: str
    decisions: Decisions
    sweeps: Sweeps
    profit: Profit | None
    worth: Worth | None
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """So many analyses of a market ended with an error of this kind."""

    market: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time in which no market was swept."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What one language model was asked and cost, in USD by list prices."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Report:
    """A day or a week from `starts_at` until before `ends_at`, both 09:00 KST.

    `alerts_sent` is None where it cannot be told, `dead_letters` are alerts that were given up.
    """

    period: Period
    starts_at: datetime
    ends_at: datetime
    markets: tuple[MarketReport, ...]
    failures: tuple[Failure, ...]
    alerts_sent: int | None
    dead_letters: int
    gap: Gap | None
    models: tuple[ModelUse, ...]

    def realised(self) -> dict[str, Decimal]:
        """Realised profit by currency."""
        sums: dict[str, Decimal] = {}
        for market in self.markets:
            if market.profit is not None:
                sums[market.currency] = sums.get(market.currency, Decimal(0)) + market.profit.realised
        return sums


def bounds(period: Period, at: datetime) -> tuple[datetime, datetime]:
    """Start and end of the report's day or week that `at`, an aware time, lies in."""
    start, length = (starts(kst_day(at - OPENS)), DAY) if period == "day" else (starts(kst_week(at - OPENS)), WEEK)
    return start + OPENS, start + OPENS + length


def last_ended(period: Period, now: datetime) -> datetime:
    """The start of the last day or week that is over at `now`, an aware time."""
    start, end = bounds(period, now)
    return start - (end - start)
