"""A fresh, migrated PostgreSQL database for every test that asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from sandbox.local import LocalPostgres
from storage.migrate import upgrade


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
