"""From a stored analysis to the orders of its ladder: settle, check, cancel what rests, check again, place, tell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from opentelemetry import trace as otel

from beat.sessions import is_open
from notifications.trades import TradeNotifier
from storage import orders as journal
from storage import trades, trading_states
from storage.journal import JournalOrder, Origin
from tasks.lease import symbol_lease
from tasks.placing import Desk, NotArmed, TradingStopped, check_armed, place, tell
from tasks.portfolio import equity
from tasks.settling import cancel_resting, settle_symbol
from tasks.strategies import strategy_of
from telemetry import instruments
from trading.ladder import Ladder, Rung
from trading.orders import client_order_id
from trading.periods import kst_day, starts
from trading.proposal import propose, purpose_of
from trading.risk import Purpose, Situation
from trading.state import effective
from trading.types import Analysis, Instrument, OrderIntent, OrderState, Quote, Refusal, Side, TimeInForce
from workers.errors import Unproven
from workers.runtime import Runtime

log = logging.getLogger(__name__)
_tracer = otel.get_tracer("autotrader")

# it provably never existed at the venue, or was never sent: another attempt is no second order
NEVER_SENT = frozenset({OrderState.PLANNED, OrderState.NOT_CREATED, OrderState.THROTTLED})
# of the states its orders ended in, the one that names the outcome
RANK = (OrderState.FILLED, OrderState.PARTLY_FILLED, OrderState.ACCEPTED, OrderState.CANCELLED, OrderState.REJECTED)
# the lease of a market's cash, among those of its symbols; whoever has it needs seconds at most
PURSE = "(cash)"
PURSE_WAIT_SECONDS = 45.0
PURSE_POLL_SECONDS = 0.05
FREQUENCY_RULES = frozenset({"min_interval", "trades_per_day"})


@dataclass(frozen=True, slots=True)
class Analysed:
    """A stored analysis of a run and the quote to trade on."""

    run_id: uuid.UUID
    analysis_id: uuid.UUID
    instrument: Instrument
    analysis: Analysis
    quote: Quote

    @property
    def origin(self) -> Origin:
        return Origin(self.analysis_id, self.run_id)


async def trade(runtime: Runtime, notifier: TradeNotifier, analysed: Analysed, now: datetime) -> str:
    """Place what the analysis asks for, if the rules allow it; returns the outcome's name.

    The symbol's lease is held. Raises a `VenueError` for what a venue refused to say or do, after the journal knows.
    """
    with _tracer.start_as_current_span("trade") as span:
        desk = Desk(runtime, await runtime.broker(analysed.instrument.market), notifier, analysed.instrument)
        outcome = await settle_or_place(desk, analysed, now)
        span.set_attribute("trade.outcome", outcome)
        return outcome


async def settle_or_place(desk: Desk, analysed: Analysed, now: datetime) -> str:
    """Settle what is unproven in the symbol, then tell what was sent already, or propose and place."""
    ahead = now - desk.runtime.now()
    try:
        unproven = await settle_symbol(desk)
    except Unproven as error:
        log.warning("%s: nothing new is sent: %s", desk.symbol, error)
        return "blocked_by_unproven_order"
    if unproven:
        log.warning("%s: nothing new is sent: %d orders are not proven", desk.symbol, len(unproven))
        return "blocked_by_unproven_order"
    placed = await journal.for_analysis(desk.runtime.engine, analysed.analysis_id)
    sent = [order for order in placed if not never_sent(order)]
    if sent:
        # an earlier delivery of this message sent them: tell what came of it, send nothing
        return await tell_all(desk, sent)
    purpose = purpose_of(analysed.analysis.decision)
    if purpose is None:
        return "hold"
    try:
        await check_armed(desk.runtime, desk.market, now)
    except NotArmed as error:
        log.warning("%s: no order: %s", desk.symbol, error)
        return "not_armed"
    async with purse(desk, purpose) as free:
        if not free:
            return "busy"
        return await propose_and_place(desk, analysed, purpose, ahead=ahead, attempt=1 + len(placed))


@contextlib.asynccontextmanager
async def purse(desk: Desk, purpose: Purpose) -> AsyncIterator[bool]:
    """The right to spend the market's cash, of which all its symbols buy: from the look at it to the last order. False
    where others kept it; a sale needs none."""
    if purpose is not Purpose.BUY:
        yield True
        return
    runtime = desk.runtime
    async with symbol_lease(
        runtime.redis, desk.market, PURSE, wait=PURSE_WAIT_SECONDS, poll=PURSE_POLL_SECONDS, within=runtime.leases
    ) as held:
        yield held


async def propose_and_place(desk: Desk, analysed: Analysed, purpose: Purpose, *, ahead: timedelta, attempt: int) -> str:
    """Place what the rules leave of the analysis, in the place of what rests on that side. They are asked by a clock
    that is `ahead` of the runtime's."""
    # as if the orders of that side were gone already: they are cancelled only where new ones take their place
    proposal = await proposed(desk, analysed, purpose, desk.runtime.now() + ahead, without=purpose.side)
    if isinstance(proposal, Ladder):
        sides = (Side.BUY,) if purpose is Purpose.BUY else (Side.SELL, Side.BUY)
        if await cancel_resting(desk, *sides, because=analysed.analysis_id):
            # by then the quote is older
            proposal = await proposed(desk, analysed, purpose, desk.runtime.now() + ahead)
    if isinstance(proposal, Refusal):
        return await refused(desk, analysed, proposal)
    return await place_ladder(desk, analysed, proposal, attempt=attempt)


