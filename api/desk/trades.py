"""What the accounts hold, and the orders with their history."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.desk.asked import id_asked, market_asked, paging
from api.desk.page import render, using_of
from operate import CannotAnswer, accounts_held
from storage import orders as journal
from storage import reading, shown, sightings
from storage.reading import Wanted

PER_PAGE = 25
OPEN_SHOWN = 50


async def positions_page(request: Request) -> Response:
    """`/desk/positions`: a real account is asked; 503 where its venue does not tell."""
    using = using_of(request)
    try:
        accounts = await accounts_held(using.settings, using.engine)
    except CannotAnswer:
        accounts = None
    held = [(account.market, one.symbol) for account in accounts or () for one in account.positions]
    differing = [(account.market, one.symbol) for account in accounts or () for one in account.differences]
    return render(
        request,
        "positions.html",
        status=503 if accounts is None else 200,
        part="positions",
        accounts=accounts,
        names=await sightings.names_of(using.redis, [*held, *differing]),
    )


async def orders_page(request: Request) -> Response:
    """`/desk/orders`: those that may still change, and all, the one changed last first."""
    using = using_of(request)
    market = market_asked(request)
    pages = paging(request, PER_PAGE, market=market)
    page = await reading.orders_page(using.engine, Wanted(market=market), pages.slice)
    still_open = await shown.open_orders(using.engine, market, OPEN_SHOWN) if pages.number == 1 else []
    symbols = [(row["market"], row["symbol"]) for row in (*page.rows, *still_open)]
    return render(
        request,
        "orders.html",
        part="orders",
        page=page,
        pages=pages,
        market=market,
        still_open=still_open,
        names=await sightings.names_of(using.redis, symbols),
    )


async def order_page(request: Request) -> Response:
    """`/desk/orders/{id}`: an order with its fills and its history. Raises `NotFound`."""
    using = using_of(request)
    order = await journal.get(using.engine, id_asked(request))
    events = await shown.events_of(using.engine, [order.id])
    symbol = (order.intent.market, order.intent.symbol)
    names = await sightings.names_of(using.redis, [symbol])
    return render(
        request, "order.html", part="orders", order=order, events=events[order.id], name=names.get(symbol, "")
    )
