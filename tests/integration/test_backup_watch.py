"""Whoever has no recent backup is told: by a metric, once a day by a message, by `status` and by the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from commanding import made_settings
from redis.asyncio import Redis
from sqlalchemy import make_url

from doctor.backups import backups
from notifications.backups import BackupWatch
from notifications.ledger import Ledger
from notifications.words import EN, KO
from operate import show_status
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from telemetry.instruments import backup_age

NOW = datetime.now(UTC)


async def execute(url: str, sql: str, *values: object) -> None:
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        await connection.execute(sql, *values)
    finally:
        await connection.close()


async def first_run(url: str, age: timedelta) -> None:
    sql = "INSERT INTO runs (market, slot, status, opened_at) VALUES ('upbit', $1, 'opened', $1)"
    await execute(url, sql, NOW - age)


async def backed_up(url: str, copy: str, age: timedelta) -> None:
    await execute(url, "INSERT INTO backups VALUES ($1, $2, 'a.dump', 1)", copy, NOW - age)


async def told(redis: Redis) -> Sequence[str]:
    """What waits in the ledger."""
    return [(await redis.hget(key, "p") or b"").decode() async for key in redis.scan_iter("*rec:*")]


def watch(redis: Redis, url: str, *, away: bool = True) -> BackupWatch:
    return BackupWatch(Ledger(redis), url, KO, away=away)


def age_of(copy: str) -> float:
    [value] = [
        observed.value
        for observed in backup_age._observations(None)  # type: ignore[arg-type]
        if observed.attributes == {"copy": copy}
    ]
    return float(value)


async def test_a_system_without_a_backup_is_told_once_a_day(redis: Redis, emptied_database_url: str) -> None:
    await first_run(emptied_database_url, timedelta(hours=27))
    for _ in range(3):
        # each time a notifier that has just started
        await watch(redis, emptied_database_url, away=False).look(NOW)
    [message] = await told(redis)
    assert "백업이 오래되었습니다" in message
    assert "마지막 백업: 없음" in message
    assert 27 * 3600 <= age_of("local") < 28 * 3600


async def test_who_only_tries_it_out_is_told_nothing(redis: Redis, emptied_database_url: str) -> None:
    backup_age.forget()
    await watch(redis, emptied_database_url).look(NOW)
    assert age_of("local") == 0
    await first_run(emptied_database_url, timedelta(hours=20))
    await watch(redis, emptied_database_url).look(NOW)
    assert await told(redis) == []


async def test_the_copy_off_the_device_has_an_age_of_its_own(redis: Redis, emptied_database_url: str) -> None:
    await backed_up(emptied_database_url, "local", timedelta(hours=1))
    await backed_up(emptied_database_url, "away", timedelta(days=3))
    await watch(redis, emptied_database_url).look(NOW)
    [message] = await told(redis)
    assert "기기 밖 백업 사본이 오래되었습니다" in message
    assert age_of("local") < 2 * 3600 < 71 * 3600 < age_of("away")


async def test_an_age_grows_on_while_the_database_is_away(redis: Redis, emptied_database_url: str) -> None:
    await backed_up(emptied_database_url, "local", timedelta(hours=25))
    looked = watch(redis, emptied_database_url, away=False)
    await looked.look(NOW)
    assert await told(redis) == []
    looked._database_url = make_url(emptied_database_url).set(port=1).render_as_string(hide_password=False)
    await looked.look(NOW + timedelta(hours=2))
    assert len(await told(redis)) == 1


@pytest.mark.parametrize("words", [KO, EN])
def test_both_languages_have_both_copies(words: object) -> None:
    life = words.life  # type: ignore[attr-defined]
    assert set(life.backup_old) == set(life.backup_cure) == {"local", "away"}


@pytest.fixture
async def configured(emptied_database_url: str, redis_server: LocalRedis, sandbox: Sandbox) -> Settings:
    return made_settings(emptied_database_url, redis_server.url, sandbox).model_copy(update={"notify_language": "en"})


async def test_the_doctor_tells_an_old_backup_from_none_yet(configured: Settings) -> None:
    lines = [str(finding) for finding in await backups(configured)]
    assert lines[0].startswith("skipped backup: none yet; run make backup")
    assert lines[1].startswith("skipped backup off this device: RESTIC_REPOSITORY is empty")
    await first_run(configured.database_url, timedelta(days=2))
    [line, _] = [str(finding) for finding in await backups(configured)]
    assert line.startswith("FAULT   backup: none was ever made, in 48 h of trading; run make backup")
    await backed_up(configured.database_url, "local", timedelta(hours=3))
    [line, _] = [str(finding) for finding in await backups(configured)]
    assert line == "ok      backup: 3 h old"


async def test_status_shows_the_age_of_the_last_backup(configured: Settings) -> None:
    assert "backup: never" in (await show_status(configured)).splitlines()
    await backed_up(configured.database_url, "local", timedelta(hours=5))
    assert "backup: 5 h ago" in (await show_status(configured)).splitlines()
