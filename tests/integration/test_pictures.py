"""Pictures of messages: kept for the notifier, few and small, and never worth a task that fails."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from house import BUY, INSTRUMENT, NOW, House, Venue
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from charts import price
from notifications import pictures
from notifications.alert import Claim, read_payload
from notifications.ledger import Ledger
from notifications.message import Chat, Message
from sandbox.local import LocalRedis
from storage import runs
from storage.redis import open_redis
from tasks import pictures as drawn
from tasks import pipeline
from tasks.analysts import Judged
from tasks.pipeline import analyse_and_trade
from tasks.trade import Analysed
from trading.types import Candle, Decision
from workers.runtime import Runtime

PNG = b"\x89PNG\r\n\x1a\n"
DAY = timedelta(days=1)


def candles(count: int, every: timedelta = DAY) -> list[Candle]:
    """Up to today, around what the venue's quote says."""
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - (count - 1) * every
    closes = [Decimal(100_000 + (number % 7) * 300) for number in range(count)]
    return [
        Candle(first + n * every, close - 200, close + 500, close - 500, close, Decimal(10 + n))
        for n, close in enumerate(closes)
    ]


@dataclass
class Feed(Venue):
    """The venue in memory with candles."""

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        return candles(count)

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        return candles(count, timedelta(minutes=unit))


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Callable[[Decision], None]:
    """What the analyst of this house says."""

    def says(decision: Decision) -> None:
        async def judge(*given: Any) -> Judged:
            return Judged(replace(BUY, decision=decision, at=datetime.now(UTC)), given[-1].quote)

        monkeypatch.setattr(pipeline, "judge", judge)

    return says


class Counted:
    """The pictures that were counted, by chart and result."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reader = InMemoryMetricReader()
        meter = MeterProvider([self._reader]).get_meter("test")
        monkeypatch.setattr(drawn.instruments, "charts", meter.create_counter("charts"))

    @property
    def values(self) -> dict[tuple[str, str], int]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        points: list[Any] = list(metric.data.data_points)
        return {(point.attributes["chart"], point.attributes["result"]): point.value for point in points}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def analysed(house: House) -> Message:
    """The message of an analysis of a run of its own."""
    house.venue = Feed()
    run = await runs.open_run(house.engine, market="upbit", slot=NOW, task_id="t", symbols=("KRW-BTC",))
    await analyse_and_trade(cast(Runtime, house), "upbit", "KRW-BTC", run.id)
    ledger = Ledger(house.redis)
    while isinstance(claim := await ledger.claim(list(Chat)), Claim):
        if claim.fingerprint.startswith("analysis:"):
            return read_payload(claim.payload).message
    raise AssertionError("the analysis was not told")


async def test_a_picture_is_loaded_as_it_was_kept_and_is_gone_after_a_day(house: House) -> None:
    png = PNG + bytes(range(256)) * 100
    name = await pictures.keep(house.redis, png)
    assert await pictures.load(house.redis, name) == png
    assert 86_000 < await house.redis.ttl(pictures.PREFIX + name) <= 86_400
    # the same picture once, as of a task that is delivered again
    assert await pictures.keep(house.redis, png) == name
    await house.redis.delete(pictures.PREFIX + name)
    assert await pictures.load(house.redis, name) is None
    assert await pictures.load(house.redis, "") is None


async def test_the_oldest_pictures_make_way_so_that_redis_does_not_fill(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "KEPT", 3)
    names = [await pictures.keep(house.redis, PNG + bytes([number])) for number in range(5)]
    assert [await pictures.load(house.redis, name) is not None for name in names] == [False, False, True, True, True]
    assert len(await house.redis.keys(pictures.PREFIX + "*")) == 3


@pytest.mark.parametrize("png", [b"", b"<svg/>", PNG + bytes(pictures.LARGEST_BYTES)])
async def test_what_is_no_picture_or_too_large_is_not_kept(house: House, png: bytes) -> None:
    with pytest.raises(pictures.BadPicture):
        await pictures.keep(house.redis, png)
    assert await house.redis.dbsize() == 0


@pytest.mark.parametrize("decision", [Decision.BUY, Decision.SELL])
async def test_a_decision_to_trade_comes_with_its_chart(
    house: House, decided: Callable[[Decision], None], counted: Counted, decision: Decision
) -> None:
    decided(decision)
    message = await analysed(house)
    png = await pictures.load(house.redis, message.picture)
    assert png is not None
    assert png.startswith(PNG)
    assert counted.values == {("price", "drawn"): 1}


async def test_a_hold_has_no_picture(house: House, decided: Callable[[Decision], None], counted: Counted) -> None:
    decided(Decision.HOLD)
    assert ((await analysed(house)).picture, counted.values) == ("", {})


@pytest.mark.parametrize("setting", ["charts", "telegram_enabled"])
async def test_who_wants_no_pictures_gets_none(house: House, counted: Counted, setting: str) -> None:
    house.settings = house.settings.model_copy(update={setting: False})
    of = Analysed(uuid.uuid4(), uuid.uuid4(), INSTRUMENT, BUY, await Feed().quote("KRW-BTC"))
    assert await drawn.of_analysis(cast(Runtime, house), of, candles(60)) == ""
    assert counted.values == {}


@pytest.mark.parametrize("fault", [RuntimeError("no font"), MemoryError()])
async def test_a_chart_that_fails_costs_the_picture_and_nothing_else(
    house: House,
    decided: Callable[[Decision], None],
    counted: Counted,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    def fails(_: price.PriceChart) -> bytes:
        raise fault

    monkeypatch.setattr(price, "draw", fails)
    decided(Decision.BUY)
    message = await analysed(house)
    assert message.picture == ""
    assert "KRW-BTC" in message.text
    # and the order went out
    assert len(cast(Feed, house.venue).sent) == 1
    assert counted.values == {("price", "failed"): 1}


async def test_a_drawing_begins_after_the_order_and_one_that_hangs_is_left(
    house: House, decided: Callable[[Decision], None], counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    sent_before: list[int] = []

    def hangs(_: price.PriceChart) -> bytes:
        sent_before.append(len(cast(Feed, house.venue).sent))
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return PNG

    monkeypatch.setattr(price, "draw", hangs)
    monkeypatch.setattr(drawn, "DRAWING_SECONDS", 0.2)
    decided(Decision.BUY)
    try:
        assert (await analysed(house)).picture == ""
    finally:
        release.set()
    assert sent_before == [1]
    assert counted.values == {("price", "failed"): 1}


async def test_while_redis_is_away_there_is_no_picture(
    house: House, redis_server: LocalRedis, counted: Counted
) -> None:
    await house.redis.aclose()
    house.redis = open_redis("redis://127.0.0.1:1/0")
    of = Analysed(uuid.uuid4(), uuid.uuid4(), INSTRUMENT, BUY, await Feed().quote("KRW-BTC"))
    assert await drawn.of_analysis(cast(Runtime, house), of, candles(60)) == ""
    assert counted.values == {("price", "failed"): 1}
