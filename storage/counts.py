"""Runs in numbers, for the report of a demo and of a day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


class MarketCounts(TypedDict):
    """What happened in one market; `failed` counts symbols that ended with an error."""

    symbols: int
    analyses: int
    orders: int
    fills: int
    failed: int


_COUNTS = text("""
    WITH wanted AS (
        SELECT id, market FROM runs
        WHERE (CAST(:run_ids AS uuid[]) IS NULL OR id = ANY (CAST(:run_ids AS uuid[])))
            AND (CAST(:since AS timestamptz) IS NULL OR opened_at >= CAST(:since AS timestamptz))
    ),
    counted AS (
        SELECT
            market,
            (SELECT count(*) FROM run_symbols WHERE run_id = wanted.id) AS symbols,
            (SELECT count(*) FROM analyses WHERE run_id = wanted.id) AS analyses,
            (SELECT count(*) FROM orders WHERE run_id = wanted.id) AS orders,
            (SELECT count(*) FROM fills JOIN orders ON orders.id = order_id WHERE run_id = wanted.id) AS fills,
            (SELECT count(*) FROM run_symbols WHERE run_id = wanted.id AND state = 'failed') AS failed
        FROM wanted
    )
    SELECT market, sum(symbols)::int AS symbols, sum(analyses)::int AS analyses, sum(orders)::int AS orders,
        sum(fills)::int AS fills, sum(failed)::int AS failed
    FROM counted GROUP BY market ORDER BY market
""")


async def run_counts(
    engine: AsyncEngine, run_ids: Collection[UUID] | None = None, *, since: datetime | None = None
) -> dict[str, MarketCounts]:
    """Counts per market over the given runs, or those opened at or after `since`, or all.

    Every market with such a run is there, also one whose runs were all skipped.
    """
    given = {"run_ids": None if run_ids is None else list(run_ids), "since": since}
    async with engine.connect() as connection:
        rows = (await connection.execute(_COUNTS, given)).all()
    return {
        row.market: MarketCounts(
            symbols=row.symbols, analyses=row.analyses, orders=row.orders, fills=row.fills, failed=row.failed
        )
        for row in rows
    }
