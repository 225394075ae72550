"""Whose journal a database is. Orders of paper and of money, or of two accounts, never stand in one."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.errors import StorageError
from storage.tables import accounts


class WrongAccount(StorageError):
    """The database has the journal of another account of the market."""


async def claim(engine: AsyncEngine, wanted: Mapping[str, str]) -> None:
    """Give the database's journal to these accounts, by market, or find that it is theirs already.

    An account is named so that it can be compared, never by its number or key. Raises `WrongAccount`.
    """
    async with engine.begin() as connection:
        for market, account in sorted(wanted.items()):
            row = {"market": market, "account": account}
            await connection.execute(insert(accounts).values(row).on_conflict_do_nothing())
            known = await connection.scalar(select(accounts.c.account).where(accounts.c.market == market))
            if known != account:
                renewed = "paper" not in (known, account)
                cure = (
                    f"; if only the key was renewed and the account is the same: autotrader same-account {market}"
                    if renewed
                    else ""
                )
                raise WrongAccount(
                    f"the database has the orders of {market}'s account {known}, the settings name {account}: they are "
                    f"never mixed; set DATABASE_URL to a database of its own and run autotrader migrate{cure}"
                )


async def rename(engine: AsyncEngine, market: str, account: str) -> str | None:
    """Give the market's journal to the same account under a new name (a renewed key); returns the old name, None
    where there is no journal yet. Raises `WrongAccount` between paper and money."""
    async with engine.begin() as connection:
        known: str | None = await connection.scalar(select(accounts.c.account).where(accounts.c.market == market))
        if known is None:
            return None
        if "paper" in (known, account) and known != account:
            raise WrongAccount(f"the journal of {market} is of {known}, not of {account}: they are never mixed")
        await connection.execute(update(accounts).where(accounts.c.market == market).values(account=account))
        return known
