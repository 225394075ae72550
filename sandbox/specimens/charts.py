"""The pictures: the chart of an analysis over simulated candles, and the curve of the accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

from charts import equity, price
from sandbox.simulated import simulated_book
from sandbox.specimens.figures import BTC_PRICE, NOW
from trading.periods import KST
from trading.types import Candle, PriceRange, Side

SEED = 7
DAYS = 7
DAY = timedelta(days=1)
MORNING = NOW.replace(hour=0, minute=0, second=0)


def price_chart() -> bytes:
    """A BUY with what was bought before, as PNG."""
    last = BTC_PRICE
    candles = _ending_at(last, simulated_book(SEED, lambda: NOW).daily("upbit", "KRW-BTC"))

    def between(low: str, high: str) -> PriceRange:
        return PriceRange(last * D(low), last * D(high))

    return price.draw(
        price.PriceChart(
            title="KRW-BTC  BUY 82%",
            subtitle=f"upbit, paper - KRW, daily candles - {NOW.astimezone(KST):%Y-%m-%d %H:%M} KST",
            currency="KRW",
            candles=candles,
            price=last,
            buy=between("0.983", "1.001"),
            sell=between("1.024", "1.048"),
            stop=last * D("0.95"),
            average=last * D("0.986"),
            fills=[price.Traded(candles[-9].time, Side.BUY, candles[-9].close)],
            orders=[price.Resting(Side.BUY, last * D("0.984"))],
        )
    )


def equity_chart() -> bytes:
    """Two accounts over a week, as PNG."""
    book = simulated_book(SEED, lambda: NOW)
    accounts = []
    for name, currency, symbol, total, rate in (
        ("upbit", "KRW", "KRW-BTC", 10_284_330, "0.0081"),
        ("yfinance", "USD", "AAPL", 10_040, "0.0049"),
    ):
        closes = [candle.close for candle in book.daily(name, symbol)][-8 * DAYS :]
        points = [
            (MORNING - timedelta(hours=3 * (len(closes) - number)), D(total) * (1 + (close / closes[-1] - 1) / 8))
            for number, close in enumerate(closes, 1)
        ]
        accounts.append(equity.Account(name, currency, points, D(rate)))
    return equity.draw(
        equity.EquityChart(
            title="Accounts, last 7 days",
            subtitle=f"paper - lighter, with its change: {MORNING - DAY:%m-%d} 09:00 - {MORNING:%m-%d} 09:00 KST",
            since=MORNING - DAYS * DAY,
            told_since=MORNING - DAY,
            until=MORNING,
            accounts=accounts,
        )
    )


def _ending_at(price: D, candles: Sequence[Candle]) -> list[Candle]:
    """The same course, so that it ends at a price."""
    rate = price / candles[-1].close
    return [
        replace(one, open=one.open * rate, high=one.high * rate, low=one.low * rate, close=one.close * rate)
        for one in candles
    ]
