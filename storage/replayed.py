"""What a replay has left in its schema."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import analyses, risk_exits, run_symbols, runs


async def days_begun(engine: AsyncEngine) -> int:
    """How many days have a run, ended or not."""
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(runs))).scalar_one())


async def counts(engine: AsyncEngine) -> dict[str, dict[str, int]]:
    """How often each came about, by name: the decisions of the analyst, the outcomes of the runs, and the exits."""
    asked = {
        "decisions": analyses.c.decision,
        "outcomes": func.coalesce(run_symbols.c.outcome, run_symbols.c.state),
        "exits": risk_exits.c.kind,
    }
    async with engine.connect() as connection:
        return {
            name: {
                str(row[0]): row[1]
                for row in await connection.execute(select(what, func.count()).group_by(what).order_by(what))
            }
            for name, what in asked.items()
        }
