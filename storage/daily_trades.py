"""The fills of one symbol, for the chart of its analysis."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import fills, orders
from trading.markets import ASSET_TYPES
from trading.pnl import Trade
from trading.types import Fill, Side


async def trades_of(engine: AsyncEngine, market: str, symbol: str) -> list[Trade]:
    """Every fill of a symbol since the beginning, in order of time, as `trading.pnl.book` takes them."""
    statement = (
        select(orders.c.side, orders.c.currency, *(fills.c[n] for n in ("trade_id", "quantity", "price", "fee", "at")))
        .join(orders, orders.c.id == fills.c.order_id)
        .where(orders.c.market == market, orders.c.symbol == symbol)
        .order_by(fills.c.at, fills.c.trade_id)
    )
    kind = ASSET_TYPES.get(market, market)
    async with engine.connect() as connection:
        return [
            Trade(
                market,
                symbol,
                kind,
                row.currency,
                Side(row.side),
                Fill(row.trade_id, row.quantity, row.price, row.fee, row.at),
            )
            for row in await connection.execute(statement)
        ]
