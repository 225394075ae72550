"""What is stored: orders, fills, what the accounts hold and are worth, profit reports, runs."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from api.asked import Before, MarketFilter, Since, Sliced, SymbolFilter
from api.errors import ApiError
from api.models import (
    FillOfOrder,
    HeldAccount,
    OrderRow,
    OrderWithFills,
    Paged,
    ReportRow,
    RunDetail,
    RunRow,
    RunSymbol,
    SnapshotRow,
    paged,
    rows,
)
from api.resources import Using
from operate import accounts_held
from storage import orders as journal
from storage import reading
from storage.reading import Wanted
from trading.types import OrderState

router = APIRouter(tags=["records"])

RunStatus = Literal["opened", "published", "finished", "skipped"]


@router.get("/api/orders", response_model=Paged[OrderRow])
async def list_orders(
    using: Using,
    sliced: Sliced,
    market: MarketFilter = None,
    symbol: SymbolFilter = None,
    state: OrderState | None = None,
    since: Since = None,
    before: Before = None,
) -> Any:
    """Orders as they stand, the one changed last first; `from` and `to` are about the last change."""
    wanted = Wanted(market=market, symbol=symbol, since=since, before=before, state=state)
    return paged(OrderRow, await reading.orders_page(using.engine, wanted, sliced), sliced.limit, sliced.offset)


@router.get("/api/orders/{order_id}")
async def read_order(order_id: UUID, using: Using) -> OrderWithFills:
    """An order with its fills."""
    return OrderWithFills.of(await journal.get(using.engine, order_id))


@router.get("/api/fills", response_model=Paged[FillOfOrder])
async def list_fills(
    using: Using,
    sliced: Sliced,
    market: MarketFilter = None,
    symbol: SymbolFilter = None,
    since: Since = None,
    before: Before = None,
) -> Any:
    """Executions, newest first."""
    wanted = Wanted(market=market, symbol=symbol, since=since, before=before)
    return paged(FillOfOrder, await reading.fills_page(using.engine, wanted, sliced), sliced.limit, sliced.offset)


@router.get("/api/positions")
async def list_positions(using: Using) -> list[HeldAccount]:
    """What every account holds, at the price of the last analysis; a real account is asked."""
    return [HeldAccount.model_validate(view) for view in await accounts_held(using.settings, using.engine)]


@router.get("/api/portfolio-snapshots", response_model=Paged[SnapshotRow])
async def list_snapshots(
    using: Using, sliced: Sliced, market: MarketFilter = None, since: Since = None, before: Before = None
) -> Any:
    """What the accounts were worth after each run, newest first."""
    page = await reading.snapshots_page(using.engine, Wanted(market=market, since=since, before=before), sliced)
    return paged(SnapshotRow, page, sliced.limit, sliced.offset)


@router.get("/api/profit-reports", response_model=Paged[ReportRow])
async def list_reports(using: Using, sliced: Sliced, period: Literal["day", "week"] | None = None) -> Any:
    """The profit of KST days and weeks, newest first."""
    return paged(ReportRow, await reading.reports_page(using.engine, period, sliced), sliced.limit, sliced.offset)


@router.get("/api/runs", response_model=Paged[RunRow])
async def list_runs(
    using: Using,
    sliced: Sliced,
    market: MarketFilter = None,
    status: RunStatus | None = None,
    since: Since = None,
    before: Before = None,
) -> Any:
    """Runs with how far they are, newest first."""
    wanted = Wanted(market=market, since=since, before=before, state=status)
    page = await reading.runs_page(using.engine, wanted, sliced)
    items = [RunRow.of(row) for row in page.rows]
    return {"items": items, "total": page.total, "limit": sliced.limit, "offset": sliced.offset}


@router.get("/api/runs/{run_id}")
async def read_run(run_id: UUID, using: Using) -> RunDetail:
    """A run with each of its symbols."""
    row = await reading.run(using.engine, run_id)
    if row is None:
        raise ApiError(404, "not_found", f"there is no run {run_id}", "list them at /api/runs")
    symbols = rows(RunSymbol, await reading.symbols_of(using.engine, run_id))
    return RunDetail(**dict(RunRow.of(row)), symbols=symbols)
