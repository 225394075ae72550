"""The connection pool of a process, and whether the database behind it can be used at all."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import StorageError
from storage.migrate import current
from storage.tables import SCHEMA_REVISION

__all__ = ["StorageError", "check_ready", "open_engine"]

CONNECT_TIMEOUT_SECONDS = 5
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

# SQLSTATE -> what is wrong and what to do; https://www.postgresql.org/docs/current/errcodes-appendix.html
_CURES = {
    "3D000": "there is no such database; create it, or correct DATABASE_URL",
    "28000": "the role does not exist or may not log in; create it, or correct DATABASE_URL",
    "28P01": "the password was refused; correct DATABASE_URL",
    "42501": "the role lacks rights on this database; grant them",
    "53300": "it has no connection left; raise max_connections or run fewer workers",
    "57P03": "it is starting up or shutting down; try again in a moment",
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
        raise StorageError(f"{where}: {_cure(error)}") from None
    if revision is None:
        raise StorageError(f"{where} was never migrated; run: autotrader migrate")
    if revision < SCHEMA_REVISION:
        raise StorageError(
            f"{where} is at migration {revision}, this version needs {SCHEMA_REVISION}; run: autotrader migrate"
        )
    if revision > SCHEMA_REVISION:
        raise StorageError(
            f"{where} is at migration {revision}, newer than the {SCHEMA_REVISION} of this version; "
            "deploy the version that migrated it"
        )


def describe(url: URL) -> str:
    """Host, port, database and role of a URL in words, without the password."""
    query_host = url.query.get("host", "")
    host = url.host or (query_host if isinstance(query_host, str) else query_host[0]) or "localhost"
    return f'PostgreSQL at {host}:{url.port or 5432}, database "{url.database}", role "{url.username}"'


def _cure(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        sqlstate = getattr(cause, "sqlstate", None)
        if sqlstate in _CURES:
            return _CURES[sqlstate]
        if isinstance(cause, TimeoutError):
            return f"no answer within {CONNECT_TIMEOUT_SECONDS} s; check host, port and firewall"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused; start PostgreSQL, or correct DATABASE_URL"
        if isinstance(cause, OSError):
            return f"cannot be reached ({cause.strerror or type(cause).__name__}); correct the host in DATABASE_URL"
        cause = cause.__cause__ or cause.__context__
    name = type(getattr(error, "orig", None) or error).__name__
    return f"cannot be used ({name}); look at the server's log"
