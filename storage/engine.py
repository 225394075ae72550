"""The connection pool of a process, and whether the database behind it can be used at all."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import NotReady, StorageError
from storage.faults import CONNECT_TIMEOUT_SECONDS, Fault, describe, fault_of
from storage.migrate import current
from storage.tables import SCHEMA_REVISION

__all__ = ["StorageError", "check_ready", "open_engine"]

STATEMENT_TIMEOUT_SECONDS = 15
# longer than the server's own time-out, so that it only ends waits for a server that went away
COMMAND_TIMEOUT_SECONDS = 20
POOL_WAIT_SECONDS = 10

_SERVER_SETTINGS = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
    # the journal's compare-and-set statements count on seeing what was committed while they waited for a row
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
}


def open_engine(url: str, *, pool_size: int = 5, application_name: str = "autotrader") -> AsyncEngine:
    """A pool of at most `pool_size` connections, opened when first needed.

    Connecting times out after 5 s, a statement after 15 s, waiting for a free connection after 10 s. Errors
    never show bound values. `application_name` is what pg_stat_activity shows. Raises `StorageError` for
    something that is no database URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(
            "DATABASE_URL is not a database URL; write postgresql+asyncpg://user:password@host:5432/database"
        ) from None
    return create_async_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": COMMAND_TIMEOUT_SECONDS,
            "server_settings": {"application_name": application_name, **_SERVER_SETTINGS},
        },
    )


async def check_ready(engine: AsyncEngine) -> None:
    """Raise `StorageError` unless PostgreSQL answers and stands at the migration this version needs."""
    where = describe(engine.url)
    try:
        revision = await current(engine)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise NotReady(where, fault_of(error) or Fault("unusable", {"reason": type(error).__name__})) from None
    if revision is None:
        raise NotReady(where, Fault("unmigrated"))
    if revision != SCHEMA_REVISION:
        name = "behind" if revision < SCHEMA_REVISION else "ahead"
        raise NotReady(where, Fault(name, {"at": revision, "needed": SCHEMA_REVISION}))
