"""From a stored analysis to an order at the venue, at most once.

The intent is committed before anything is sent; whoever changes it from `planned` to `sending` sends, and nobody
else. What was sent and not proven is settled by asking the venue, never by sending again.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime

from opentelemetry import trace as otel

from notifications.trades import TradeNotifier
from storage import orders as journal
from storage import trading_states
from storage.journal import JournalOrder
from telemetry import instruments
from telemetry.trace_ids import current_trace_id
from trading.decision import Order, Skip, decide
from trading.orders import client_order_id
from trading.state import allows, effective
from trading.types import Analysis, Instrument, OrderIntent, OrderState, Placement, Quote, Side
from workers.errors import BadCredentials, Throttled, UnknownSymbol, Unproven, Unreachable, VenueError
from workers.ports import Broker
from workers.runtime import Runtime

log = logging.getLogger(__name__)
_tracer = otel.get_tracer("autotrader")

MAX_ANALYSIS_AGE_SECONDS = 600
# a broker raises these for an order only where nothing has reached the venue's book
NOT_CREATED = (Unreachable, BadCredentials, UnknownSymbol)
LEG = 1


@dataclass(frozen=True, slots=True)
class Analysed:
    """A stored analysis of a run and the quote to trade on."""

    run_id: uuid.UUID
    analysis_id: uuid.UUID
    instrument: Instrument
    analysis: Analysis
    quote: Quote


async def trade(runtime: Runtime, notifier: TradeNotifier, analysed: Analysed, now: datetime) -> str:
    """Place what the analysis asks for, if the rules allow it; returns the outcome's name."""
    with _tracer.start_as_current_span("trade") as span:
        outcome = await settle_or_place(runtime, notifier, analysed, now)
        span.set_attribute("trade.outcome", outcome)
        return outcome


async def settle_or_place(runtime: Runtime, notifier: TradeNotifier, analysed: Analysed, now: datetime) -> str:
    """Settle what is unproven in the symbol, then tell what was sent already, or decide and send."""
    instrument, analysis = analysed.instrument, analysed.analysis
    broker = runtime.broker(instrument.market)
    for unproven in await journal.unsettled(runtime.engine, instrument.market, instrument.symbol):
        try:
            await settle(runtime, broker, unproven)
        except Unproven as error:
            log.warning("%s: nothing new is sent: %s", instrument.symbol, error)
            return "blocked_by_unproven_order"
    placed = await journal.for_analysis(runtime.engine, analysed.analysis_id)
    sent = [order for order in placed if order.state is not OrderState.PLANNED and not retryable(order)]
    if sent:
        # an earlier delivery of this message sent it: tell what came of it, send nothing
        return await tell(notifier, instrument, sent[-1])
    decision = decide(
        analysis,
        await broker.account(instrument),
        instrument,
        analysed.quote,
        min_confidence=runtime.settings.min_confidence,
        order_value=runtime.settings.order_value(instrument.currency),
        max_age_seconds=MAX_ANALYSIS_AGE_SECONDS,
        now=now,
    )
    if isinstance(decision, Skip):
        if decision.outcome == "insufficient_cash":
            await notifier.insufficient_cash(instrument, analysis, decision, run_id=str(analysed.run_id))
        log.info("%s: no order: %s", instrument.symbol, decision.reason)
        return decision.outcome
    state = effective(await trading_states.in_force(runtime.engine, now), instrument.market, instrument.symbol, now)
    if not allows(state, decision.side, increases_exposure=decision.side is Side.BUY):
        log.warning("%s: no order: trading is %s: %s", instrument.symbol, state.state, state.reason)
        return f"trading_{state.state}"
    order = await place(runtime, broker, analysed, decision, attempt=1 + sum(retryable(order) for order in placed))
    return await tell(notifier, instrument, order)


async def place(runtime: Runtime, broker: Broker, analysed: Analysed, order: Order, *, attempt: int) -> JournalOrder:
    """Write the intent, claim it, send it once and write down what the venue said.

    Raises `ClaimLost`, and `SymbolBlocked` while another order of the symbol and side is unproven.
    """
    instrument = analysed.instrument
    intent = OrderIntent(
        client_order_id=client_order_id(
            str(analysed.run_id), instrument.market, instrument.symbol, order.side, LEG, attempt
        ),
        market=instrument.market,
        symbol=instrument.symbol,
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        currency=instrument.currency,
    )
    trace_id = current_trace_id()
    planned = await journal.plan(
        runtime.engine, intent, analysis_id=analysed.analysis_id, run_id=analysed.run_id, trace_id=trace_id
    )
    if not await journal.claim(runtime.engine, planned.id, trace_id=trace_id):
        raise ClaimLost(f"{instrument.symbol}: order {intent.client_order_id} is being sent by another run")
    try:
        placement = await broker.place(planned.intent, instrument, analysed.quote)
    except VenueError as error:
        await write_down(runtime, planned, error)
        raise
    placed = await journal.record(runtime.engine, planned.id, placement, trace_id=trace_id)
    count(placed, placement)
    return placed


async def write_down(runtime: Runtime, order: JournalOrder, error: VenueError) -> None:
    """Move an order that could not be placed to what the error proves of it."""

    async def move(old: OrderState, new: OrderState) -> None:
        await journal.set_state(runtime.engine, order.id, new, expected=old, reason=str(error))

    if isinstance(error, Throttled):
        await move(OrderState.SENDING, OrderState.THROTTLED)
        return
    await move(OrderState.SENDING, OrderState.UNKNOWN)
    if isinstance(error, NOT_CREATED):
        await move(OrderState.UNKNOWN, OrderState.NOT_CREATED)


async def settle(runtime: Runtime, broker: Broker, order: JournalOrder) -> None:
    """Ask the venue what became of an order that was sent and not proven, and write it down.

    The symbol's lease is held, so nobody is still sending it. Raises `Unproven` while the venue cannot say.
    """
    if order.state is OrderState.SENDING:
        await journal.set_state(runtime.engine, order.id, OrderState.UNKNOWN, expected=OrderState.SENDING)
    placement = await broker.find(order.intent.client_order_id)
    if placement is None:
        await journal.set_state(
            runtime.engine,
            order.id,
            OrderState.NOT_CREATED,
            expected=OrderState.UNKNOWN,
            reason="the venue has no order of this id",
        )
        return
    settled = await journal.record(runtime.engine, order.id, placement)
    count(settled, placement)


def retryable(order: JournalOrder) -> bool:
    """Whether the order provably never existed at the venue, so that another attempt is no second order."""
    return order.state in (OrderState.NOT_CREATED, OrderState.THROTTLED)


async def tell(notifier: TradeNotifier, instrument: Instrument, order: JournalOrder) -> str:
    """Report the order to the trade chat, once however often this is called; returns `order_<state>`."""
    await notifier.order(
        instrument,
        order.intent,
        Placement(order.venue_order_id, order.state, order.fills, order.reason),
        run_id=str(order.run_id),
    )
    return f"order_{order.state}"


def count(order: JournalOrder, placement: Placement) -> None:
    """The seeds' trade counters, from the fills the venue reported."""
    intent = order.intent
    instruments.orders.add(1, {"market": intent.market, "side": intent.side, "state": order.state})
    tags = {"symbol": intent.symbol, "side": str(intent.side)}
    for fill in placement.fills:
        instruments.trades.add(1, tags)
        if intent.currency == "KRW":
            instruments.trade_volume_krw.add(float(fill.quantity * fill.price), tags)
            instruments.trade_fee_krw.add(float(fill.fee), tags)


class ClaimLost(Exception):
    """Someone else sends this order now."""
