"""What was earned: realised by our own fills, and what they hold now at the last known prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncEngine

from notifications import words as notified
from operate.connections import database
from operate.errors import CannotAnswer
from operate.fault_words import fault_words
from operate.words import OperateWords, words
from settings import Settings
from storage import analyses, trades
from trading.earnings import holdings_of, profit_of
from trading.markets import ASSET_TYPES
from trading.periods import DAY, kst_day, starts
from trading.pnl import Trade
from trading.reports import Holding, Profit

MOST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Earned:
    """A market's trades of a period, and what its fills hold now, in `currency`."""

    market: str
    currency: str
    profit: Profit
    holdings: tuple[Holding, ...]

    @property
    def worth(self) -> Decimal:
        return sum((holding.worth for holding in self.holdings), Decimal(0))

    @property
    def unrealised(self) -> Decimal:
        return self.worth - self._cost

    @property
    def unrealised_rate(self) -> Decimal | None:
        """What is held has gained over its cost, 0.05 for five percent."""
        return self.unrealised / self._cost if self._cost > 0 else None

    @property
    def _cost(self) -> Decimal:
        return sum((holding.quantity * holding.average_price for holding in self.holdings), Decimal(0))


async def show_pnl(settings: Settings, days: int) -> str:
    """Realised profit of the last so many KST days, today's included, after fees and taxes, and what is unrealised now:
    by market and currency, which are never added up over currencies."""
    if not 1 <= days <= MOST_DAYS:
        raise CannotAnswer(fault_words(settings.notify_language).days.format(days=days, most=MOST_DAYS))
    told, money = words(settings.notify_language), notified.words(settings.notify_language)
    now = datetime.now(UTC)
    start = starts(kst_day(now)) - (days - 1) * DAY
    async with database(settings) as engine:
        found = await earned(engine, start, now)
    lines = [f"{told.pnl_title.format(days=days, first=kst_day(start), last=kst_day(now))}"]
    for one in found:
        mode = money.modes["live" if settings.live(one.market) else "paper"]
        lines += [f"{one.market} ({mode}), {one.currency}", *(f"  {line}" for line in _figures(told, money, one))]
    lines += _totals(told, money, found)
    return "\n".join(lines if found else [*lines, told.nothing_traded])


async def earned(engine: AsyncEngine, start: datetime, end: datetime) -> list[Earned]:
    """What each market earned from `start` until before `end`, those left out that neither traded nor hold anything."""
    grouped: dict[tuple[str, str], list[Trade]] = {}
    for trade in await trades.trades(engine, ASSET_TYPES):
        grouped.setdefault((trade.market, trade.currency), []).append(trade)
    found = []
    for (market, currency), fills in sorted(grouped.items()):
        held = holdings_of(fills, end, await analyses.last_prices(engine, market))
        profit = profit_of(fills, start, end)
        if profit.fills or held:
            found.append(Earned(market, currency, profit, held))
    return found


def _figures(told: OperateWords, money: notified.Words, one: Earned) -> Iterable[str]:
    def amount(value: Decimal, *, signed: bool = False) -> str:
        return money.amount(value, one.currency, signed=signed)

    profit = one.profit
    yield told.realised.format(
        amount=amount(profit.realised, signed=True), rate=_rate(profit.rate), fills=f"{profit.fills:,}"
    )
    yield told.fees_and_taxes.format(fees=amount(profit.fees), taxes=amount(profit.taxes))
    yield told.unrealised.format(
        amount=amount(one.unrealised, signed=True),
        rate=_rate(one.unrealised_rate),
        symbols=len(one.holdings),
        worth=amount(one.worth),
    )
    if profit.unbooked:
        yield told.not_bought_here.format(symbols=", ".join(profit.unbooked))


def _totals(told: OperateWords, money: notified.Words, found: list[Earned]) -> list[str]:
    """A sum for each currency that more than one market is traded in."""
    lines = []
    for currency in sorted({one.currency for one in found}):
        of = [one for one in found if one.currency == currency]
        if len(of) > 1:
            realised = sum((one.profit.realised for one in of), Decimal(0))
            unrealised = sum((one.unrealised for one in of), Decimal(0))
            lines.append(
                told.total.format(
                    currency=currency,
                    realised=money.amount(realised, currency, signed=True),
                    unrealised=money.amount(unrealised, currency, signed=True),
                )
            )
    return lines


def _rate(rate: Decimal | None) -> str:
    return "" if rate is None else f" ({rate:+.2%})"
