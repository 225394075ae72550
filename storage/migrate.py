"""Bring a database to the schema of this version. Alembic is imported only where it is used: no worker needs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from storage.errors import StorageError
from storage.faults import CONNECT_TIMEOUT_SECONDS, Fault, cure, describe

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

_writing = Lock()


async def upgrade(url: str, revision: str = "head") -> None:
    """Run the missing migrations up to `revision`, in one transaction.

    Processes may do so at once: one works, the others wait and find nothing to do. Within one process it is
    one at a time, since Alembic keeps its state in module globals. Raises `StorageError` if the database
    cannot be reached, or was migrated by a newer version.
    """
    from alembic import command
    from alembic.util import CommandError

    try:
        await _run(url, lambda config: command.upgrade(config, revision))
    except CommandError as error:
        if "Can't locate revision" not in str(error):
            raise
        known = Fault("ahead", {"at": str(error).rpartition(" ")[2].strip("'"), "needed": head()})
        raise StorageError(f"{describe(make_url(url))}: {known}") from None


async def downgrade(url: str, revision: str) -> None:
    """Undo migrations down to `revision` ("base" for all of them). Data in dropped tables is lost."""
    from alembic import command

    await _run(url, lambda config: command.downgrade(config, revision))


def head() -> str:
    """The revision this version of the program needs, as the migration scripts say."""
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory.from_config(config()).get_current_head()
    if revision is None:
        raise RuntimeError(f"no migrations in {MIGRATIONS}")
    return revision


def script() -> str:
    """All migrations as one text of SQL, for a schema with nothing in it. Takes a second the first time: call it in a
    thread where others wait."""
    # two that write it at once would share Alembic's globals
    with _writing:
        return _script()


@lru_cache(maxsize=1)
def _script() -> str:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts, written = ScriptDirectory.from_config(config()), StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        # any other style would double each percent sign of a text
        dialect_opts={"paramstyle": "named"},
        opts={
            "as_sql": True,
            "output_buffer": written,
            "fn": lambda revision, _: scripts._upgrade_revs("head", revision),
        },
    )
    with Operations.context(context):
        context.run_migrations()
    return written.getvalue()


async def current(engine: AsyncEngine) -> str | None:
    """The revision the database stands at, or None if it was never migrated."""
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def config(url: str = "") -> Config:
    """Alembic's configuration without an ini file: the scripts travel with the package."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


async def _run(url: str, command: Callable[[Config], None]) -> None:
    made = config()

    def on_connection(connection: Connection) -> None:
        made.attributes["connection"] = connection
        command(made)

    engine = create_async_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": CONNECT_TIMEOUT_SECONDS}
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(on_connection)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if known := cure(error):
            raise StorageError(f"{describe(engine.url)}: {known}") from None
        raise
    finally:
        await engine.dispose()
