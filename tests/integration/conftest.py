"""Real, migrated PostgreSQL databases for the tests that ask for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from sandbox.local import LocalPostgres
from storage.migrate import upgrade
from storage.tables import metadata


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[LocalPostgres]:
    """One PostgreSQL for the whole session."""
    with LocalPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: LocalPostgres) -> str:
    """The name of a migrated database that is only copied."""
    name = "migrated"
    url = postgres_server.create_database(name)
    # in a thread: the caller's thread may have a loop of its own
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, upgrade(url)).result()
    return name


@pytest.fixture
def database_url(postgres_server: LocalPostgres, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of this test alone; it is dropped with its connections afterwards."""
    name = f"test_{uuid4().hex}"
    yield postgres_server.create_database(name, migrated_template)
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def module_database_url(postgres_server: LocalPostgres, migrated_template: str) -> Iterator[str]:
    """A migrated database the tests of one module share."""
    name = f"module_{uuid4().hex}"
    yield postgres_server.create_database(name, migrated_template)
    postgres_server.drop_database(name)


@pytest.fixture
async def emptied_database_url(module_database_url: str) -> str:
    """The module's database with no row in it: as good as a fresh one, and a hundred times faster, for tests
    that leave schema and connections as they were."""
    url = make_url(module_database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    # without triggers: the journals are append-only, and the order of deletion would matter
    deletions = "".join(f"DELETE FROM {table.name};" for table in metadata.sorted_tables)
    await connection.execute(f"SET session_replication_role = replica; {deletions}")
    await connection.close()
    return module_database_url
