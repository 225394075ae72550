"""One connection for one call, straight over asyncpg.

Without SQLAlchemy: the notifier is the smallest process of the system, needs the database for little, and would carry
20 MB more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

CONNECT_TIMEOUT_SECONDS = 5.0
STATEMENT_TIMEOUT_SECONDS = 15.0


class DatabaseUnavailable(Exception):
    """The database does not answer or lacks the table; the message says what it says, without address or password."""


class NotMigrated(DatabaseUnavailable):
    """It lacks the table."""


@asynccontextmanager
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is closed afterwards. Raises `DatabaseUnavailable`, also for what fails within."""
    # SQLAlchemy's spelling of a URL, and libpq's
    dsn = database_url.replace("postgresql+asyncpg://", "postgresql://", 1).replace("?ssl=", "?sslmode=")
    try:
        opened = await asyncpg.connect(
            dsn.replace("&ssl=", "&sslmode="),
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=STATEMENT_TIMEOUT_SECONDS,
            server_settings={"application_name": "autotrader-notifier"},
        )
        try:
            yield opened
        finally:
            await opened.close(timeout=CONNECT_TIMEOUT_SECONDS)
    except asyncpg.UndefinedTableError:
        raise NotMigrated("the database was not migrated; run: autotrader migrate") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise DatabaseUnavailable(type(error).__name__) from None
