"""The runs and how far they are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.desk.asked import id_asked, market_asked, paging
from api.desk.page import render, using_of
from api.errors import ApiError
from storage import reading, sightings
from storage.reading import Wanted

PER_PAGE = 25
UNFINISHED = frozenset({"opened", "published"})


async def runs_page(request: Request) -> Response:
    """`/desk/runs`: newest first."""
    using = using_of(request)
    market = market_asked(request)
    pages = paging(request, PER_PAGE, market=market)
    page = await reading.runs_page(using.engine, Wanted(market=market), pages.slice)
    # only the newest ones change
    refresh = request.scope["path"] if pages.number == 1 and market is None else ""
    return render(request, "runs.html", part="runs", refresh=refresh, page=page, pages=pages, market=market)


async def run_page(request: Request) -> Response:
    """`/desk/runs/{id}`: a run with each of its symbols; loaded anew by itself until it has ended."""
    using = using_of(request)
    run = await reading.run(using.engine, id_asked(request))
    if run is None:
        raise ApiError(404, "not_found", "there is no such run", "list them at /desk/runs")
    symbols = await reading.symbols_of(using.engine, run["id"])
    names = await sightings.names_of(using.redis, [(row["market"], row["symbol"]) for row in symbols])
    refresh = request.scope["path"] if run["status"] in UNFINISHED else ""
    return render(request, "run.html", part="runs", refresh=refresh, run=run, symbols=symbols, names=names)
