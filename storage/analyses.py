"""Analyses: one per run and symbol, stored once and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.errors import NotFound
from storage.plain import to_json
from storage.tables import analyses
from trading.types import Analysis, Decision, PriceRange, PriceRanges

_RANGES = ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target")


@dataclass(frozen=True, slots=True)
class StoredAnalysis:
    """An analysis with where it belongs. `fresh` is true only for the call that stored it."""

    id: UUID
    run_id: UUID
    market: str
    symbol: str
    analysis: Analysis
    indicators: dict[str, Any]
    trace_id: str | None
    created_at: datetime
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class LastPrice:
    """What a symbol cost at its newest analysis, in its currency, and the aware time of that quote."""

    price: Decimal
    at: datetime


async def store(
    engine: AsyncEngine,
    *,
    run_id: UUID,
    market: str,
    symbol: str,
    analysis: Analysis,
    indicators: Mapping[str, object],
    trace_id: str | None = None,
) -> StoredAnalysis:
    """Store what the analyst said of a symbol in a run; a repeat returns the first one unchanged."""
    bounds = {
        f"{name}_{end}": getattr(getattr(analysis.ranges, name), end) for name in _RANGES for end in ("min", "max")
    }
    statement = (
        insert(analyses)
        .values(
            run_id=run_id,
            market=market,
            symbol=symbol,
            decision=analysis.decision.value,
            confidence=analysis.confidence,
            reasons=list(analysis.reasons),
            price=analysis.price,
            model=analysis.model,
            indicators=to_json(indicators),
            at=analysis.at,
            trace_id=trace_id,
            rejected_by=analysis.rejected_by,
            **bounds,
        )
        .on_conflict_do_nothing(index_elements=[analyses.c.run_id, analyses.c.symbol])
        .returning(analyses)
    )
    async with engine.begin() as connection:
        row = (await connection.execute(statement)).mappings().one_or_none()
        if row is not None:
            return _read(row, fresh=True)
        first = select(analyses).where(analyses.c.run_id == run_id, analyses.c.symbol == symbol)
        return _read((await connection.execute(first)).mappings().one())


async def find(engine: AsyncEngine, run_id: UUID, symbol: str) -> StoredAnalysis | None:
    """The analysis of a symbol in a run, if it was stored."""
    statement = select(analyses).where(analyses.c.run_id == run_id, analyses.c.symbol == symbol)
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).mappings().one_or_none()
    return None if row is None else _read(row)


async def get(engine: AsyncEngine, analysis_id: UUID) -> StoredAnalysis:
    """The analysis of that id. Raises `NotFound`."""
    async with engine.connect() as connection:
        row = (await connection.execute(select(analyses).where(analyses.c.id == analysis_id))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no analysis {analysis_id}")
    return _read(row)


async def last_prices(engine: AsyncEngine, market: str) -> dict[str, Decimal]:
    """The price each symbol of a market had at its newest analysis, however old that is."""
    return {symbol: last.price for symbol, last in (await newest_prices(engine, market)).items()}


async def newest_prices(engine: AsyncEngine, market: str) -> dict[str, LastPrice]:
    """The price each symbol of a market had at its newest analysis, and when that was."""
    statement = (
        select(analyses.c.symbol, analyses.c.price, analyses.c.at)
        .where(analyses.c.market == market)
        .ext(distinct_on(analyses.c.symbol))
        .order_by(analyses.c.symbol, analyses.c.at.desc())
    )
    async with engine.connect() as connection:
        return {row.symbol: LastPrice(row.price, row.at) for row in await connection.execute(statement)}


async def last_atr(engine: AsyncEngine, market: str, symbol: str) -> Decimal | None:
    """The average true range at the newest analysis of a symbol, in its currency; None where there is none."""
    statement = (
        select(analyses.c.indicators["atr"].astext)
        .where(analyses.c.market == market, analyses.c.symbol == symbol)
        .order_by(analyses.c.at.desc())
        .limit(1)
    )
    async with engine.connect() as connection:
        found = await connection.scalar(statement)
    return None if found is None else Decimal(found)


def _read(row: RowMapping, *, fresh: bool = False) -> StoredAnalysis:
    ranges = {name: PriceRange(row[f"{name}_min"], row[f"{name}_max"]) for name in _RANGES}
    analysis = Analysis(
        decision=Decision(row["decision"]),
        confidence=row["confidence"],
        reasons=tuple(row["reasons"]),
        ranges=PriceRanges(**ranges),
        model=row["model"],
        price=row["price"],
        at=row["at"],
        rejected_by=row["rejected_by"],
    )
    return StoredAnalysis(
        id=row["id"],
        run_id=row["run_id"],
        market=row["market"],
        symbol=row["symbol"],
        analysis=analysis,
        indicators=row["indicators"],
        trace_id=row["trace_id"],
        created_at=row["created_at"],
        fresh=fresh,
    )
