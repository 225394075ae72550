"""The guard: every few seconds, whether a position has to be left whatever the analysis says.

An exit is an outcome, not a failure: it is recorded, counted, told, and sold until nothing is left. One that a person
asked for is in the journal already; it sells what our own fills come to, and what else the account holds stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from beat.sessions import is_open
from notifications.risk_words import ExitOutcome
from settings import check_market
from storage import analyses, exits, high_waters, trades
from storage import orders as journal
from storage.exits import OpenExit
from storage.journal import JournalOrder, Origin
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.desks import desk_of
from tasks.lease import symbol_lease
from tasks.placing import Desk, NotArmed, TradingStopped, check_armed, place, tell
from tasks.settling import cancel_resting, settle_symbol
from tasks.strategies import strategy_of
from tasks.trade import situation_of
from tasks.turns import raise_all, turn
from telemetry import instruments
from telemetry.trace_ids import current_trace_id
from trading.exits import Exit, ExitKind, check_exit
from trading.ladder import grid_down, smallest_value
from trading.orders import HIGHEST, client_order_id
from trading.risk import Purpose, check
from trading.state import State
from trading.ticks import round_down
from trading.types import Instrument, OrderIntent, OrderState, Position, Quote, Refusal, Side, TimeInForce
from workers.ports import MarketData
from workers.runtime import Runtime, current_runtime

log = logging.getLogger(__name__)

# too little is left for an order: the position cannot be closed by one
ENDS_IT = frozenset({"below_minimum"})
# the next turn is soon, and the other symbols wait for theirs
LEASE_WAIT_SECONDS = 2.0

# outcomes of a turn that sent nothing, though a position has to be left
HOLDS_UP = frozenset(
    {
        "busy",
        "nothing_free",
        "rejected_before",
        "blocked_by_unproven_order",
        "unproven_order",
        "stale_quote",
        "disabled",
    }
)
HELD_UP_SECONDS = 120.0
# after each rejection in a row the next attempt comes later, twice as late each time
REJECTED_PAUSE_SECONDS = 10.0
REJECTED_PAUSE_MOST = 600.0

Result = dict[str, Any]


class ExitHeldUp(Exception):
    """A position has to be left, and for minutes no order for it could be sent."""


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask,
    bind=True,
    name="tasks.guard.guard",
    deadline=settings.sweep_deadline_seconds,
    ignore_result=True,
)
async def guard(self: Any, market: str) -> Result:
    """Check every position of the market's enabled symbols, and go on with the exits that are not done, of whatever
    symbol."""
    check_market(market)
    runtime = current_runtime()
    return await guard_market(runtime, market, runtime.now())


async def guard_market(runtime: Runtime, market: str, now: datetime) -> Result:
    """What `guard` does: the outcome of each symbol that has one. Every symbol has its turn; then what
    went wrong is raised."""
    if not (runtime.settings.ignore_market_hours or is_open(market, now).open):
        return {"market": market, "outcome": "closed"}
    holdings = await (await runtime.broker(market)).holdings()
    held = {} if holdings is None else dict(holdings.positions)
    begun = {row.symbol: row for row in await exits.open_exits(runtime.engine, market)}
    ended: dict[str, str] = {}
    errors: list[Exception] = []
    for symbol in guarded(runtime.settings.symbols(market), begun):
        if symbol not in held and symbol not in begun:
            # whatever is bought next begins with a mark of its own
            await high_waters.forget(runtime.engine, market, symbol)
            continue
        with turn(errors, symbol):
            outcome = await guard_symbol(runtime, market, symbol, held.get(symbol), begun.get(symbol))
            if outcome is not None:
                ended[symbol] = outcome
                check_progress(begun.get(symbol), outcome, runtime.now())
    raise_all(errors, market)
    return {"market": market, "outcome": "checked", "symbols": ended}


def check_progress(begun: OpenExit | None, outcome: str, now: datetime) -> None:
    """Raise `ExitHeldUp` where an exit is open for long and the turn could not send an order for it. What a person has
    ordered, a halt or no arming, was that person's will, or is told by itself."""
    if begun is None or outcome not in HOLDS_UP:
        return
    age = (now - begun.at).total_seconds()
    if age > HELD_UP_SECONDS:
        raise ExitHeldUp(
            f"{begun.market} {begun.symbol}: the position is not left since {age:.0f} s ({begun.exit.kind}): {outcome}"
        )


