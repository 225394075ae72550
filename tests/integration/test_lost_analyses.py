"""An analysis whose message is gone is published again while it is of use, and ended with an error afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from house import House
from kombu import Connection
from kombu.exceptions import OperationalError
from sqlalchemy import text

from sandbox.local import LocalRedis
from storage import runs
from tasks import lost
from tasks.analysis import ANALYSIS_EXPIRES_SECONDS
from tasks.lost import GRACE_SECONDS, Lost, waiting

SLOT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
PUBLISHED = "published_again"
BTC, ETH = "KRW-BTC", "KRW-ETH"


class Queue:
    """What was published again; the queue itself is a real one of the session's Redis."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, uuid.UUID]] = []

    async def publish(self, market: str, symbol: str, run_id: uuid.UUID) -> None:
        self.published.append((market, symbol, run_id))

    @property
    def symbols(self) -> list[str]:
        return [symbol for _, symbol, _ in self.published]


@pytest.fixture
def queue(house: House, redis_server: LocalRedis, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """The task's surroundings: this house, and the broker in the session's Redis."""
    queue = Queue()
    monkeypatch.setattr(lost, "current_runtime", lambda: house)
    monkeypatch.setattr(lost, "publish", queue.publish)
    monkeypatch.setenv("CELERY_BROKER_URL", redis_server.url)
    return queue


def patience(house: House) -> int:
    return house.settings.visibility_timeout_seconds + GRACE_SECONDS


async def opened(house: House, age: float, *symbols: str, market: str = "upbit", hours: int = 0) -> uuid.UUID:
    """A run that was opened so many seconds ago, all of its symbols pending."""
    slot = SLOT + timedelta(hours=hours)
    run = await runs.open_run(house.engine, market=market, slot=slot, task_id="t", symbols=symbols or (BTC,))
    async with house.engine.begin() as connection:
        # no trigger lets the time of a run be changed
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        aged = text("UPDATE runs SET opened_at = now() - make_interval(secs => :age) WHERE id = :id")
        await connection.execute(aged, {"age": age, "id": run.id})
    return run.id


async def find(market: str = "upbit") -> int:
    result = cast(dict[str, Any], await lost.find.run(market))
    assert result["market"] == market
    return int(result[PUBLISHED])


async def outcome(house: House, run_id: uuid.UUID, symbol: str) -> tuple[str, str | None]:
    statement = text("SELECT state, error FROM run_symbols WHERE run_id = :run AND symbol = :symbol")
    async with house.engine.connect() as connection:
        row = (await connection.execute(statement, {"run": run_id, "symbol": symbol})).one()
    return row.state, row.error


def put(url: str, market: str) -> None:
    """A message in the market's queue."""
    with Connection(url) as connection, connection.SimpleQueue(market) as messages:
        messages.put({"late": True})


async def test_an_analysis_whose_message_is_gone_is_published_again_once(house: House, queue: Queue) -> None:
    run = await opened(house, patience(house) + 1, BTC, ETH)
    assert await find() == 2
    assert queue.published == [("upbit", BTC, run), ("upbit", ETH, run)]
    # the message that was published now is given its time
    assert await find() == 0
    assert len(queue.published) == 2
    assert await outcome(house, run, BTC) == ("pending", None)


async def test_it_is_published_again_when_that_message_is_lost_too(house: House, queue: Queue) -> None:
    run = await opened(house, patience(house) + 1)
    assert await find() == 1
    key = lost.key_of(runs.Pending(run, BTC, 0.0))
    assert 0 < await house.redis.ttl(key) <= patience(house)
    await house.redis.delete(key)
    assert await find() == 1


async def test_one_that_may_still_be_under_way_is_left_alone(house: House, queue: Queue) -> None:
    await opened(house, patience(house) - 10)
    assert await find() == 0
    assert queue.published == []


async def test_what_waits_in_the_queue_is_late_and_not_lost(
    house: House, queue: Queue, redis_server: LocalRedis
) -> None:
    await opened(house, patience(house) + 1)
    await opened(house, ANALYSIS_EXPIRES_SECONDS + patience(house) + 1, hours=1)
    await asyncio.to_thread(put, redis_server.url, "upbit")
    assert await asyncio.to_thread(waiting, "upbit") == 1
    assert await find() == 0
    assert queue.published == []


async def test_messages_of_another_market_are_no_reason_to_wait(
    house: House, queue: Queue, redis_server: LocalRedis
) -> None:
    await opened(house, patience(house) + 1)
    await asyncio.to_thread(put, redis_server.url, "kis")
    assert await asyncio.to_thread(waiting, "upbit") == 0
    assert await find() == 1
    assert await find("kis") == 0


async def test_one_that_has_ended_is_not_begun_again(house: House, queue: Queue) -> None:
    run = await opened(house, patience(house) + 1, BTC, ETH)
    await runs.finish_symbol(house.engine, run, BTC, "hold")
    assert await find() == 1
    assert queue.symbols == [ETH]


async def test_one_that_is_too_old_is_ended_with_an_error_and_said_so(house: House, queue: Queue) -> None:
    old = await opened(house, ANALYSIS_EXPIRES_SECONDS + patience(house) + 1)
    young = await opened(house, patience(house) + 1, ETH, hours=1)
    with pytest.raises(Lost, match=r"upbit: KRW-BTC came to no end; is a worker of upbit up\?"):
        await find()
    state, error = await outcome(house, old, BTC)
    assert (state, error) == ("failed", "Lost: its message is gone")
    # nobody can finish it now but it is over, and the younger one is not held up by it
    assert queue.published == [("upbit", ETH, young)]
    async with house.engine.connect() as connection:
        assert await connection.scalar(text("SELECT status FROM runs WHERE id = :id"), {"id": old}) == "finished"
    # said once
    assert await find() == 0


async def test_a_broker_that_is_away_loses_nothing(
    house: House, queue: Queue, monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
) -> None:
    run = await opened(house, ANALYSIS_EXPIRES_SECONDS + patience(house) + 1)
    monkeypatch.setenv("CELERY_BROKER_URL", f"redis://127.0.0.1:{unused_tcp_port_factory()}/0")
    with pytest.raises(OperationalError):
        await find()
    assert queue.published == []
    assert await outcome(house, run, BTC) == ("pending", None)


async def test_a_market_nobody_knows_is_refused(house: House, queue: Queue) -> None:
    with pytest.raises(ValueError, match="nasdaq"):
        await find("nasdaq")
