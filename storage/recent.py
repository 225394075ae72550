"""The newest rows, for a terminal board and the bot's answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import analyses, orders, risk_exits, run_symbols, runs
from trading.exits import ExitKind
from trading.types import Decision, OrderState, Side


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with its symbols by how they stand."""

    id: UUID
    market: str
    slot: datetime
    status: str
    reason: str | None
    pending: int
    done: int
    failed: int
    opened_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """An analysis with what came of it; `outcome` and `error` are None while its task runs."""

    analysis_id: UUID
    market: str
    symbol: str
    decision: Decision
    confidence: int
    price: Decimal
    model: str
    outcome: str | None
    error: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as it stands."""

    id: UUID
    market: str
    symbol: str
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    price: Decimal
    currency: str
    state: OrderState
    reason: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ExitRow:
    """An exit as it stands; `ended_at` and `outcome` are None while it is open. Prices in the symbol's currency."""

    id: UUID
    market: str
    symbol: str
    kind: ExitKind
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal
    average_price: Decimal
    reason: str
    at: datetime
    ended_at: datetime | None
    outcome: str | None


async def recent_runs(engine: AsyncEngine, limit: int = 10) -> list[RunRow]:
    """The runs opened last, newest first."""
    newest = select(runs).order_by(runs.c.opened_at.desc()).limit(limit).subquery()

    def standing(state: str) -> object:
        return func.count().filter(run_symbols.c.state == state).label(state)

    columns = [newest.c[name] for name in ("id", "market", "slot", "status", "reason", "opened_at", "finished_at")]
    statement = (
        select(*columns, *(standing(state) for state in ("pending", "done", "failed")))
        .select_from(newest.outerjoin(run_symbols, run_symbols.c.run_id == newest.c.id))
        .group_by(*columns)
        .order_by(newest.c.opened_at.desc())
    )
    async with engine.connect() as connection:
        return [RunRow(**row) for row in (await connection.execute(statement)).mappings()]


async def recent_decisions(engine: AsyncEngine, limit: int = 20) -> list[DecisionRow]:
    """The analyses made last, newest first."""
    of_symbol = (run_symbols.c.run_id == analyses.c.run_id) & (run_symbols.c.symbol == analyses.c.symbol)
    statement = (
        select(
            analyses.c.id.label("analysis_id"),
            *(analyses.c[name] for name in ("market", "symbol", "decision", "confidence", "price", "model", "at")),
            run_symbols.c.outcome,
            run_symbols.c.error,
        )
        .join(run_symbols, of_symbol)
        .order_by(analyses.c.created_at.desc())
        .limit(limit)
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).mappings()
        return [DecisionRow(**{**row, "decision": Decision(row["decision"])}) for row in rows]


async def recent_orders(engine: AsyncEngine, limit: int = 20) -> list[OrderRow]:
    """The orders changed last, newest first."""
    names = OrderRow.__slots__
    statement = select(*(orders.c[name] for name in names)).order_by(orders.c.updated_at.desc()).limit(limit)
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).mappings()
        return [OrderRow(**{**row, "side": Side(row["side"]), "state": OrderState(row["state"])}) for row in rows]


async def recent_exits(engine: AsyncEngine, limit: int = 20) -> list[ExitRow]:
    """The exits begun last, newest first."""
    names = ExitRow.__slots__
    statement = select(*(risk_exits.c[name] for name in names)).order_by(risk_exits.c.at.desc()).limit(limit)
    async with engine.connect() as connection:
        rows = (await connection.execute(statement)).mappings()
        return [ExitRow(**{**row, "kind": ExitKind(row["kind"])}) for row in rows]
