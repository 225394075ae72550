"""What was told, what waits, and what was given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from api.desk.asked import paging
from api.desk.page import render, using_of
from notifications.alert import first_line
from operate.standing_alerts import StandingAlerts, standing_alerts
from storage import dead_letters, shown, sightings
from storage.dead_letters import DeadLetter
from storage.direct import DatabaseUnavailable
from storage.reading import Page, Slice
from storage.shown import FailedSymbol

TOLD_SHOWN, DEAD_SHOWN, FAILED_SHOWN = 20, 30, 30
FAILED_LATELY = timedelta(days=3)


async def alerts_page(request: Request) -> Response:
    """`/desk/alerts`: the ledger and what is stored; 503, with the rest, while one of the two is away."""
    using = using_of(request)
    pages = paging(request, TOLD_SHOWN)
    checks = await using.readiness.checks()
    ledger = await _ledger(request, pages.slice)
    letters: list[DeadLetter] | None = None
    failed: list[FailedSymbol] = []
    if checks["postgresql"].ready:
        try:
            letters = await dead_letters.newest(using.settings.database_url, DEAD_SHOWN)
        except DatabaseUnavailable:
            letters = None
        failed = await shown.failed_since(using.engine, datetime.now(UTC) - FAILED_LATELY, FAILED_SHOWN)
    return render(
        request,
        "alerts.html",
        status=503 if ledger is None or letters is None else 200,
        part="alerts",
        ledger=ledger,
        pages=pages,
        page=None if ledger is None else Page((), ledger.told_in_all),
        letters=None if letters is None else [(letter, first_line(letter.payload)) for letter in letters],
        failed=failed,
        names=await sightings.names_of(using.redis, [(row.market, row.symbol) for row in failed]),
    )


async def _ledger(request: Request, told: Slice) -> StandingAlerts | None:
    try:
        return await standing_alerts(using_of(request).redis, told.offset, told.limit)
    except (RedisError, OSError, TimeoutError):
        return None
