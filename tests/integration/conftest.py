"""Real, migrated PostgreSQL databases for the tests that ask for one."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from sandbox.local import LocalPostgres
from storage.tables import metadata


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
