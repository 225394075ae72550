"""The first page: where orders go, who works, what today brought, and what happened last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import Response

from api.desk import drawing
from api.desk.cards import Card, cards_of
from api.desk.page import render, using_of
from api.resources import Resources
from operate.pnl import Earned, earned
from settings import MARKETS
from storage import armings, dead_letters, portfolio, reading, shown, sightings, trading_states
from storage.direct import DatabaseUnavailable
from storage.reading import Row, Slice, Wanted
from storage.shown import FailedSymbol, WorthPoint
from storage.trading_states import Written
from trading.periods import kst_day, starts

CARDS, ORDERS, RUNS, FAILED = 6, 6, 3, 5
FAILED_LATELY = timedelta(days=1)
# what a curve may show, with the seconds of one of its steps: at most about 200 points
SPANS: Mapping[int, int] = {1: 600, 7: 3600, 30: 4 * 3600, 90: 12 * 3600}
DEFAULT_SPAN = 7
CURVE_HEIGHT = 150.0
# every fill since the beginning is read for it
EARNED_KEPT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Account:
    """A market's account: its worth and what that gained today, in `currency`; None where it is not known."""

    market: str
    currency: str
    worth: Decimal | None
    change: Decimal | None
    rate: Decimal | None
    earned: Earned | None
    curve: drawing.CurveShapes | None


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is stored of how things are."""

    states: Sequence[Written]
    armed: Mapping[str, datetime]
    accounts: Sequence[Account]
    cards: Sequence[Card]
    orders: Sequence[Row]
    names: Mapping[tuple[str, str], str]
    runs: Sequence[Row]
    failed: Sequence[FailedSymbol]
    dead: int


class Profits:
    """What today brought, counted anew at most every twenty seconds however many look."""

    def __init__(self) -> None:
        self._found: Sequence[Earned] = ()
        self._since = datetime.min.replace(tzinfo=UTC)
        self._at = float("-inf")

    async def today(self, using: Resources, since: datetime, now: datetime) -> Sequence[Earned]:
        if since != self._since or time.monotonic() - self._at > EARNED_KEPT_SECONDS:
            self._found = await earned(using.engine, since, now)
            self._since, self._at = since, time.monotonic()
        return self._found


async def overview(request: Request) -> Response:
    """`/`. 503 while the database is away; what Redis has is left out while that is."""
    using = using_of(request)
    checks = await using.readiness.checks()
    asked = request.query_params.get("days", "")
    span = int(asked) if asked in map(str, SPANS) else DEFAULT_SPAN
    standing = await _standing(request, using, span) if checks["postgresql"].ready else None
    return render(
        request,
        "overview.html",
        status=200 if standing else 503,
        part="home",
        refresh=f"/?days={span}",
        checks=checks,
        standing=standing,
        live={market: using.settings.live(market) for market in MARKETS if using.settings.symbols(market)},
        most_failed=FAILED,
        span=span,
        spans=SPANS,
        done=request.query_params.get("done", ""),
    )


async def _standing(request: Request, using: Resources, span: int) -> Standing:
    now = datetime.now(UTC)
    engine = using.engine
    page = await reading.analyses_page(engine, Wanted(), Slice(CARDS, 0))
    orders = (await reading.orders_page(engine, Wanted(), Slice(ORDERS, 0))).rows
    runs = (await reading.runs_page(engine, Wanted(), Slice(RUNS, 0))).rows
    try:
        dead = await dead_letters.unseen(using.settings.database_url)
    except DatabaseUnavailable:
        dead = 0
    failed = await shown.failed_since(engine, now - FAILED_LATELY, FAILED)
    named = [(row["market"], row["symbol"]) for row in orders] + [(row.market, row.symbol) for row in failed]
    return Standing(
        states=await trading_states.written(engine, now),
        armed={row.market: row.until for row in await armings.in_force(engine, now)},
        accounts=await _accounts(request, using, span, now),
        cards=await cards_of(using, page.rows),
        orders=orders,
        names=await sightings.names_of(using.redis, named),
        runs=runs,
        failed=failed,
        dead=dead,
    )


async def _accounts(request: Request, using: Resources, span: int, now: datetime) -> list[Account]:
    midnight, since = starts(kst_day(now)), now - timedelta(days=span)
    profits: Profits = request.app.state.profits
    by_market = {one.market: one for one in await profits.today(using, midnight, now)}
    curves = await shown.curves(using.engine, MARKETS, since, SPANS[span])
    today = curves if since == midnight else await shown.curves(using.engine, MARKETS, midnight, SPANS[1])
    # a paper account that was opened today had its opening cash before the first snapshot
    young = {market for market, points in today.items() if points[0].at >= midnight and not using.settings.live(market)}
    openings = await portfolio.opening(using.engine) if young else {}
    found = []
    for market in MARKETS:
        points, one = curves.get(market, ()), by_market.get(market)
        if points:
            worth, change, rate = _change(today.get(market, ()), openings.get(market) if market in young else None)
            curve = drawing.curve(points, since, now, CURVE_HEIGHT)
            found.append(Account(market, points[-1].currency, worth, change, rate, one, curve))
        elif one is not None:
            found.append(Account(market, one.currency, None, None, None, one, None))
    return found


def _change(
    points: Sequence[WorthPoint], opening: portfolio.Opening | None
) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """The last worth, and what it gained over the opening or the first point, also as a fraction."""
    if not points:
        return None, None, None
    last = points[-1].total
    first = opening.total if opening else points[0].total
    return last, last - first, last / first - 1 if first > 0 else None
