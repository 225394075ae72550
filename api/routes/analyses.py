"""Start an analysis, and read those there were."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from api.asked import Before, Market, MarketFilter, Since, Sliced, SymbolFilter, SymbolName
from api.models import AnalysisDetail, AnalysisRow, OrderWithFills, Paged, Started, paged, range_of
from api.resources import Using
from operate import request_analysis
from storage import analyses, reading
from storage import orders as journal
from storage.reading import Wanted
from storage.redis import check_redis
from trading.types import Decision

router = APIRouter(tags=["analyses"])

Confidence = Annotated[int | None, Query(ge=0, le=100)]
RANGES = ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target")


@router.post("/api/analyze/{market}/{symbol}", status_code=202)
async def analyze(market: Market, symbol: SymbolName, using: Using) -> Started:
    """Have the market's worker analyse a symbol (and trade on it) now, as `autotrader analyze` does."""
    # a publish without Redis tries for long; this does not
    await check_redis(using.redis, using.settings.redis_url)
    found = await using.symbols.find(market, symbol)
    asked = await request_analysis(using.engine, market, found)
    return Started(task_id=UUID(asked.task_id), run_id=asked.run_id, market=market, symbol=found)


@router.get("/analysis-results/", response_model=Paged[AnalysisRow])
async def list_analyses(
    using: Using,
    sliced: Sliced,
    market: MarketFilter = None,
    symbol: SymbolFilter = None,
    decision: Decision | None = None,
    since: Since = None,
    before: Before = None,
    min_confidence: Confidence = None,
    max_confidence: Confidence = None,
) -> Any:
    """Analyses, newest first."""
    wanted = Wanted(
        market=market,
        symbol=symbol,
        since=since,
        before=before,
        decision=decision,
        least_confidence=min_confidence,
        most_confidence=max_confidence,
    )
    page = await reading.analyses_page(using.engine, wanted, sliced)
    return paged(AnalysisRow, page, sliced.limit, sliced.offset)


@router.get("/analysis-results/{analysis_id}")
async def read_analysis(analysis_id: UUID, using: Using) -> AnalysisDetail:
    """An analysis with its price ranges, its indicators and its orders: what `autotrader why` shows."""
    stored = await analyses.get(using.engine, analysis_id)
    analysis = stored.analysis
    ended = await reading.symbol_of(using.engine, stored.run_id, stored.symbol)
    orders = await journal.for_analysis(using.engine, analysis_id)
    return AnalysisDetail(
        id=stored.id,
        run_id=stored.run_id,
        market=stored.market,
        symbol=stored.symbol,
        decision=analysis.decision,
        confidence=analysis.confidence,
        reasons=list(analysis.reasons),
        price=analysis.price,
        model=analysis.model,
        rejected_by=analysis.rejected_by,
        at=analysis.at,
        trace_id=stored.trace_id,
        outcome=ended["outcome"] if ended else None,
        error=ended["error"] if ended else None,
        ranges={name: range_of(getattr(analysis.ranges, name)) for name in RANGES},
        indicators=stored.indicators,
        orders=[OrderWithFills.of(order) for order in orders],
    )
