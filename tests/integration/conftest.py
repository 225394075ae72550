"""Real servers for the tests that ask for one: migrated databases, an empty Redis, the stand-ins of the venues."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from commanding import Room
from commanding import made_settings as room_settings
from house import STRATEGY, House, Venue, settings
from notifying import TOKEN
from redis.asyncio import Redis
from sqlalchemy import make_url

from sandbox.local import LocalPostgres, LocalRedis
from sandbox.server import Sandbox
from storage.engine import open_engine
from storage.redis import open_redis
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


@pytest.fixture
async def house(emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path) -> AsyncIterator[House]:
    """The tasks' surroundings with a venue in memory; its database and its Redis are empty."""
    engine, redis = open_engine(emptied_database_url), open_redis(redis_server.url)
    await redis.flushdb()
    yield House(engine, redis, Venue(), settings(tmp_path, STRATEGY))
    await redis.aclose()
    await engine.dispose()


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    """A client of the session's Redis, which is empty."""
    client = Redis.from_url(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """The stand-ins, whose Telegram knows the one token."""
    stand_in = Sandbox(telegram_token=TOKEN)
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest.fixture
def own_spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A spool of each test's own, for this process and those it starts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "autotrader" / "spool"


@pytest.fixture
async def room(
    emptied_database_url: str,
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    own_spool: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Room:
    """Chats with people in them who command the bot, and no pace to keep."""
    monkeypatch.setattr("bot.line.Pace", lambda: type("Fast", (), {"per_chat": 1000.0, "burst": 1000})())
    return Room(sandbox, room_settings(emptied_database_url, redis_server.url, sandbox))
