"""What the order journal knows of US orders, as `workers.kis.overseas_matching` needs it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import fills, order_events, orders
from trading.types import Fill, OrderIntent, OrderState, Side, TimeInForce
from workers.kis.overseas_matching import KnownUs, SentUs

MARKET = "yfinance"


def journal_known_us(engine: AsyncEngine) -> KnownUs:
    """A lookup in the journal of that database. `sent_at` is when the order became `sending`; of an order that was
    found at the venue, which nobody here sent, it is when it was written down."""

    async def known(client_order_id: str) -> SentUs | None:
        order, event, fill = orders.c, order_events.c, fills.c
        sent_at = select(func.min(event.at)).where(
            event.order_id == order.id, event.to_state == OrderState.SENDING.value
        )
        wanted = select(orders, sent_at.scalar_subquery().label("sent_at")).where(
            order.market == MARKET, order.client_order_id == client_order_id
        )
        async with engine.connect() as connection:
            row = (await connection.execute(wanted)).one_or_none()
            if row is None or (row.sent_at is None and row.venue_order_id is None):
                return None
            others = select(order.venue_order_id).where(
                order.market == MARKET, order.id != row.id, order.venue_order_id.is_not(None)
            )
            owned = frozenset((await connection.scalars(others)).all())
            of_this = select(fills).where(fill.order_id == row.id).order_by(fill.at, fill.trade_id)
            traded = tuple(
                Fill(known.trade_id, known.quantity, known.price, known.fee, known.at)
                for known in await connection.execute(of_this)
            )
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
        return SentUs(intent, row.sent_at or row.created_at, row.venue_order_id, owned, traded)

    return known