async def proposed(
    desk: Desk, analysed: Analysed, purpose: Purpose, now: datetime, without: Side | None = None
) -> Ladder | Refusal:
    """What the rules make of the analysis now. `without` one side's resting orders, what they hold counts as free."""
    market = await desk.runtime.market(desk.market)
    situation = await situation_of(desk, purpose, analysed.analysis, analysed.quote, now, without=without)
    return propose(situation, analysed.analysis.ranges, lambda price: market.tick_size(desk.instrument, price))


async def situation_of(
    desk: Desk,
    purpose: Purpose,
    analysis: Analysis | None,
    quote: Quote,
    now: datetime,
    *,
    without: Side | None = None,
) -> Situation:
    """Everything the limits look at, read now from the venue and the journal."""
    runtime, instrument = desk.runtime, desk.instrument
    engine, settings = runtime.engine, runtime.settings
    market, symbol = desk.market, desk.symbol
    account = await desk.broker.account(instrument)
    resting = await journal.resting(engine, market, symbol)
    freed = [order for order in resting if order.intent.side is without]
    buys_freed = [order for order in freed if order.intent.side is Side.BUY]
    cash = account.cash + sum((reserved(order, instrument) for order in buys_freed), Decimal(0))
    # a buy adds to all that is held, a sell can only take what no other order holds
    counted = resting if purpose is Purpose.BUY else freed
    held_back = sum((order.remaining for order in counted if order.intent.side is Side.SELL), Decimal(0))
    position = replace(account.position, quantity=account.position.quantity + held_back)
    open_buys = [order for order in resting if order.intent.side is Side.BUY and order not in freed]
    states, unproven, last, today = await asyncio.gather(
        trading_states.in_force(engine, now),
        journal.unproven(engine, market, symbol),
        trades.last_fill_at(engine, market, symbol),
        trades.orders_filled_since(engine, market, symbol, starts(kst_day(now))),
    )
    return Situation(
        purpose=purpose,
        now=now,
        instrument=instrument,
        strategy=strategy_of(settings, market, symbol, instrument.currency),
        state=effective(states, market, symbol, now),
        analysis=analysis,
        quote=quote,
        market_open=settings.ignore_market_hours or is_open(market, now).open,
        position=position,
        cash=cash,
        # only buys are measured by it, and what leaves a position waits for no other symbol's quote
        equity=await equity(runtime, market, account) if purpose is Purpose.BUY else account.cash,
        open_buys=sum((order.remaining * order.intent.price for order in open_buys), Decimal(0)),
        last_trade_at=last,
        trades_today=today,
        unproven=frozenset(order.intent.side for order in unproven),
        clock_offset=runtime.clock_offset(now),
    )


