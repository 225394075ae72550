"""The list of analyses, and one with everything it was made from."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.desk import drawing
from api.desk.asked import decision_asked, id_asked, market_asked, paging
from api.desk.cards import cards_of, currency_of
from api.desk.page import render, using_of
from storage import analyses, llm_calls, reading, shown, sightings
from storage import orders as journal
from storage.reading import RANGES, Wanted
from trading.types import Decision

PER_PAGE = 12
CHART_HEIGHT, CHART_CANDLES = 380.0, 60
# what a model was asked can be long; the command line shows all of it
TEXT_SHOWN = 20_000


async def analyses_page(request: Request) -> Response:
    """`/desk/analyses`: cards, newest first."""
    using = using_of(request)
    market, decision = market_asked(request), decision_asked(request)
    symbol = request.query_params.get("symbol", "")[:40]
    if any(not character.isprintable() for character in symbol):
        symbol = ""
    pages = paging(request, PER_PAGE, market=market, decision=decision, symbol=symbol)
    wanted = Wanted(market=market, decision=decision, symbol=symbol or None)
    page = await reading.analyses_page(using.engine, wanted, pages.slice)
    return render(
        request,
        "analyses.html",
        part="analyses",
        cards=await cards_of(using, page.rows),
        page=page,
        pages=pages,
        market=market,
        decision=decision,
        symbol=symbol,
        decisions=list(Decision),
    )


async def analysis_page(request: Request) -> Response:
    """`/desk/analyses/{id}`: all that `autotrader why` shows. Raises `NotFound`."""
    using = using_of(request)
    stored = await analyses.get(using.engine, id_asked(request))
    analysis, symbol = stored.analysis, (stored.market, stored.symbol)
    orders = await journal.for_analysis(using.engine, stored.id)
    seen = (await sightings.candles_of(using.redis, [symbol])).get(symbol)
    names = await sightings.names_of(using.redis, [symbol])
    currency = seen.currency if seen else orders[0].intent.currency if orders else currency_of(stored.market)
    priced = drawing.Priced(
        currency,
        analysis.price,
        analysis.at,
        {name: getattr(analysis.ranges, name) for name in RANGES},
        [drawing.Traded(fill.at, order.intent.side, fill.price) for order in orders for fill in order.fills],
    )
    candles = seen.candles if seen else ()
    return render(
        request,
        "analysis.html",
        part="analyses",
        stored=stored,
        analysis=analysis,
        name=names.get(symbol, ""),
        currency=currency,
        ended=await reading.symbol_of(using.engine, stored.run_id, stored.symbol),
        ranges=priced.ranges,
        candles=candles[-CHART_CANDLES:],
        chart=drawing.price_chart(priced, candles, CHART_HEIGHT, most=CHART_CANDLES, details=True),
        orders=orders,
        events=await shown.events_of(using.engine, [order.id for order in orders]),
        calls=await llm_calls.of_analysis(using.engine, stored.run_id, stored.symbol),
        text_shown=TEXT_SHOWN,
    )
