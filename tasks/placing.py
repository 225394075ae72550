"""Sending one order, at most once.

The intent is committed before anything is sent; whoever changes it from `planned` to `sending` sends, and nobody
else. The symbol's lease is held around all of this.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from notifications.trades import TradeNotifier
from storage import armings, trading_states
from storage import orders as journal
from storage.journal import JournalOrder, Origin
from telemetry import instruments
from telemetry.trace_ids import current_trace_id
from trading.state import allows, effective, live_allowed
from trading.types import Fill, Instrument, OrderIntent, OrderState, Placement, Quote, Refusal, Side
from workers.errors import BadCredentials, Throttled, UnknownSymbol, Unreachable, VenueError
from workers.http import send_within
from workers.ports import Broker
from workers.runtime import Runtime

log = logging.getLogger(__name__)

# an order goes out within this time of its claim or not at all: well before any look for it may count as its absence
SEND_SECONDS = 10.0
# a broker raises these for an order only where nothing has reached the venue's book
NOT_CREATED = (Unreachable, BadCredentials, UnknownSymbol)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the orders of one symbol are placed: its broker and who is told."""

    runtime: Runtime
    broker: Broker
    notifier: TradeNotifier
    instrument: Instrument

    @property
    def market(self) -> str:
        return self.instrument.market

    @property
    def symbol(self) -> str:
        return self.instrument.symbol


class ClaimLost(Exception):
    """Someone else sends this order now."""


class TradingStopped(Exception):
    """A halt, a pause or the circuit breaker came after the rules had allowed the order; it was not sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class NotArmed(Exception):
    """The market trades live and no row arms it now: nothing is sent."""


async def check_armed(runtime: Runtime, market: str, now: datetime) -> None:
    """Raise `NotArmed` where orders go to a real account and the second switch is off."""
    settings = runtime.settings
    if not settings.live(market):
        return
    rows = await armings.in_force(runtime.engine, now)
    if not live_allowed(settings.trading_mode, rows, market, now):
        raise NotArmed(f"{market} trades live and is not armed: autotrader arm {market} --for 8h")


async def place(desk: Desk, intent: OrderIntent, quote: Quote, *, origin: Origin, leg: int) -> JournalOrder:
    """Write the intent, claim it, send it once and write down what the venue said.

    Raises `ClaimLost`, `NotArmed`, `TradingStopped`, and `SymbolBlocked` while another order of the symbol and side is
    unproven; a `VenueError` after writing down what it proves.
    """
    engine, trace_id = desk.runtime.engine, current_trace_id()
    await check_armed(desk.runtime, desk.market, desk.runtime.now())
    planned = await journal.plan(
        engine, intent, origin=origin, leg=leg, trace_id=trace_id, at=desk.runtime.written_at()
    )
    if not await journal.claim(engine, planned.id, trace_id=trace_id):
        raise ClaimLost(f"{desk.symbol}: order {intent.client_order_id} is being sent by another run")
    # read after the claim: who stops trading and then looks for orders finds this one, or it finds the stop
    if (stop := await stopped(desk, intent)) is not None:
        await move(desk, planned, OrderState.SENDING, OrderState.UNKNOWN, stop.reason)
        await move(desk, planned, OrderState.UNKNOWN, OrderState.NOT_CREATED, f"never sent: {stop.reason}")
        raise TradingStopped(stop)
    try:
        with send_within(SEND_SECONDS):
            placement = await desk.broker.place(planned.intent, desk.instrument, quote)
    except VenueError as error:
        await write_down(desk, planned, error)
        raise
    return await record(desk, planned, placement)


async def stopped(desk: Desk, intent: OrderIntent) -> Refusal | None:
    """Why the order may not be sent in the trading state of now, or None."""
    now = desk.runtime.now()
    state = effective(await trading_states.in_force(desk.runtime.engine, now), intent.market, intent.symbol, now)
    if allows(state, intent.side, increases_exposure=intent.side is Side.BUY):
        return None
    return Refusal("trading_state", f"{state.state}: {state.reason}")


async def write_down(desk: Desk, order: JournalOrder, error: VenueError) -> None:
    """Move an order that could not be placed to what the error proves of it."""
    reason = str(error)
    if isinstance(error, Throttled):
        await move(desk, order, OrderState.SENDING, OrderState.THROTTLED, reason)
        return
    await move(desk, order, OrderState.SENDING, OrderState.UNKNOWN, reason)
    if isinstance(error, NOT_CREATED):
        await move(desk, order, OrderState.UNKNOWN, OrderState.NOT_CREATED, reason)


async def move(desk: Desk, order: JournalOrder, old: OrderState, new: OrderState, reason: str | None = None) -> None:
    """Write down that an order which was sent is in another state now, and count it, unless it stood elsewhere."""
    if await journal.set_state(desk.runtime.engine, order.id, new, expected=old, reason=reason):
        _count_state(order.intent, new)


async def record(desk: Desk, order: JournalOrder, placement: Placement) -> JournalOrder:
    """Write down the venue's word on `order`, and count and tell what is new in it."""
    after = await journal.record(desk.runtime.engine, order.id, placement, trace_id=current_trace_id())
    known = {fill.trade_id for fill in order.fills}
    count_fills(after.intent, [fill for fill in after.fills if fill.trade_id not in known])
    if after.state is not order.state:
        _count_state(after.intent, after.state)
    return after


def _count_state(intent: OrderIntent, state: OrderState) -> None:
    """One more order that came into `state`."""
    instruments.orders.add(1, {"market": intent.market, "side": intent.side, "state": state})


def count_fills(intent: OrderIntent, fills: list[Fill]) -> None:
    """The seeds' trade counters."""
    tags = {"symbol": intent.symbol, "side": str(intent.side)}
    for fill in fills:
        instruments.trades.add(1, tags)
        if intent.currency == "KRW":
            instruments.trade_volume_krw.add(float(fill.quantity * fill.price), tags)
            instruments.trade_fee_krw.add(float(fill.fee), tags)


async def tell(desk: Desk, order: JournalOrder) -> None:
    """Report the order to the trade chat, once for each state and amount filled, however often this is called."""
    await desk.notifier.order(
        desk.instrument,
        order.intent,
        Placement(order.venue_order_id, order.state, order.fills, order.reason),
        run_id=str(order.origin.run_id or order.origin.exit_id or ""),
    )
