"""Pictures for messages: drawn in a thread, kept in Redis, named in the message. None is worth a task that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from threading import Lock

from notifications import pictures
from storage import analyses, portfolio
from storage import orders as journal
from storage.daily_trades import trades_of
from tasks.strategies import strategy_of
from tasks.trade import Analysed
from telemetry import instruments
from trading.exits import check_exit
from trading.periods import KST, WEEK
from trading.pnl import BadFills, book
from trading.reports import Report
from trading.types import Candle, Decision, Position, Quote
from workers.runtime import Runtime

log = logging.getLogger(__name__)

# what waits for a picture is a message, and the next run of the symbol
DRAWING_SECONDS = 5.0
# a picture takes 20 MB while it is drawn
_ONE_AT_A_TIME = Lock()

# what the curve of a report shows
BACK = {"day": (WEEK, "last 7 days"), "week": (8 * WEEK, "last 8 weeks")}

Drawn = Callable[[], bytes]


async def of_analysis(runtime: Runtime, analysed: Analysed, candles: Sequence[Candle]) -> str:
    """The name of the chart of a BUY or a SELL, "" where there is none. Never raises but to be cancelled."""
    if analysed.analysis.decision is Decision.HOLD or not candles:
        return ""
    return await _kept(runtime, "price", lambda: _price_chart(runtime, analysed, candles))


async def of_report(runtime: Runtime, report: Report) -> str:
    """The name of the curve of the accounts, "" where there is none. Never raises but to be cancelled."""
    if not any(market.worth for market in report.markets):
        return ""
    return await _kept(runtime, "equity", lambda: _equity_chart(runtime, report))


async def _kept(runtime: Runtime, kind: str, prepare: Callable[[], Awaitable[Drawn]]) -> str:
    if not (runtime.settings.charts and runtime.settings.telegram_enabled):
        return ""
    try:
        async with asyncio.timeout(DRAWING_SECONDS):
            name = await pictures.keep(runtime.redis, await asyncio.to_thread(_drawn, await prepare()))
    except Exception:
        # the edge of what trades: whatever is wrong with a picture, the message goes without it
        log.exception("no picture: the %s chart failed", kind)
        instruments.charts.add(1, {"chart": kind, "result": "failed"})
        return ""
    instruments.charts.add(1, {"chart": kind, "result": "drawn"})
    return name


def _drawn(draw: Drawn) -> bytes:
    with _ONE_AT_A_TIME:
        return draw()


async def _price_chart(runtime: Runtime, analysed: Analysed, candles: Sequence[Candle]) -> Drawn:
    # Pillow is for those who draw: a process that never does is 20 MB smaller
    from charts import price

    instrument, analysis = analysed.instrument, analysed.analysis
    market, symbol, engine = instrument.market, instrument.symbol, runtime.engine
    traded = await trades_of(engine, market, symbol)
    resting = await journal.resting(engine, market, symbol)
    try:
        held = book(traded).positions.get((market, symbol))
    except BadFills:
        held = None
    at = f"{analysis.at.astimezone(KST):%Y-%m-%d %H:%M} KST"
    chart = price.PriceChart(
        title=f"{symbol}  {analysis.decision.upper()} {analysis.confidence}%",
        subtitle=f"{market}, {runtime.settings.trading_mode} - {instrument.currency}, daily candles - {at}",
        currency=instrument.currency,
        candles=candles,
        price=analysis.price,
        buy=analysis.ranges.appropriate_buy,
        sell=analysis.ranges.appropriate_sell,
        dip=analysis.ranges.buy_hope,
        target=analysis.ranges.sell_target,
        stop=await _stop(runtime, analysed, held),
        average=held.average_price if held else None,
        fills=[price.Traded(trade.fill.at, trade.side, trade.fill.price) for trade in traded],
        orders=[price.Resting(order.intent.side, order.intent.price) for order in resting],
    )
    return lambda: price.draw(chart)


async def _stop(runtime: Runtime, analysed: Analysed, held: Position | None) -> Decimal | None:
    """Where the guard would leave what is held, or what is bought at this price; None for nowhere.

    A trailing stop moves with every look of the guard and is not drawn.
    """
    instrument, analysis = analysed.instrument, analysed.analysis
    market, symbol = instrument.market, instrument.symbol
    if held is None and analysis.decision is not Decision.BUY:
        return None
    # its own word, at a price below every stop
    nothing = Decimal("1e-12")
    found = check_exit(
        held or Position(Decimal(1), analysis.price),
        Quote(symbol, nothing, nothing, nothing, nothing, analysis.at),
        strategy_of(runtime.settings, market, symbol, instrument.currency),
        await analyses.last_atr(runtime.engine, market, symbol),
    )
    return None if found is None or found.trigger <= nothing else found.trigger


async def _equity_chart(runtime: Runtime, report: Report) -> Drawn:
    from charts import equity

    back, words = BACK[report.period]
    since = report.ends_at - back
    accounts = []
    for market in report.markets:
        if market.worth is not None:
            points = await _points(runtime, market.market, since, report.ends_at)
            accounts.append(equity.Account(market.market, market.currency, points, market.worth.rate))
    told = " - ".join(f"{at.astimezone(KST):%m-%d %H:%M}" for at in (report.starts_at, report.ends_at))
    chart = equity.EquityChart(
        title=f"Accounts, {words}",
        subtitle=f"{runtime.settings.trading_mode} - lighter, with its change: {told} KST",
        since=since,
        told_since=report.starts_at,
        until=report.ends_at,
        accounts=accounts,
    )
    return lambda: equity.draw(chart)


async def _points(runtime: Runtime, market: str, since: datetime, until: datetime) -> list[tuple[datetime, Decimal]]:
    """What an account was worth, the last time before `since` as at `since`."""
    found = await portfolio.equity(runtime.engine, market, since)
    return [(max(point.at, since), point.total) for point in found if point.at < until]