def guarded(enabled: Iterable[str], begun: Iterable[str]) -> list[str]:
    """The symbols to look at: those with an exit under way first, also where they are enabled no more."""
    return list(dict.fromkeys([*begun, *enabled]))


async def guard_symbol(
    runtime: Runtime, market: str, symbol: str, position: Position | None, begun: OpenExit | None
) -> str | None:
    """Leave a position where a rule says so; None where none does, else what came of the attempt."""
    client = await runtime.market(market)
    instrument, quote = await client.instrument(symbol), await client.quote(symbol)
    instruments.data_age.set((runtime.now() - quote.at).total_seconds(), {"market": market})
    if begun is None and (position is None or await find_exit(runtime, instrument, position, quote) is None):
        return None
    async with symbol_lease(runtime.redis, market, symbol, wait=LEASE_WAIT_SECONDS, within=runtime.leases) as held:
        if not held:
            return "busy"
        desk = await desk_of(runtime, market, symbol)
        # all of it again: whoever had the lease until now may have sold
        begun = await exits.find_open(runtime.engine, market, symbol)
        if begun is None:
            quote = await client.quote(symbol)
            holdings = await desk.broker.holdings()
            position = None if holdings is None else holdings.positions.get(symbol)
            found = None if position is None else await find_exit(runtime, instrument, position, quote)
            if found is None or position is None:
                return None
            begun = await begin(desk, found, position)
        return await leave(desk, client, begun, quote)


async def find_exit(runtime: Runtime, instrument: Instrument, position: Position, quote: Quote) -> Exit | None:
    """The rule of the symbol's strategy that the price has reached, if one has, and an exit may come of it."""
    market, symbol = instrument.market, instrument.symbol
    strategy = strategy_of(runtime.settings, market, symbol, instrument.currency)
    if not strategy.enabled:
        return None
    mark = None
    small = round_down(position.quantity, instrument.quantity_step) * quote.price < smallest_value(
        quote.price, instrument
    )
    if strategy.trailing and small:
        # whatever is bought next begins with a mark of its own
        await high_waters.forget(runtime.engine, market, symbol)
    elif strategy.trailing:
        mark = await high_waters.raise_to(runtime.engine, market, symbol, quote.price)
    atr = await analyses.last_atr(runtime.engine, market, symbol) if strategy.atr_exits or strategy.trailing else None
    found = check_exit(position, quote, strategy, atr, mark)
    return None if found is None or (small and await was_given_up(runtime, instrument, position)) else found


async def was_given_up(runtime: Runtime, instrument: Instrument, position: Position) -> bool:
    """Whether the last exit of a position that is too little to be sold has ended with that already: another at each
    turn would sell no more, and be told each time."""
    left = await exits.left_over(runtime.engine, instrument.market, instrument.symbol)
    return left is not None and position.quantity <= left


async def begin(desk: Desk, found: Exit, position: Position) -> OpenExit:
    """Record that the position has to be left, and count and tell it once."""
    begun = await exits.begin(
        desk.runtime.engine,
        market=desk.market,
        symbol=desk.symbol,
        exit=found,
        average_price=position.average_price,
        trace_id=current_trace_id(),
        at=desk.runtime.written_at(),
    )
    if begun.created:
        log.warning("%s: %s", desk.symbol, found.reason)
        instruments.risk_exits.add(1, {"symbol": desk.symbol, "kind": found.kind})
        await desk.notifier.exit_begun(
            desk.instrument, found, exit_id=begun.id, average_price=position.average_price, at=begun.at
        )
    return begun


