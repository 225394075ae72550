"""What the order journal knows, as `workers.kis.matching` needs it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import order_events, orders
from trading.types import OrderIntent, OrderState, Side
from workers.kis.matching import Known, Sent

MARKET = "kis"


def journal_known(engine: AsyncEngine) -> Known:
    """A lookup in the journal of that database; `sent_at` is when the order became `sending`."""

    async def known(client_order_id: str) -> Sent | None:
        order, event = orders.c, order_events.c
        sending = (
            select(orders, event.at.label("sent_at"))
            .join(order_events, event.order_id == order.id)
            .where(order.client_order_id == client_order_id, event.to_state == OrderState.SENDING.value)
            .order_by(event.seq)
        )
        async with engine.connect() as connection:
            row = (await connection.execute(sending)).first()
            if row is None:
                return None
            others = select(order.venue_order_id).where(
                order.market == MARKET, order.id != row.id, order.venue_order_id.is_not(None)
            )
            owned = frozenset((await connection.scalars(others)).all())
        intent = OrderIntent(
            client_order_id, row.market, row.symbol, Side(row.side), row.quantity, row.price, row.currency
        )
        return Sent(intent, row.sent_at, row.venue_order_id, owned)

    return known