def reserved(order: JournalOrder, instrument: Instrument) -> Decimal:
    """The cash a resting buy holds, its fee included."""
    return order.remaining * order.intent.price * (1 + instrument.fee_rate)


async def refused(desk: Desk, analysed: Analysed, refusal: Refusal) -> str:
    """Count, log and, where money is the reason, tell why there is no order; returns the rule as the outcome."""
    log.info("%s: no order: %s: %s", desk.symbol, refusal.rule, refusal.reason)
    instruments.refusals.add(1, {"market": desk.market, "rule": refusal.rule})
    if refusal.rule in FREQUENCY_RULES:
        instruments.risk_frequency_blocked.add(1)
    if refusal.rule == "insufficient_cash" and refusal.have is not None and refusal.need is not None:
        await desk.notifier.insufficient_cash(
            desk.instrument,
            Side.BUY,
            have=refusal.have,
            need=refusal.need,
            at=analysed.analysis.at,
            run_id=str(analysed.run_id),
        )
    return refusal.rule


async def place_ladder(desk: Desk, analysed: Analysed, ladder: Ladder, *, attempt: int) -> str:
    """Place the rungs one after the other, nearest to the market first; a refusal by the venue ends the ladder."""
    for clamp in ladder.clamps:
        log.info("%s: %s: %s", desk.symbol, clamp.rule, clamp.reason)
    placed: list[JournalOrder] = []
    stop: Refusal | None = None
    try:
        for leg, rung in enumerate(ladder.rungs, start=1):
            intent = intent_of(analysed, ladder.side, rung, leg, attempt)
            order = await place(desk, intent, analysed.quote, origin=analysed.origin, leg=leg)
            placed.append(order)
            if order.state is OrderState.REJECTED:
                break
    except TradingStopped as error:
        stop = error.refusal
    finally:
        # also where a rung failed: those before it are in the book
        if placed:
            accepted = [order.intent for order in placed if order.venue_order_id is not None]
            await desk.notifier.ladder(desk.instrument, ladder.side, accepted, analysis_id=analysed.analysis_id)
    if stop is not None and not placed:
        return await refused(desk, analysed, stop)
    return await tell_all(desk, placed)


def intent_of(analysed: Analysed, side: Side, rung: Rung, leg: int, attempt: int) -> OrderIntent:
    """The order of one rung; the same analysis, leg and attempt always make the same id."""
    instrument = analysed.instrument
    return OrderIntent(
        client_order_id=client_order_id(str(analysed.run_id), instrument.market, instrument.symbol, side, leg, attempt),
        market=instrument.market,
        symbol=instrument.symbol,
        side=side,
        quantity=rung.quantity,
        price=rung.price,
        currency=instrument.currency,
        time_in_force=TimeInForce.GTC,
    )


async def tell_all(desk: Desk, placed: list[JournalOrder]) -> str:
    """Report what traded or was refused; the outcome is named by the order that came furthest."""
    for order in placed:
        if order.fills or order.state is not OrderState.ACCEPTED:
            await tell(desk, order)
    states = {order.state for order in placed}
    return f"order_{next(state for state in RANK if state in states)}"


def never_sent(order: JournalOrder) -> bool:
    """Whether the order provably never existed at the venue."""
    unsent = order.state is OrderState.CANCELLED and order.venue_order_id is None
    return order.state in NEVER_SENT or unsent