async def leave(desk: Desk, client: MarketData, begun: OpenExit, quote: Quote) -> str:
    """Sell what is held at the best bid, at once; what is left is sold at the next turn."""
    engine, now = desk.runtime.engine, desk.runtime.now()
    try:
        await check_armed(desk.runtime, desk.market, now)
    except NotArmed as error:
        log.warning("%s: the position is not left: %s", desk.symbol, error)
        await desk.notifier.exit_not_armed(desk.instrument, begun.exit, average_price=begun.average_price, at=now)
        return "not_armed"
    unproven = await settle_symbol(desk)
    if any(order.intent.side is Side.SELL for order in unproven):
        return "blocked_by_unproven_order"
    # as if the resting sells were gone already: they are cancelled only where the exit may take their place
    situation = await situation_of(desk, Purpose.EXIT, None, quote, now, without=Side.SELL)
    flatten = begun.exit.kind is ExitKind.FLATTEN
    if flatten:
        # a person's word outweighs the switch of the symbol
        situation = replace(situation, strategy=replace(situation.strategy, enabled=True))
    quantity = await sellable(desk, begun, situation.position.quantity)
    if quantity <= 0 and flatten:
        return await nothing_to_flatten(desk, begun, situation.state.state, unproven)
    if quantity <= 0:
        return await nothing_free(desk, begun)
    verdict = check(situation, quantity * quote.price)
    if isinstance(verdict, Refusal):
        log.warning("%s: the position is not left: %s: %s", desk.symbol, verdict.rule, verdict.reason)
        instruments.refusals.add(1, {"market": desk.market, "rule": verdict.rule})
        return await end(desk, begun, verdict.reason) if verdict.rule in ENDS_IT else verdict.rule
    if await cancel_resting(desk, Side.BUY, Side.SELL, because=begun.id):
        free = (await desk.broker.account(desk.instrument)).position.quantity
        quantity = await sellable(desk, begun, free)
        if quantity <= 0:
            return await nothing_free(desk, begun)
    lowest = quote.bid * (1 - situation.strategy.exit_slippage)
    price = grid_down(lowest, lambda at: client.tick_size(desk.instrument, at))
    attempts = await journal.for_exit(engine, begun.id)
    if too_soon(attempts, now):
        return "rejected_before"
    number = len(attempts)
    if flatten and number == 0:
        await tell_begun(desk, begun, quantity, quote)
    intent = exit_intent(desk.instrument, begun, quantity, price, number)
    try:
        order = await place(desk, intent, quote, origin=Origin(exit_id=begun.id), leg=1)
    except TradingStopped as stop:
        return stop.refusal.rule
    await tell(desk, order)
    if order.remaining == 0 and not (flatten and (unproven or await still_ours(desk))):
        return await end(desk, begun)
    return f"order_{order.state}"


def too_soon(attempts: list[JournalOrder], now: datetime) -> bool:
    """Whether the venue has just rejected the exit's orders: a symbol that is suspended may stay so for days."""
    rejected = 0
    while rejected < len(attempts) and attempts[-1 - rejected].state is OrderState.REJECTED:
        rejected += 1
    if not rejected:
        return False
    pause = min(REJECTED_PAUSE_SECONDS * 2.0 ** min(rejected - 1, 10), REJECTED_PAUSE_MOST)
    return (now - attempts[-1].created_at).total_seconds() < pause


async def sellable(desk: Desk, begun: OpenExit, free: Decimal) -> Decimal:
    """How many of the free units the exit sells, in whole steps: all, or what its share of them is."""
    return round_down(min(free, await share(desk, begun, free)), desk.instrument.quantity_step)


async def share(desk: Desk, begun: OpenExit, units: Decimal) -> Decimal:
    """How many of the units are the exit's to sell: all of them, but for one that a person asked for no more than our
    own fills come to now. Whatever was sold meanwhile, by whomever, is not sold a second time."""
    return min(units, await ours(desk)) if begun.exit.kind is ExitKind.FLATTEN else units


async def ours(desk: Desk) -> Decimal:
    """What our own fills come to in the symbol now."""
    return (await trades.net_units(desk.runtime.engine, desk.market)).get(desk.symbol, Decimal(0))


async def still_ours(desk: Desk) -> bool:
    """Whether our own fills still come to something that can be sold."""
    return await ours(desk) >= desk.instrument.quantity_step


