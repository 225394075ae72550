"""What language models were asked and said, and what it cost: one row per attempt, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import llm_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmCall:
    """`key` is a hash, `seconds` how long the answer took, `cost` in USD; `prompt` is the whole text sent."""

    model: str
    key: str
    outcome: str
    seconds: float
    input_tokens: int
    output_tokens: int
    cost: Decimal
    prompt: str
    reply: str
    error: str


async def store(
    engine: AsyncEngine,
    calls: Sequence[LlmCall],
    *,
    run_id: UUID,
    market: str,
    symbol: str,
    prompt_version: int,
    trace_id: str | None,
) -> None:
    """Store the attempts of one analysis, in their order."""
    if not calls:
        return
    shared = {
        "run_id": run_id,
        "market": market,
        "symbol": symbol,
        "prompt_version": prompt_version,
        "trace_id": trace_id,
    }
    rows = [shared | {name: getattr(call, name) for name in LlmCall.__dataclass_fields__} for call in calls]
    async with engine.begin() as connection:
        await connection.execute(insert(llm_calls), rows)


async def of_analysis(engine: AsyncEngine, run_id: UUID, symbol: str) -> list[LlmCall]:
    """The attempts made for a symbol in a run, oldest first."""
    statement = (
        select(llm_calls).where(llm_calls.c.run_id == run_id, llm_calls.c.symbol == symbol).order_by(llm_calls.c.seq)
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).mappings().all()
    return [LlmCall(**{name: row[name] for name in LlmCall.__dataclass_fields__}) for row in rows]


async def spent_since(engine: AsyncEngine, since: datetime) -> Decimal:
    """What all attempts since a time cost together, in USD."""
    statement = select(func.coalesce(func.sum(llm_calls.c.cost), 0)).where(llm_calls.c.at >= since)
    async with engine.connect() as connection:
        return Decimal(await connection.scalar(statement) or 0)
