"""Closing every position of our own fills in a market, or in all: asked for here, carried out by the guard."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from beat.sessions import is_open
from notifications import words as notified
from notifications.trades import TradeNotifier
from notifications.words import quantity
from operate.connections import database, notifier_of
from operate.errors import CannotAnswer
from operate.states import scope_of
from operate.texts import when
from operate.words import OperateWords, words
from settings import MARKETS, Settings, check_market, orders_queue
from storage import analyses, armings, exits, trades, trading_states
from storage import orders as journal
from telemetry.trace_ids import current_trace_id
from trading.earnings import holdings_of
from trading.exits import flatten
from trading.markets import ASSET_TYPES
from trading.portfolio import NONE
from trading.state import State, TradingState, effective, live_allowed
from trading.types import Position, Side

REASON = "flatten: every position is being closed"
# a look that nobody took for so long is worth no more than the beat's next one
LOOK_EXPIRES_SECONDS = 60


async def request_flatten(settings: Settings, market: str, by: str) -> str:
    """Stop buying in a market, or with "" in all, and have every position of our own fills sold there, also of symbols
    that are enabled no more; what else the accounts hold stays.

    Asking again sells nothing twice. In a live market that is not armed nothing is sold. Raises `UnknownMarket`.
    """
    if market:
        check_market(market)
    told = words(settings.notify_language)
    now = datetime.now(UTC)
    async with database(settings) as engine, notifier_of(settings) as notifier:
        rows = await armings.in_force(engine, now)
        wanted = [market] if market else list(MARKETS)
        free = [
            name for name in wanted if not settings.live(name) or live_allowed(settings.trading_mode, rows, name, now)
        ]
        refused = [told.flatten_not_armed.format(market=name) for name in wanted if name not in free]
        if not free:
            raise CannotAnswer("; ".join(refused))
        scope = scope_of(told, market or None, None)
        await stop_buying(engine, notifier, TradingState(State.REDUCING, REASON, None, market or None), by, now)
        lines = [told.flatten_title.format(scope=scope), *refused]
        for name in free:
            lines += await close_market(settings, engine, name, by, now)
    return "\n".join([*lines, told.buys_stop])


async def stop_buying(engine: AsyncEngine, notifier: TradeNotifier, row: TradingState, by: str, now: datetime) -> None:
    """Put the scope into `reducing` until a person takes it back, unless it is so already. A halt of the same scope
    makes way: it would hold the sales back."""
    if await trading_states.put(engine, row, by=by, now=now):
        await notifier.trading_state_changed(row, by=by, at=now)


async def close_market(settings: Settings, engine: AsyncEngine, market: str, by: str, now: datetime) -> list[str]:
    """Open an exit for every position, have the guard look, and say so in lines."""
    told = words(settings.notify_language)
    held = await positions(engine, market, now)
    buys = await open_buys(engine, market)
    wanted = {**{symbol: buy for symbol, buy in buys.items() if symbol not in held}, **held}
    if not wanted:
        return [told.nothing_held.format(market=market)]
    lines = []
    states = await trading_states.in_force(engine, now)
    for symbol, (position, price) in sorted(wanted.items()):
        exit = flatten(position, price, by)
        begun = await exits.begin(
            engine,
            market=market,
            symbol=symbol,
            exit=exit,
            average_price=position.average_price,
            trace_id=current_trace_id() or None,
        )
        if begun.created:
            told_begun = told.sale_begun if symbol in held else told.buys_open
            lines.append(told_begun.format(market=market, symbol=symbol, quantity=quantity(position.quantity)))
        else:
            kind = notified.words(settings.notify_language).risk.kinds[begun.exit.kind]
            lines.append(told.sale_open.format(market=market, symbol=symbol, kind=kind, at=when(begun.at)))
        state = effective(states, market, symbol, now)
        if state.state is State.HALTED:
            shown = told.states[state.state]
            lines.append(told.held_back.format(market=market, symbol=symbol, state=shown, reason=state.reason))
    session = is_open(market, now)
    if not (session.open or settings.ignore_market_hours):
        lines.append(told.sold_when_open.format(market=market, reason=session.reason.removeprefix("closed: ")))
    lines.append(await call_guard(told, market))
    return lines if settings.symbols(market) else [*lines, told.no_beat.format(market=market)]


async def positions(engine: AsyncEngine, market: str, now: datetime) -> dict[str, tuple[Position, Decimal]]:
    """What our own fills hold of each symbol, and its last known price. The average is 0 where it is not known, since
    something was sold before anything was bought here."""
    fills = [trade for trade in await trades.trades(engine, ASSET_TYPES) if trade.market == market]
    prices = await analyses.last_prices(engine, market)
    averages = {one.symbol: one.average_price for one in holdings_of(fills, now, prices)}
    last = {trade.symbol: trade.fill.price for trade in fills}
    return {
        symbol: (Position(units, averages.get(symbol, Decimal(0))), prices.get(symbol, last[symbol]))
        for symbol, units in sorted((await trades.net_units(engine, market)).items())
        # a symbol that is not among the fills read a moment ago was bought after the request
        if units > 0 and symbol in last
    }


async def open_buys(engine: AsyncEngine, market: str) -> dict[str, tuple[Position, Decimal]]:
    """What buys that rest or are not proven may still bring in of each symbol, and at what price."""
    found: dict[str, tuple[Position, Decimal]] = {}
    for order in [*await journal.resting(engine, market), *await journal.unproven(engine, market)]:
        if order.intent.side is Side.BUY and order.remaining > 0:
            known = found.get(order.intent.symbol, (NONE, order.intent.price))[0].quantity
            found[order.intent.symbol] = Position(known + order.remaining, Decimal(0)), order.intent.price
    return found


async def call_guard(told: OperateWords, market: str) -> str:
    """Have the market's worker look at its exits now; the beat has it look every few seconds all the same."""
    from kombu.exceptions import OperationalError

    from tasks.app import app

    send = partial(
        app.send_task,
        "tasks.guard.guard",
        args=(market,),
        queue=orders_queue(market),
        expires=LOOK_EXPIRES_SECONDS,
        ignore_result=True,
    )
    try:
        # Celery publishes with blocking calls
        await asyncio.to_thread(send)
    except (OperationalError, RedisError, OSError) as error:
        # the message of the error may name the broker's address with its password
        return told.guard_not_called.format(market=market, error=type(error).__name__)
    return told.guard_called.format(market=market)
