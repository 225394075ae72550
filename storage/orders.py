"""The order journal: the intent is committed first, one caller may send it, and only evidence moves it on.

The states and their order are `trading.orders.TRANSITIONS`; a trigger refuses every other change, and a
change of state without an event. Each function is one transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.errors import Contradiction, NotFound, SymbolBlocked, refusal
from storage.journal import JournalOrder, Origin, read, tell
from storage.tables import fills, order_events, orders
from trading.orders import RESTING, TRANSITIONS, UNPROVEN
from trading.types import Fill, OpenOrder, OrderIntent, OrderState, Placement, TimeInForce

# for these any sign of life at the venue is news: an order that trades while the journal thinks it does not
_NEVER_TRADED = {OrderState.REJECTED, OrderState.THROTTLED, OrderState.NOT_CREATED}


@dataclass(frozen=True, slots=True)
class Missed:
    """Looks at the venue that found no such order, and seconds from its sending to the last of them."""

    looks: int
    seconds: float


async def plan(
    engine: AsyncEngine,
    intent: OrderIntent,
    *,
    origin: Origin,
    leg: int = 1,
    trace_id: str | None = None,
    at: datetime | None = None,
) -> JournalOrder:
    """Commit the intent before anything is sent; it is as old as `at` says, if not of now. The same client order id
    again returns the first order, whose quantity and price stand: send `.intent`, not what was computed anew.

    Raises `Contradiction` if that id belongs to another symbol, side or origin.
    """
    statement = (
        insert(orders)
        .values(
            **_columns(intent, origin),
            leg=leg,
            trace_id=trace_id,
            **({} if at is None else {"created_at": at}),
        )
        .on_conflict_do_nothing(index_elements=[orders.c.client_order_id])
        .returning(orders.c.id)
    )
    async with engine.begin() as connection:
        order_id = await connection.scalar(statement)
        if order_id is not None:
            await tell(connection, order_id, None, OrderState.PLANNED, trace_id)
        order = (await read(connection, orders.c.client_order_id == intent.client_order_id))[0]
    first = (order.intent.market, order.intent.symbol, order.intent.side, order.origin)
    if first != (intent.market, intent.symbol, intent.side, origin):
        raise Contradiction(
            f"client order id {intent.client_order_id} is a {order.intent.side} of {order.intent.symbol} "
            f"of another decision already"
        )
    return order


async def adopt(engine: AsyncEngine, market: str, found: OpenOrder, trace_id: str | None = None) -> JournalOrder | None:
    """Take an order of the venue that nobody here sent into the journal, as accepted; None where it is known.

    What it has traded already is told by the next look at it. Raises `SymbolBlocked` while an order of its symbol
    and side is unproven: that one may be it. Raises `Contradiction` for one that the journal knows as never created:
    what was made in its place may be in the book, too.
    """
    client_order_id = found.client_order_id or f"adopted-{market}-{found.venue_order_id}"
    known = (orders.c.market == market) & (
        (orders.c.venue_order_id == found.venue_order_id) | (orders.c.client_order_id == client_order_id)
    )
    intent = OrderIntent(
        client_order_id,
        market,
        found.symbol,
        found.side,
        found.quantity,
        found.price,
        found.currency,
        TimeInForce.GTC,
    )
    try:
        async with engine.begin() as connection:
            states = [OrderState(state) for state in await connection.scalars(select(orders.c.state).where(known))]
            for state in states:
                if state in _NEVER_TRADED:
                    raise Contradiction(
                        f"{market} {found.symbol}: order {found.venue_order_id} rests at the venue, and the journal "
                        f"calls it {state}; cancel it there by hand"
                    )
            if states:
                return None
            if found.client_order_id is None and await connection.scalar(_like(market, found)) is not None:
                raise Contradiction(
                    f"{market} {found.symbol}: order {found.venue_order_id} rests at the venue, and is like one that "
                    "the journal calls not_created; cancel it there by hand unless it is your own"
                )
            statement = insert(orders).values(**_columns(intent, Origin(adopted=True)), trace_id=trace_id)
            order_id = await connection.scalar(statement.on_conflict_do_nothing().returning(orders.c.id))
            if order_id is None:
                return None
            await tell(connection, order_id, None, OrderState.PLANNED, trace_id, {"adopted": True})
            sending = update(orders).where(orders.c.id == order_id).values(state=OrderState.SENDING.value)
            await connection.execute(sending)
            await tell(connection, order_id, OrderState.PLANNED, OrderState.SENDING, trace_id)
            accepted = Placement(found.venue_order_id, OrderState.ACCEPTED)
            return await _record(connection, order_id, accepted, trace_id)
    except IntegrityError as error:
        # between the two looks at the journal the run that had sent it wrote its number down
        if refusal(error) == "uq_orders_venue_order_id":
            return None
        if refusal(error) != "uq_orders_unproven":
            raise
        raise SymbolBlocked(
            f"{market} {found.symbol}: order {found.venue_order_id} of the venue may be one that is unproven"
        ) from None


def _like(market: str, found: OpenOrder) -> Select[tuple[UUID]]:
    """The orders of the day before that were called `not_created` and that an order of a venue, which keeps no ids of
    ours, may be after all."""
    return select(orders.c.id).where(
        orders.c.market == market,
        orders.c.symbol == found.symbol,
        orders.c.side == found.side.value,
        orders.c.quantity == found.quantity,
        orders.c.price == found.price,
        orders.c.state == OrderState.NOT_CREATED.value,
        orders.c.created_at.between(found.at - timedelta(days=1), found.at + timedelta(minutes=1)),
    )


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


async def for_exit(engine: AsyncEngine, exit_id: UUID) -> list[JournalOrder]:
    """The orders an exit led to, oldest first."""
    return await _find(engine, orders.c.exit_id == exit_id)


async def planned(engine: AsyncEngine, market: str, symbol: str) -> list[JournalOrder]:
    """The orders of a symbol that nobody has begun to send, oldest first."""
    return await _open(engine, [OrderState.PLANNED], market, symbol)


async def left_planned(engine: AsyncEngine, market: str, seconds: float) -> list[JournalOrder]:
    """The orders of a market that were planned more than `seconds` ago and that nobody has begun to send."""
    return await _find(
        engine,
        orders.c.market == market,
        orders.c.state == OrderState.PLANNED.value,
        orders.c.created_at < func.now() - timedelta(seconds=seconds),
    )


async def unproven(engine: AsyncEngine, market: str, symbol: str | None = None) -> list[JournalOrder]:
    """The orders that may or may not exist at the venue (sending, unknown), oldest first."""
    return await _open(engine, UNPROVEN, market, symbol)


async def resting(engine: AsyncEngine, market: str, symbol: str | None = None) -> list[JournalOrder]:
    """The orders that may still trade (accepted, partly filled), oldest first."""
    return await _open(engine, RESTING, market, symbol)


async def missed(engine: AsyncEngine, order: JournalOrder, trace_id: str | None = None) -> Missed:
    """Write down that a look at the venue found no such order, and return all such looks at it until now.

    Only of an `unknown` order: PostgreSQL refuses the event otherwise (`IntegrityError`).
    """
    unknown, event = OrderState.UNKNOWN, order_events.c
    of_order = event.order_id == order.id
    async with engine.begin() as connection:
        await tell(connection, order.id, unknown, unknown, trace_id, {"look": "absent"})
        looks = select(func.count()).where(of_order, event.payload["look"].astext == "absent")
        since = select(func.min(event.at)).where(of_order, event.to_state == OrderState.SENDING.value)
        seconds = select(func.extract("epoch", func.clock_timestamp() - since.scalar_subquery()))
        return Missed(await connection.scalar(looks) or 0, float(await connection.scalar(seconds) or 0))


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


def _columns(intent: OrderIntent, origin: Origin) -> dict[str, object]:
    return {
        "client_order_id": intent.client_order_id,
        "analysis_id": origin.analysis_id,
        "run_id": origin.run_id,
        "exit_id": origin.exit_id,
        "adopted": origin.adopted,
        "market": intent.market,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "quantity": intent.quantity,
        "price": intent.price,
        "currency": intent.currency,
        "time_in_force": intent.time_in_force.value,
        "state": OrderState.PLANNED.value,
    }


async def _open(
    engine: AsyncEngine, states: Iterable[OrderState], market: str, symbol: str | None
) -> list[JournalOrder]:
    wanted: list[ColumnElement[bool]] = [
        orders.c.market == market,
        orders.c.state.in_([state.value for state in states]),
    ]
    if symbol is not None:
        wanted.append(orders.c.symbol == symbol)
    return await _find(engine, *wanted)


async def _find(engine: AsyncEngine, *wanted: ColumnElement[bool]) -> list[JournalOrder]:
    async with engine.connect() as connection:
        return await read(connection, *wanted)
