"""Rows of the order journal: an order with its fills as one value, and the event that goes with a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.plain import to_json
from storage.tables import fills, order_events, orders
from trading.types import Fill, OrderIntent, OrderState, Side, TimeInForce


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an order comes from: an analysis of a run, an exit, or the venue, where somebody else had placed it."""

    analysis_id: UUID | None = None
    run_id: UUID | None = None
    exit_id: UUID | None = None
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class JournalOrder:
    """An order as the journal has it, with its fills by time. Quantities are units, prices `intent.currency`."""

    id: UUID
    intent: OrderIntent
    state: OrderState
    origin: Origin
    leg: int
    venue_order_id: str | None
    reason: str | None
    trace_id: str | None
    filled_quantity: Decimal
    created_at: datetime
    updated_at: datetime
    fills: tuple[Fill, ...] = ()

    @property
    def remaining(self) -> Decimal:
        """Units that have not traded."""
        return self.intent.quantity - self.filled_quantity


async def read(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> list[JournalOrder]:
    """The orders that meet every condition on `storage.tables.orders`, oldest first, with their fills."""
    rows = (await connection.execute(select(orders).where(*wanted).order_by(orders.c.created_at, orders.c.id))).all()
    executed: dict[UUID, list[Fill]] = {row.id: [] for row in rows}
    if any(row.filled_quantity for row in rows):
        of_these = select(fills).where(fills.c.order_id.in_(executed)).order_by(fills.c.at, fills.c.trade_id)
        for fill in await connection.execute(of_these):
            executed[fill.order_id].append(Fill(fill.trade_id, fill.quantity, fill.price, fill.fee, fill.at))
    return [_order(row, tuple(executed[row.id])) for row in rows]


def _order(row: Row[tuple[object, ...]], executed: tuple[Fill, ...]) -> JournalOrder:
    intent = OrderIntent(
        client_order_id=row.client_order_id,
        market=row.market,
        symbol=row.symbol,
        side=Side(row.side),
        quantity=row.quantity,
        price=row.price,
        currency=row.currency,
        time_in_force=TimeInForce(row.time_in_force),
    )
    return JournalOrder(
        id=row.id,
        intent=intent,
        state=OrderState(row.state),
        origin=Origin(row.analysis_id, row.run_id, row.exit_id, row.adopted),
        leg=row.leg,
        venue_order_id=row.venue_order_id,
        reason=row.reason,
        trace_id=row.trace_id,
        filled_quantity=row.filled_quantity,
        created_at=row.created_at,
        updated_at=row.updated_at,
        fills=executed,
    )


async def tell(
    connection: AsyncConnection,
    order_id: UUID,
    old: OrderState | None,
    new: OrderState,
    trace_id: str | None,
    payload: Mapping[str, object] | None = None,
) -> None:
    """Append the event of a state change (or, with both states equal, of new fills) to the order's history."""
    await connection.execute(
        insert(order_events).values(
            order_id=order_id,
            from_state=None if old is None else old.value,
            to_state=new.value,
            payload=to_json(payload or {}),
            trace_id=trace_id,
        )
    )
