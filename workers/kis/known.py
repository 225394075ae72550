"""What the order journal knows, as `workers.kis.matching` needs it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import fills, order_events, orders
from trading.types import OrderIntent, OrderState, Side, TimeInForce
from workers.kis.matching import Known, Sent


def journal_known(engine: AsyncEngine) -> Known:
    """A lookup in the journal of that database. `sent_at` is when the order became `sending`; of an order that was
    found at the venue, which nobody here sent, it is when it was written down."""

    async def known(client_order_id: str) -> Sent | None:
        order, event = orders.c, order_events.c
        sent_at = select(func.min(event.at)).where(
            event.order_id == order.id, event.to_state == OrderState.SENDING.value
        )
        filled = select(func.coalesce(func.sum(fills.c.quantity), 0)).where(fills.c.order_id == order.id)
        value = select(func.coalesce(func.sum(fills.c.quantity * fills.c.price), 0)).where(fills.c.order_id == order.id)
        wanted = select(
            orders,
            sent_at.scalar_subquery().label("sent_at"),
            filled.scalar_subquery().label("filled"),
            value.scalar_subquery().label("value"),
        ).where(order.client_order_id == client_order_id)
        async with engine.connect() as connection:
            row = (await connection.execute(wanted)).one_or_none()
            if row is None or (row.sent_at is None and row.venue_order_id is None):
                return None
            others = select(order.venue_order_id).where(
                order.market == row.market, order.id != row.id, order.venue_order_id.is_not(None)
            )
            owned = frozenset((await connection.scalars(others)).all())
        intent = OrderIntent(
            client_order_id=client_order_id,
            market=row.market,
            symbol=row.symbol,
            side=Side(row.side),
            quantity=row.quantity,
            price=row.price,
            currency=row.currency,
            time_in_force=TimeInForce(row.time_in_force),
        )
        return Sent(intent, row.sent_at or row.created_at, row.venue_order_id, owned, row.filled, row.value)

    return known
