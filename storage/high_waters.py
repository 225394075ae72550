"""The highest price of a symbol since its position was opened, for trailing stops."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import high_waters


async def raise_to(engine: AsyncEngine, market: str, symbol: str, price: Decimal) -> Decimal:
    """Note a price that was seen and return the mark, which never falls. Prices in the instrument's currency."""
    new = insert(high_waters).values(market=market, symbol=symbol, price=price)
    statement = new.on_conflict_do_update(
        index_elements=[high_waters.c.market, high_waters.c.symbol],
        set_={"price": func.greatest(high_waters.c.price, new.excluded.price)},
    ).returning(high_waters.c.price)
    async with engine.begin() as connection:
        return Decimal((await connection.execute(statement)).scalar_one())


async def forget(engine: AsyncEngine, market: str, symbol: str) -> None:
    """Drop the mark of a position that was sold: the next one starts from its own prices."""
    of_symbol = (high_waters.c.market == market) & (high_waters.c.symbol == symbol)
    async with engine.begin() as connection:
        await connection.execute(delete(high_waters).where(of_symbol))
