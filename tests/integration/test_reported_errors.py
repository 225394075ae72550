"""What a worker reports is recorded: each order by itself, and whatever else could not be written down."""

from __future__ import annotations

import asyncio
import uuid
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from notifications.ledger import Ledger
from notifications.reporter import ErrorReporter
from sandbox.local import LocalRedis
from settings import Settings
from tasks import worker
from tasks.reporting import report_failure
from workers.errors import Unproven

pytestmark = pytest.mark.usefixtures("own_spool")


@pytest.fixture
def reporter(redis: Redis, redis_server: LocalRedis) -> ErrorReporter:
    return ErrorReporter(Settings(_env_file=None, redis_url=redis_server.url, telegram_enabled=True))


async def test_of_two_orders_that_vanish_each_is_told(reporter: ErrorReporter, redis: Redis) -> None:
    task = SimpleNamespace(name="tasks.orders.resolve", request=SimpleNamespace(id="t", delivery_info=None))
    vanished = [
        Unproven(f"upbit KRW-BTC: the venue does not show order {number}, which it had accepted", about=f"order-{n}")
        for n, number in enumerate((1_001, 1_002))
    ]
    for error in (*vanished, *vanished):
        await asyncio.to_thread(report_failure, reporter, "worker", sender=task, exception=error, args=("upbit",))
    assert await Ledger(redis).depth() == 2


async def test_an_analysis_that_expired_is_told_though_its_end_cannot_be_written(
    reporter: ErrorReporter, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_: object, **__: object) -> None:
        raise TimeoutError("PostgreSQL does not answer")

    monkeypatch.setattr(worker, "_end_symbol", hangs)
    request = SimpleNamespace(args=("upbit", "KRW-BTC", str(uuid.uuid4())), id="t")
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(
            worker._analysis_expired,
            reporter,
            "worker",
            sender=SimpleNamespace(name=worker.ANALYSIS),
            request=request,
            expired=True,
        )
    assert await Ledger(redis).depth() == 1
