"""Redis, the broker if it is another server, and PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

from kombu import Connection
from redis import AuthenticationError, RedisError
from redis import ConnectionError as RedisConnectionError
from redis import TimeoutError as RedisTimeoutError
from redis.asyncio import Redis

from doctor.findings import PATIENCE, Finding, fault, ok
from settings import Settings
from storage.engine import StorageError, check_ready, open_engine
from storage.redis import open_redis
from storage.tables import SCHEMA_REVISION

# of maxmemory; with noeviction a full Redis refuses every write
NEARLY_FULL = 0.8


async def redis(settings: Settings) -> list[Finding]:
    """That Redis answers, throws nothing away, and survives a restart."""
    found = await _one_redis("redis", "REDIS_URL", settings.redis_url)
    broker = settings.celery_broker_url
    if broker.startswith(("redis://", "rediss://")) and broker != settings.redis_url:
        found += await _one_redis("broker", "CELERY_BROKER_URL", broker)
    elif broker and broker != settings.redis_url:
        found.append(await asyncio.to_thread(_broker, broker))
    return found


async def _one_redis(name: str, setting: str, url: str) -> list[Finding]:
    client = open_redis(url)
    try:
        await client.ping()
        return [ok(name, "answers"), *await _policies(name, client)]
    except AuthenticationError:
        return [fault(name, f"refuses the login; correct user and password in {setting}")]
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        return [fault(name, f"{_where(url)} is not reachable ({_reason(error)}); start it, or correct {setting}")]
    except RedisError as error:
        return [fault(name, f"does not say how it is set up ({type(error).__name__}); allow it the command INFO")]
    finally:
        await client.aclose()


def _where(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


def _reason(error: BaseException) -> str:
    """Why there is no connection: what the system said first is at the bottom of the chain."""
    kinds = {ConnectionRefusedError: "connection refused", socket.gaierror: "no such host", TimeoutError: "no answer"}
    cause: BaseException | None = error
    while cause is not None:
        for kind, words in kinds.items():
            if isinstance(cause, kind):
                return words
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


async def _policies(name: str, client: Redis) -> list[Finding]:
    memory, persistence = await client.info("memory"), await client.info("persistence")
    policy, limit, used = memory["maxmemory_policy"], int(memory["maxmemory"]), int(memory["used_memory"])
    found = []
    if policy == "noeviction":
        found.append(ok(f"{name} policy", "noeviction"))
    else:
        found.append(
            fault(
                f"{name} policy",
                f"is {policy}, so tasks and alerts may be thrown away; set: maxmemory-policy noeviction",
            )
        )
    if limit and used > NEARLY_FULL * limit:
        found.append(fault(f"{name} memory", f"{used:,} of {limit:,} bytes are used; raise maxmemory"))
    if not int(persistence["aof_enabled"]):
        found.append(fault(f"{name} AOF", "is off, so a restart loses tasks and alerts; set: appendonly yes"))
    elif persistence.get("aof_last_write_status") != "ok":
        found.append(fault(f"{name} AOF", "the last write failed; look at the disk of the Redis host"))
    else:
        found.append(ok(f"{name} AOF", "on"))
    return found


def _broker(url: str) -> Finding:
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 5672}"
    try:
        with Connection(url, connect_timeout=PATIENCE) as connection:
            connection.ensure_connection(max_retries=0, timeout=PATIENCE)
    except Exception as error:  # noqa: BLE001 - each of kombu's transports has errors of its own
        return fault(
            "broker", f"{where} is not reachable ({type(error).__name__}); start it, or correct CELERY_BROKER_URL"
        )
    return ok("broker", f"{where} answers")


async def database(settings: Settings) -> list[Finding]:
    """That PostgreSQL answers and has this version's tables."""
    try:
        engine = open_engine(settings.database_url, pool_size=1, application_name="autotrader-doctor")
    except StorageError as error:
        return [fault("database", str(error))]
    try:
        await check_ready(engine)
    except StorageError as error:
        return [fault("database", str(error))]
    finally:
        await engine.dispose()
    return [ok("database", f"answers, at migration {SCHEMA_REVISION}")]
