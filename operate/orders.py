"""The orders."""

from __future__ import annotations

from operate.connections import database
from operate.texts import in_brackets, money, when
from operate.view_words import view_words
from settings import Settings
from storage import recent


async def show_orders(settings: Settings, limit: int) -> str:
    """The orders changed last, one line each."""
    told = view_words(settings.notify_language)
    async with database(settings) as engine:
        rows = await recent.recent_orders(engine, limit)
    lines = [
        told.order.format(
            at=when(row.updated_at),
            market=row.market,
            symbol=row.symbol,
            side=told.sides[row.side],
            filled=row.filled_quantity,
            quantity=row.quantity,
            price=money(row.price),
            currency=row.currency,
            state=told.order_states[row.state],
            reason=in_brackets(row.reason),
        )
        for row in rows
    ]
    return "\n".join(lines) or told.no_orders
