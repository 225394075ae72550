"""The order journal: the intent is committed first, one caller may send it, and only evidence moves it on.

The states and their order are `trading.orders.TRANSITIONS`; a trigger refuses every other change, and a
change of state without an event. Each function is one transaction of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.errors import Contradiction, NotFound, SymbolBlocked, refusal
from storage.journal import JournalOrder, read, tell
from storage.tables import fills, orders
from trading.orders import TRANSITIONS, UNPROVEN
from trading.types import Fill, OrderIntent, OrderState, Placement

# accepted counts too: an immediate-or-cancel order has an end, and the venue has not told it yet
UNSETTLED = UNPROVEN | {OrderState.ACCEPTED}

# for these any sign of life at the venue is news: an order that trades while the journal thinks it does not
_NEVER_TRADED = {OrderState.REJECTED, OrderState.THROTTLED, OrderState.NOT_CREATED}


async def plan(
    engine: AsyncEngine, intent: OrderIntent, *, analysis_id: UUID, run_id: UUID, trace_id: str | None = None
) -> JournalOrder:
    """Commit the intent before anything is sent. The same client order id again returns the first order,
    whose quantity and price stand: send `.intent`, not what was computed anew.

    Raises `Contradiction` if that id belongs to another symbol, side or analysis.
    """
    statement = (
        insert(orders)
        .values(
            client_order_id=intent.client_order_id,
            analysis_id=analysis_id,
            run_id=run_id,
            market=intent.market,
            symbol=intent.symbol,
            side=intent.side.value,
            quantity=intent.quantity,
            price=intent.price,
            currency=intent.currency,
            state=OrderState.PLANNED.value,
            trace_id=trace_id,
        )
        .on_conflict_do_nothing(index_elements=[orders.c.client_order_id])
        .returning(orders.c.id)
    )
    async with engine.begin() as connection:
        order_id = await connection.scalar(statement)
        if order_id is not None:
            await tell(connection, order_id, None, OrderState.PLANNED, trace_id)
        order = (await read(connection, orders.c.client_order_id == intent.client_order_id))[0]
    first = (order.intent.market, order.intent.symbol, order.intent.side, order.analysis_id, order.run_id)
    if first != (intent.market, intent.symbol, intent.side, analysis_id, run_id):
        raise Contradiction(
            f"client order id {intent.client_order_id} is a {order.intent.side} of {order.intent.symbol} "
            f"of analysis {order.analysis_id} already"
        )
    return order


async def claim(engine: AsyncEngine, order_id: UUID, *, trace_id: str | None = None) -> bool:
    """Take the right to send: planned -> sending. True for exactly one caller ever; all others must not send.

    Raises `SymbolBlocked` while another order of that symbol and side is unproven, and `NotFound`.
    """
    try:
        return await set_state(engine, order_id, OrderState.SENDING, expected=OrderState.PLANNED, trace_id=trace_id)
    except IntegrityError as error:
        if refusal(error) != "uq_orders_unproven":
            raise
        raise SymbolBlocked(
            f"order {order_id} waits: another order of its symbol and side is unproven; ask the venue about that one"
        ) from None


async def set_state(
    engine: AsyncEngine,
    order_id: UUID,
    state: OrderState,
    *,
    expected: OrderState,
    reason: str | None = None,
    payload: Mapping[str, object] | None = None,
    trace_id: str | None = None,
) -> bool:
    """Compare-and-set `expected` -> `state` with its event; False if the order stood elsewhere.

    Raises `NotFound`; PostgreSQL refuses a change that is not in `TRANSITIONS` (`IntegrityError`).
    """
    values = {"state": state.value} if reason is None else {"state": state.value, "reason": reason}
    statement = update(orders).where(orders.c.id == order_id, orders.c.state == expected.value).values(values)
    async with engine.begin() as connection:
        if (await connection.execute(statement)).rowcount == 1:
            told = {**(payload or {}), **({"reason": reason} if reason else {})}
            await tell(connection, order_id, expected, state, trace_id, told)
            return True
        if await connection.scalar(select(orders.c.id).where(orders.c.id == order_id)) is None:
            raise NotFound(f"there is no order {order_id}")
        return False


async def record(
    engine: AsyncEngine, order_id: UUID, placement: Placement, trace_id: str | None = None
) -> JournalOrder:
    """Write down the venue's word: its order id, the fills not yet known, the state. Repeating is harmless.

    A word older than what is known (accepted, when it is filled already) only adds its fills. Raises
    `NotFound`, and `Contradiction` when the journal has proof of the opposite or was never sent.
    """
    try:
        async with engine.begin() as connection:
            return await _record(connection, order_id, placement, trace_id)
    except IntegrityError as error:
        raise Contradiction(
            f"order {order_id}: the venue says {placement.state} with {len(placement.fills)} fills, "
            f"which cannot be: {refusal(error)}"
        ) from None


async def get(engine: AsyncEngine, order_id: UUID) -> JournalOrder:
    """The order of that id. Raises `NotFound`."""
    found = await _find(engine, orders.c.id == order_id)
    if not found:
        raise NotFound(f"there is no order {order_id}")
    return found[0]


async def for_analysis(engine: AsyncEngine, analysis_id: UUID) -> list[JournalOrder]:
    """The orders an analysis led to, oldest first."""
    return await _find(engine, orders.c.analysis_id == analysis_id)


async def unsettled(engine: AsyncEngine, market: str, symbol: str) -> list[JournalOrder]:
    """The orders of a symbol the venue still has to speak about (sending, unknown, accepted), oldest first.
    While there is one, nothing new is bought in that symbol."""
    wanted = [state.value for state in UNSETTLED]
    return await _find(engine, orders.c.market == market, orders.c.symbol == symbol, orders.c.state.in_(wanted))


async def open_in_state(
    engine: AsyncEngine, *states: OrderState, market: str | None = None, before: datetime | None = None
) -> list[JournalOrder]:
    """The orders that stand in one of `states`, of one market or all, last changed before `before` if given
    (leave those alone that another task is just sending); oldest first."""
    wanted: list[ColumnElement[bool]] = [orders.c.state.in_([state.value for state in states])]
    if market is not None:
        wanted.append(orders.c.market == market)
    if before is not None:
        wanted.append(orders.c.updated_at < before)
    return await _find(engine, *wanted)


async def _record(
    connection: AsyncConnection, order_id: UUID, placement: Placement, trace_id: str | None
) -> JournalOrder:
    locked = select(orders).where(orders.c.id == order_id).with_for_update()
    row = (await connection.execute(locked)).one_or_none()
    if row is None:
        raise NotFound(f"there is no order {order_id}")
    old, new = OrderState(row.state), placement.state
    _check_told(row, placement)
    added = await _add_fills(connection, row, placement.fills)
    moved = old != new and new in TRANSITIONS[old]
    values: dict[str, object] = {}
    if moved:
        values["state"] = new.value
    if row.venue_order_id is None and placement.venue_order_id is not None:
        values["venue_order_id"] = placement.venue_order_id
    if moved and placement.reason is not None:
        values["reason"] = placement.reason
    if values:
        await connection.execute(update(orders).where(orders.c.id == order_id).values(values))
    if moved or added or values:
        told = {
            "venue_order_id": placement.venue_order_id,
            "state": new.value,
            "reason": placement.reason,
            "fills": [
                {"trade_id": fill.trade_id, "quantity": fill.quantity, "price": fill.price, "fee": fill.fee}
                for fill in placement.fills
            ],
        }
        await tell(connection, order_id, old, new if moved else old, trace_id, told)
    return (await read(connection, orders.c.id == order_id))[0]


def _check_told(row: Row[tuple[object, ...]], placement: Placement) -> None:
    """Raise `Contradiction` unless the word fits what is known: a next state, the same, or an earlier one."""
    old, new = OrderState(row.state), placement.state
    name = f"order {row.client_order_id}"
    if placement.venue_order_id and row.venue_order_id and placement.venue_order_id != row.venue_order_id:
        raise Contradiction(f"{name} is {row.venue_order_id} at the venue, not {placement.venue_order_id}")
    if old is OrderState.PLANNED:
        raise Contradiction(f"{name} was never sent, yet the venue says {new}; is the account used by someone else?")
    revived = old in _NEVER_TRADED and new not in _NEVER_TRADED | UNPROVEN
    if new != old and new not in TRANSITIONS[old] and (revived or not _leads_to(new, old)):
        raise Contradiction(f"{name} is {old} in the journal, the venue now says {new}; compare the two by hand")


def _leads_to(earlier: OrderState, later: OrderState) -> bool:
    """Whether an order in `earlier` can come to stand in `later`."""
    seen: set[OrderState] = set()
    front = {earlier}
    while front:
        seen |= front
        front = {target for state in front for target in TRANSITIONS[state]} - seen
    return later in seen


async def _add_fills(connection: AsyncConnection, row: Row[tuple[object, ...]], given: tuple[Fill, ...]) -> int:
    """Insert the fills not yet known and return how many. Raises `Contradiction` for another order's trade."""
    if not given:
        return 0
    values = [
        {
            "market": row.market,
            "trade_id": fill.trade_id,
            "order_id": row.id,
            "quantity": fill.quantity,
            "price": fill.price,
            "fee": fill.fee,
            "at": fill.at,
        }
        for fill in given
    ]
    statement = insert(fills).values(values).on_conflict_do_nothing().returning(fills.c.trade_id)
    added = (await connection.scalars(statement)).all()
    if len(added) < len(given):
        foreign = await connection.scalar(
            select(fills.c.trade_id).where(
                fills.c.market == row.market,
                fills.c.trade_id.in_([fill.trade_id for fill in given]),
                fills.c.order_id != row.id,
            )
        )
        if foreign is not None:
            raise Contradiction(f"trade {foreign} of {row.market} belongs to another order than {row.client_order_id}")
    return len(added)


async def _find(engine: AsyncEngine, *wanted: ColumnElement[bool]) -> list[JournalOrder]:
    async with engine.connect() as connection:
        return await read(connection, *wanted)
