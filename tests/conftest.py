"""The servers of a test session: real, started when first asked for, gone with the session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.local import LocalPostgres, LocalRedis
from storage.migrate import upgrade

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run side by side the long ones start first, so that none is waited for at the end."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        longest_first = ("acceptance", "integration", "unit")
        items.sort(key=lambda item: longest_first.index(item.path.relative_to(_HERE).parts[0]))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    """One Redis for the whole session; a test that minds what is in it empties it first."""
    with LocalRedis(environment="TEST_REDIS_URL") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[LocalPostgres]:
    """One PostgreSQL for the whole session."""
    with LocalPostgres(environment="TEST_DATABASE_URL") as server:
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