async def nothing_to_flatten(desk: Desk, begun: OpenExit, state: State, unproven: list[JournalOrder]) -> str:
    """Nothing of ours is free to sell. Buys that rest go at once, and the exit stays open while one that rests, or is
    not proven, may still bring something in."""
    if state is State.HALTED:
        return "trading_state"
    cancelled = await cancel_resting(desk, Side.BUY, because=begun.id)
    if any(order.fills for order in cancelled):
        return "order_cancelled"
    return "blocked_by_unproven_order" if unproven else await nothing_free(desk, begun)


async def tell_begun(desk: Desk, begun: OpenExit, quantity: Decimal, quote: Quote) -> None:
    """Count and tell, at its first order, an exit that a person asked for: at the price of now."""
    average = begun.average_price
    rate = quote.price / average - 1 if average > 0 else Decimal(0)
    shown = replace(begun.exit, quantity=quantity, price=quote.price, rate=rate)
    log.warning("%s: %s", desk.symbol, shown.reason)
    instruments.risk_exits.add(1, {"symbol": desk.symbol, "kind": shown.kind})
    await desk.notifier.exit_begun(desk.instrument, shown, exit_id=begun.id, average_price=average, at=begun.at)


async def nothing_free(desk: Desk, begun: OpenExit) -> str:
    """Nothing can be sold: everything is sold, what is left is less than one can sell, or somebody holds it back."""
    holdings = await desk.broker.holdings()
    held = holdings.positions.get(desk.symbol) if holdings else None
    left = Decimal(0) if held is None else await share(desk, begun, held.quantity)
    if left <= 0 and begun.exit.kind is ExitKind.FLATTEN:
        return await end_flatten(desk, begun)
    if left <= 0:
        return await end(desk, begun)
    if left < desk.instrument.quantity_step:
        return await end(desk, begun, f"{left} is less than can be sold")
    log.warning("%s: the position is not left: none of %s is free to sell", desk.symbol, left)
    return "nothing_free"


async def end_flatten(desk: Desk, begun: OpenExit) -> str:
    """Nothing is left of what a person wanted closed. Where no order of the exit was needed there is nothing to tell:
    its buys came to nothing, or another exit had sold it."""
    if await journal.for_exit(desk.runtime.engine, begun.id):
        return await end(desk, begun)
    await exits.end(desk.runtime.engine, begun.id, "nothing_held")
    return "nothing_held"


def exit_intent(instrument: Instrument, begun: OpenExit, quantity: Decimal, price: Decimal, number: int) -> OrderIntent:
    """The `number`-th attempt (from 0) to sell what an exit wants sold."""
    return OrderIntent(
        client_order_id=client_order_id(
            str(begun.id),
            instrument.market,
            instrument.symbol,
            Side.SELL,
            1 + number // HIGHEST,
            number % HIGHEST,
        ),
        market=instrument.market,
        symbol=instrument.symbol,
        side=Side.SELL,
        quantity=quantity,
        price=price,
        currency=instrument.currency,
        time_in_force=TimeInForce.IOC,
    )


async def end(desk: Desk, begun: OpenExit, reason: str = "") -> str:
    """The exit is over: everything is sold, or what is left cannot be, for `reason`. Returns how it ended."""
    engine, now = desk.runtime.engine, desk.runtime.now()
    fills = [fill for order in await journal.for_exit(engine, begun.id) for fill in order.fills]
    sold = sum((fill.quantity for fill in fills), Decimal(0))
    outcome: ExitOutcome = "sold_all" if not reason else "sold_part" if sold else "given_up"
    # told first: a crash in between tells it again, and the ledger knows it
    await desk.notifier.exit_ended(
        desk.instrument,
        begun.exit.kind,
        outcome,
        exit_id=begun.id,
        wanted=begun.exit.quantity,
        sold=sold,
        proceeds=sum((fill.quantity * fill.price - fill.fee for fill in fills), Decimal(0)) if sold else None,
        reason=reason,
        at=now,
    )
    await high_waters.forget(engine, desk.market, desk.symbol)
    await exits.end(engine, begun.id, f"{outcome}: {reason}" if reason else outcome)
    return outcome
