"""The resolver: every few seconds, what became of the orders that are open, and of those that nobody here sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from beat.sessions import is_open
from settings import check_market
from storage import armings, trades, trading_states
from storage import orders as journal
from storage.errors import SymbolBlocked
from storage.journal import JournalOrder
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.desks import account_desk, desk_of, notifier_of
from tasks.lease import symbol_lease
from tasks.placing import Desk
from tasks.settling import cancel, refresh, settle_symbol
from tasks.strategies import strategy_of
from tasks.turns import raise_all, turn
from telemetry import instruments
from telemetry.trace_ids import current_trace_id
from trading.state import State, TradingState, effective, live_allowed
from trading.types import OpenOrder, Side, TimeInForce
from workers.errors import Ambiguous, VenueError
from workers.runtime import Runtime, current_runtime

log = logging.getLogger(__name__)

# an order that is unproven for longer than this is told to a person
UNPROVEN_SECONDS = 60.0
# the account's book is read at most this often: for fills of resting orders, and for orders of others
BOOK_SECONDS = 15
BOOK_KEY = "autotrader:book-read:{market}"

Book = dict[str, OpenOrder]
Result = dict[str, Any]


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask,
    bind=True,
    name="tasks.orders.resolve",
    deadline=settings.sweep_deadline_seconds,
    ignore_result=True,
)
async def resolve(self: Any, market: str) -> Result:
    """Settle what is unproven, follow what rests, cancel what has no place any more, adopt what is not ours."""
    check_market(market)
    runtime = current_runtime()
    return await resolve_market(runtime, market, runtime.now())


async def resolve_market(runtime: Runtime, market: str, now: datetime) -> Result:
    """What `resolve` does, as counts. A symbol that is being traded now is left to the run that has its lease.

    Every order has its turn; then what went wrong is raised.
    """
    unproven = await journal.unproven(runtime.engine, market)
    await show_unproven(runtime, unproven, now)
    await show_armed(runtime, market, now)
    planned = await journal.left_planned(runtime.engine, market, runtime.settings.visibility_timeout_seconds)
    resting = await journal.resting(runtime.engine, market)
    errors: list[Exception] = []
    book = await read_book(runtime, market, resting, now, errors)
    concerned = [*unproven, *planned, *(resting if book is not None else [])]
    symbols = {order.intent.symbol: order.intent.currency for order in concerned}
    for symbol, currency in sorted(symbols.items()):
        with turn(errors, symbol):
            await resolve_symbol(runtime, market, symbol, currency, book, now, errors)
    adopted = await adopt(runtime, market, book or {}, errors)
    raise_all(errors, market)
    return {"market": market, "symbols": len(symbols), "unproven": len(unproven), "adopted": adopted}


async def read_book(
    runtime: Runtime, market: str, resting: list[JournalOrder], now: datetime, errors: list[Exception]
) -> Book | None:
    """The account's open orders by the venue's id; None where it is not time to look, or the look failed.

    Where nothing of ours rests, only a live account in its session is looked at: others may order in it.
    """
    if not resting and not (runtime.settings.live(market) and is_open(market, now).open):
        return None
    # one process looks for all
    if not await runtime.redis.set(BOOK_KEY.format(market=market), "1", nx=True, ex=BOOK_SECONDS):
        return None
    try:
        found = await (await runtime.broker(market)).open_orders()
    except VenueError as error:
        errors.append(error)
        return None
    return {order.venue_order_id: order for order in found}


async def resolve_symbol(
    runtime: Runtime,
    market: str,
    symbol: str,
    currency: str,
    book: Book | None,
    now: datetime,
    errors: list[Exception],
) -> None:
    """Settle and follow the orders of one symbol under its lease, or leave it to the run that holds it."""
    async with symbol_lease(runtime.redis, market, symbol, wait=0, within=runtime.leases) as held:
        if not held:
            return
        desk = await account_desk(runtime, market, symbol, currency)
        # the account may answer where quotes do not, and knows what became of the orders
        with turn(errors, symbol):
            desk = await desk_of(runtime, market, symbol)
        try:
            await settle_symbol(desk)
        except Ambiguous as error:
            await halt_symbol(desk, error, now)
            raise
        if book is None:
            return
        # read again: only now nobody else changes them
        for order in await journal.resting(runtime.engine, market, symbol):
            # one that the venue does not show any more keeps no other from being followed, or taken out
            with turn(errors, f"{symbol}, order {order.venue_order_id}"):
                await follow(desk, order, book, now)


async def follow(desk: Desk, order: JournalOrder, book: Book, now: datetime) -> None:
    """Write down what a resting order has traded, and cancel it where it should not rest any more."""
    listed = book.get(order.venue_order_id or "")
    # an immediate-or-cancel order that rests all the same is asked for until it has ended: that takes it out
    stuck = order.intent.time_in_force is TimeInForce.IOC
    if stuck or listed is None or listed.filled != order.filled_quantity:
        order = await refresh(desk, order)
    reason = await out_of_place(desk, order, now)
    if reason is not None:
        log.info("%s: cancelling order %s: %s", desk.symbol, order.venue_order_id, reason)
        await cancel(desk, order)
        await desk.notifier.orders_cancelled(desk.instrument, order.intent.side, 1, analysis_id=order.id, reason=reason)


async def out_of_place(desk: Desk, order: JournalOrder, now: datetime) -> str | None:
    """Why a resting order of ours has to go, or None. What a person placed is left to that person."""
    if order.origin.adopted or not order.remaining:
        return None
    strategy = strategy_of(desk.runtime.settings, desk.market, desk.symbol, desk.instrument.currency)
    age = now - order.created_at
    if age > strategy.max_order_age:
        return f"max_order_age: it has rested for {age.total_seconds():.0f} s"
    state = effective(await trading_states.in_force(desk.runtime.engine, now), desk.market, desk.symbol, now)
    if order.intent.side is Side.BUY and state.state is not State.ACTIVE:
        return f"trading is {state.state}: {state.reason}"
    return None


async def adopt(runtime: Runtime, market: str, book: Book, errors: list[Exception]) -> int:
    """Take the orders of enabled symbols that nobody here sent into the journal, and tell them; how many there were."""
    adopted = 0
    for found in book.values():
        if found.symbol not in runtime.settings.symbols(market):
            continue
        if found.price <= 0:
            # at the market, by a person: no row can say what it would cost, and it trades at once or in the auction
            log.warning("%s: order %s has no price, so it is not adopted", found.symbol, found.venue_order_id)
            continue
        with turn(errors, f"{found.symbol}, order {found.venue_order_id}"), suppress(SymbolBlocked):
            # blocked: it may be the very order that is being proven; the next look tells
            order = await journal.adopt(runtime.engine, market, found, current_trace_id())
            if order is not None:
                adopted += 1
                log.warning("%s: adopted order %s, which nobody here sent", found.symbol, found.venue_order_id)
                await notifier_of(runtime).adopted_order(market, found)
    return adopted


async def halt_symbol(desk: Desk, error: Ambiguous, now: datetime) -> None:
    """Two orders of the venue could be ours: nothing is ordered in the symbol until a person has looked."""
    engine = desk.runtime.engine
    halted = TradingState(State.HALTED, f"ambiguous order: {error}", None, desk.market, desk.symbol)
    if await trading_states.tighten(engine, halted, by="resolver", now=now) is None:
        await desk.notifier.trading_state_changed(halted, by="resolver", at=now)


async def show_armed(runtime: Runtime, market: str, now: datetime) -> None:
    """Show whether live trading is allowed in the market."""
    rows = await armings.in_force(runtime.engine, now)
    instruments.armed.set(float(live_allowed(runtime.settings.trading_mode, rows, market, now)), {"market": market})


async def show_unproven(runtime: Runtime, orders: Iterable[JournalOrder], now: datetime) -> None:
    """Show how many orders are unproven and since when, and tell those of the market that are so for long."""
    oldest = await trades.oldest_unknown(runtime.engine)
    instruments.orders_unproven.set(await trades.unproven_count(runtime.engine))
    instruments.orders_oldest_unproven_age.set(oldest.age_seconds if oldest else 0.0)
    for order in orders:
        age = (now - order.created_at).total_seconds()
        if age > UNPROVEN_SECONDS:
            await notifier_of(runtime).unproven_order(order.intent, age_seconds=age, at=now)
