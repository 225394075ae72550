"""The report of a day or a week, from nothing but rows: analyses, runs, fills, snapshots, model calls, dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage import portfolio
from storage.trades import trades
from trading.breaker import Equity
from trading.earnings import Seen, holdings_of, profit_of, worth_of
from trading.markets import ASSET_TYPES
from trading.pnl import Trade
from trading.reports import Decisions, Failure, MarketReport, ModelUse, Period, Report, Sweeps, bounds
from trading.uptime import Swept, longest_gap, sweeps

_DECISIONS = text("""
    SELECT market, decision, count(*)::int AS n, count(rejected_by)::int AS overruled
    FROM analyses WHERE at >= :start AND at < :end GROUP BY market, decision
""")
_FAILURES = text("""
    SELECT runs.market, split_part(run_symbols.error, ':', 1) AS kind, count(*)::int AS n
    FROM run_symbols JOIN runs ON runs.id = run_symbols.run_id
    WHERE run_symbols.state = 'failed' AND run_symbols.finished_at >= :start AND run_symbols.finished_at < :end
    GROUP BY 1, 2 ORDER BY n DESC, 1, 2
""")
_DEAD_LETTERS = text("SELECT count(*)::int FROM dead_letters WHERE died_at >= :start AND died_at < :end")
_RUNS = text("""
    SELECT market, slot, opened_at, status IN ('finished', 'skipped') AS ended,
        status = 'skipped' AS closed
    FROM runs
    WHERE opened_at >= :start AND opened_at < :end OR slot >= :start AND slot < :end
""")
_FIRST_SLOTS = text("SELECT market, min(slot) AS slot FROM runs GROUP BY market")
_RAN_BEFORE = text("SELECT max(opened_at) FROM runs WHERE opened_at < :start")
_MODELS = text("""
    SELECT model, count(*)::int AS calls, sum(input_tokens)::bigint AS input_tokens,
        sum(output_tokens)::bigint AS output_tokens, sum(cost) AS cost
    FROM llm_calls WHERE at >= :start AND at < :end GROUP BY model ORDER BY sum(cost) DESC, model
""")
_PRICES = text("""
    SELECT DISTINCT ON (market, symbol) market, symbol, price
    FROM analyses WHERE at < :end ORDER BY market, symbol, at DESC
""")
_SEEN = text("""
    SELECT DISTINCT ON (market) market, currency, cash, positions_value, at
    FROM portfolio_snapshots WHERE at < :end ORDER BY market, at DESC
""")


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the queries found, by market where they are of one."""

    decisions: Mapping[str, Decisions]
    sweeps: Mapping[str, Sweeps]
    prices: Mapping[str, Mapping[str, Decimal]]
    seen: Mapping[str, tuple[str, Seen]]
    equity: Mapping[str, Sequence[Equity]]


async def report_of(
    engine: AsyncEngine,
    period: Period,
    starts_at: datetime,
    sweep_minutes: Mapping[str, int],
    *,
    until: datetime | None = None,
    alerts_sent: int | None = None,
) -> Report:
    """The report of the day or week that begins at `starts_at` (09:00 KST), up to `until` where it is not over yet.

    `sweep_minutes` are the periods of the scheduled sweeps by market, 0 for none. `alerts_sent` no row knows: the
    caller gives it. A market is there if it was swept, traded or held anything.
    """
    start, end = bounds(period, starts_at)
    now = end if until is None else min(until, end)
    between = {"start": start, "end": now}
    everything = await trades(engine, ASSET_TYPES)
    async with engine.connect() as connection:
        swept = [Swept(*row) for row in await connection.execute(_RUNS, between)]
        first = {row.market: row.slot for row in await connection.execute(_FIRST_SLOTS)}
        before = await connection.scalar(_RAN_BEFORE, {"start": start})
        seen = {
            row.market: (row.currency, Seen(row.at, row.cash, row.positions_value))
            for row in await connection.execute(_SEEN, {"end": now})
        }
        decisions = await _decisions(connection, between)
        prices = await _prices(connection, now)
        failures = [Failure(*row) for row in await connection.execute(_FAILURES, between)]
        models = [ModelUse(*row) for row in await connection.execute(_MODELS, between)]
        dead_letters = int(await connection.scalar(_DEAD_LETTERS, between) or 0)
    rows = _Rows(
        decisions=decisions,
        sweeps=sweeps(swept, sweep_minutes, first, start, now),
        prices=prices,
        seen=seen,
        equity={market: await portfolio.equity(engine, market, start) for market in seen},
    )
    return Report(
        period=period,
        starts_at=start,
        ends_at=end,
        markets=tuple(_markets(rows, everything, start, now)),
        failures=tuple(failures),
        alerts_sent=alerts_sent,
        dead_letters=dead_letters,
        gap=longest_gap([run.opened_at for run in swept], before, start, now),
        models=tuple(models),
    )


def _markets(rows: _Rows, everything: Iterable[Trade], start: datetime, end: datetime) -> Iterable[MarketReport]:
    by_market: dict[str, list[Trade]] = {}
    for trade in everything:
        if trade.fill.at < end:
            by_market.setdefault(trade.market, []).append(trade)
    swept = {market for market, of in rows.sweeps.items() if of.carried_out}
    known = {*by_market, *rows.decisions, *rows.seen, *swept}
    for market in sorted(known, key=lambda name: (list(ASSET_TYPES).index(name) if name in ASSET_TYPES else 99, name)):
        of_market = by_market.get(market, [])
        currency, seen = rows.seen.get(market, (of_market[-1].currency if of_market else "", None))
        yield MarketReport(
            market=market,
            asset_type=ASSET_TYPES.get(market, market),
            currency=currency,
            decisions=rows.decisions.get(market, Decisions()),
            sweeps=rows.sweeps.get(market, Sweeps()),
            profit=profit_of(of_market, start, end) if currency else None,
            worth=worth_of(seen, rows.equity.get(market, ()), start, end),
            holdings=holdings_of(of_market, end, rows.prices.get(market, {})),
        )


async def _decisions(connection: AsyncConnection, between: Mapping[str, datetime]) -> dict[str, Decisions]:
    counts: dict[str, dict[str, Any]] = {}
    for row in await connection.execute(_DECISIONS, between):
        of_market = counts.setdefault(row.market, {"overruled": 0})
        of_market[row.decision] = row.n
        of_market["overruled"] += row.overruled
    return {market: Decisions(**of_market) for market, of_market in counts.items()}


async def _prices(connection: AsyncConnection, end: datetime) -> dict[str, dict[str, Decimal]]:
    prices: dict[str, dict[str, Decimal]] = {}
    for row in await connection.execute(_PRICES, {"end": end}):
        prices.setdefault(row.market, {})[row.symbol] = row.price
    return prices
