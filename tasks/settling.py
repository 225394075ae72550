"""What became of orders that were sent: asked of the venue, never guessed, never sent again.

The symbol's lease is held, so nobody is still sending what is settled here.
"""

from __future__ import annotations

import logging
from uuid import UUID

from storage import orders as journal
from storage.journal import JournalOrder
from tasks.placing import Desk, move, record, tell
from tasks.turns import turn
from trading.orders import RESTING, UNPROVEN
from trading.types import OrderState, Side
from workers.errors import Ambiguous, Unproven

log = logging.getLogger(__name__)


class CancelFailed(Exception):
    """An order still rests after it was cancelled: nothing new is placed beside it."""


async def settle_symbol(desk: Desk) -> list[JournalOrder]:
    """Ask about every unproven order of the symbol and return those that stay unproven.

    Orders that were planned and never sent are ended on the way: whoever planned them no longer holds the lease.
    Each is asked about, whatever became of the look at another. Raises `Ambiguous` where a person must look, and what
    a request raises.
    """
    engine = desk.runtime.engine
    for order in await journal.planned(engine, desk.market, desk.symbol):
        await journal.set_state(
            engine, order.id, OrderState.CANCELLED, expected=OrderState.PLANNED, reason="never_sent: its run ended"
        )
    unproven = await journal.unproven(engine, desk.market, desk.symbol)
    settled: list[JournalOrder] = []
    errors: list[Exception] = []
    for order in unproven:
        with turn(errors, f"{desk.symbol}, order {order.intent.client_order_id}"):
            settled.append(await settle(desk, order))
    if errors:
        raise next((error for error in errors if isinstance(error, Ambiguous)), errors[0])
    return [order for order in settled if order.state in UNPROVEN]


async def settle(desk: Desk, order: JournalOrder) -> JournalOrder:
    """Take one look at the venue for an order that was sent and not proven, and write down what it shows.

    It is called `not_created` only after as many looks over as long a time as the broker's `absence` asks for.
    """
    engine = desk.runtime.engine
    if order.state is OrderState.SENDING:
        await move(desk, order, OrderState.SENDING, OrderState.UNKNOWN)
        order = await journal.get(engine, order.id)
    try:
        placement = await desk.broker.find(order.intent.client_order_id, order.venue_order_id)
    except Ambiguous as error:
        await desk.notifier.ambiguous_order(order.intent, reason=str(error))
        raise
    if placement is not None:
        after = await record(desk, order, placement)
        await tell(desk, after)
        return after
    missed = await journal.missed(engine, order)
    if missed.looks >= desk.broker.absence.looks and missed.seconds >= desk.broker.absence.seconds:
        reason = f"the venue had no order of this id in {missed.looks} looks over {missed.seconds:.0f} s"
        await move(desk, order, OrderState.UNKNOWN, OrderState.NOT_CREATED, reason)
        # that it was sent and not proven was told, so this is too
        await tell(desk, after := await journal.get(engine, order.id))
        return after
    return await journal.get(engine, order.id)


async def refresh(desk: Desk, order: JournalOrder) -> JournalOrder:
    """Ask what a resting order has traded, and write it down. Raises `Unproven` where the venue shows no such order."""
    placement = await desk.broker.find(order.intent.client_order_id, order.venue_order_id)
    if placement is None:
        raise Unproven(
            f"{desk.market} {desk.symbol}: the venue does not show order {order.venue_order_id}, which it had accepted",
            about=order.intent.client_order_id,
        )
    after = await record(desk, order, placement)
    if (after.state, after.filled_quantity) != (order.state, order.filled_quantity):
        await tell(desk, after)
    return after


async def cancel(desk: Desk, order: JournalOrder) -> JournalOrder:
    """Take what rests of an order out of the book and write down what it had come to."""
    after = await record(desk, order, await desk.broker.cancel(order.intent.client_order_id, order.venue_order_id))
    if after.filled_quantity != order.filled_quantity:
        await tell(desk, after)
    return after


async def cancel_resting(desk: Desk, *sides: Side, because: UUID) -> list[JournalOrder]:
    """Cancel all resting orders of the symbol on these sides and return those cancelled; `because` is the id of the
    analysis or the exit that they make way for.

    Raises `CancelFailed` while one of them still rests, and what a request raises: then nothing is known to be gone.
    """
    cancelled = []
    for order in await journal.resting(desk.runtime.engine, desk.market, desk.symbol):
        if order.intent.side not in sides:
            continue
        after = await cancel(desk, order)
        if after.state in RESTING:
            raise CancelFailed(
                f"{desk.market} {desk.symbol}: order {order.venue_order_id} still rests after it was cancelled; "
                "nothing is placed until it is gone"
            )
        cancelled.append(after)
    for side in sides:
        count = sum(order.intent.side is side for order in cancelled)
        await desk.notifier.orders_cancelled(desk.instrument, side, count, analysis_id=because)
    return cancelled
