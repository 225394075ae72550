"""Worlds beside the real one: a PostgreSQL schema with all the tables, triggers and guards, and nothing in it.

Every name that a statement leaves open is looked up in that schema alone, never in the one of the real rows: what is
missing there is an error, not somebody's money.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.engine import COMMAND_TIMEOUT_SECONDS, POOL_WAIT_SECONDS, STATEMENT_TIMEOUT_SECONDS
from storage.errors import StorageError
from storage.faults import CONNECT_TIMEOUT_SECONDS, cure, describe
from storage.migrate import script

# never one of the real rows: `public` does not begin with it
PREFIX = "replay_"
NAME = re.compile(rf"{PREFIX}[a-z0-9_]{{1,55}}")
# building 22 tables on a Raspberry Pi that does other things too
BUILDING_SECONDS = 60.0
# the comment on a schema that somebody wants to keep
KEPT = "kept"


class Beside(AsyncEngine):
    """An engine that reads without a transaction around each statement: a replay reads a hundred times a day that it
    goes through, alone in its schema, and two of three messages to the server would be for nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine.sync_engine)
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writing = engine

    def connect(self) -> AsyncConnection:
        return self._reading.connect()

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection, None]:
        async with self._writing.begin() as connection:
            yield connection


def open_schema(
    url: str, schema: str, *, pool_size: int = 2, application_name: str = "autotrader-replay"
) -> AsyncEngine:
    """A small pool whose connections see nothing but `schema`. What it commits may be lost if the server crashes.

    Raises `ValueError` for a name that is none of a world beside.
    """
    _check(schema)
    engine = create_async_engine(
        make_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": COMMAND_TIMEOUT_SECONDS,
            "server_settings": {
                "application_name": application_name,
                "search_path": schema,
                "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
                "idle_in_transaction_session_timeout": "60s",
                "default_transaction_isolation": "read committed",
                "timezone": "UTC",
                # a world that can be made anew does not wait for the disk
                "synchronous_commit": "off",
            },
        },
    )
    _refuse_another_path(engine, schema)
    return Beside(engine)


def _refuse_another_path(engine: AsyncEngine, schema: str) -> None:
    """Look at every new connection: a pooler in between may leave out what it was to begin with, and the names would
    then be looked up among the real rows."""

    @event.listens_for(engine.sync_engine, "connect")
    def look(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SHOW search_path")
        path = cursor.fetchone()[0]
        cursor.close()
        connection.rollback()
        if path != schema:
            connection.close()
            raise StorageError(
                f"{describe(engine.url)}: a connection for {schema} has the search_path {path}: a pooler in between "
                "does not pass it on; set DATABASE_URL to PostgreSQL itself"
            )


async def create(engine: AsyncEngine, schema: str) -> None:
    """Build the schema by the migrations, empty, whatever stood there before. `engine` is of `open_schema`.

    Raises `StorageError` where the role may not.
    """
    _check(schema)
    tables = await asyncio.to_thread(script)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL statement_timeout = '{BUILDING_SECONDS:g}s'"))
            await connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
            await connection.execute(text(f"CREATE SCHEMA {schema}"))
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert driver is not None
            # many statements in one message, which SQLAlchemy does not do
            await driver.execute(tables, timeout=BUILDING_SECONDS)
    except SQLAlchemyError as error:
        if known := cure(error):
            raise StorageError(f"{describe(engine.url)}: {known} (a replay needs CREATE on the database)") from None
        raise


async def keep(engine: AsyncEngine, schema: str) -> None:
    """Say of a schema that it is not `left`, however long ago it was made."""
    _check(schema)
    async with engine.begin() as connection:
        await connection.execute(text(f"COMMENT ON SCHEMA {schema} IS '{KEPT}'"))


async def left(engine: AsyncEngine) -> list[str]:
    """The schemas beside the real one that are there, are this role's own, and are not kept."""
    statement = text(
        "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, :prefix) AND pg_has_role(nspowner, 'USAGE') "
        "AND obj_description(oid, 'pg_namespace') IS DISTINCT FROM :kept ORDER BY 1"
    )
    async with engine.connect() as connection:
        found = await connection.scalars(statement, {"prefix": PREFIX, "kept": KEPT})
        return [name for name in found if NAME.fullmatch(name)]


async def drop(engine: AsyncEngine, schema: str) -> None:
    """Remove the schema with all that is in it, if there is one."""
    _check(schema)
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))


def _check(schema: str) -> None:
    if not NAME.fullmatch(schema):
        raise ValueError(f"{schema!r} is no name of a schema beside the real one")
