"""Reports of days and weeks: each is made once, by whoever comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.plain import to_json
from storage.tables import pnl_reports
from trading.reports import Period


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report as it was stored: amounts in `body` are strings, exact."""

    period: str
    starts_at: datetime
    body: dict[str, Any]
    at: datetime

    def realised(self) -> dict[str, Decimal]:
        """Realised profit by currency."""
        sums: dict[str, Decimal] = {}
        for market in self.body.get("markets", ()):
            if market["profit"] is not None:
                earned = Decimal(market["profit"]["realised"])
                sums[market["currency"]] = sums.get(market["currency"], Decimal(0)) + earned
        # as earlier versions stored it
        for currency in self.body.get("currencies", ()):
            sums[currency["currency"]] = Decimal(currency["realised"])
        return sums


async def store_once(engine: AsyncEngine, period: Period, starts_at: datetime, body: Mapping[str, object]) -> bool:
    """Store the report of a period; False if there is one already, which stands."""
    statement = (
        insert(pnl_reports)
        .values(period=period, starts_at=starts_at, body=to_json(body))
        .on_conflict_do_nothing(index_elements=[pnl_reports.c.period, pnl_reports.c.starts_at])
        .returning(pnl_reports.c.period)
    )
    async with engine.begin() as connection:
        return await connection.scalar(statement) is not None


async def latest(engine: AsyncEngine, period: Period) -> StoredReport | None:
    """The stored report of the newest day or week."""
    statement = (
        select(pnl_reports).where(pnl_reports.c.period == period).order_by(pnl_reports.c.starts_at.desc()).limit(1)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else StoredReport(row.period, row.starts_at, row.body, row.at)
