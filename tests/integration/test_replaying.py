"""A replay runs the live pipeline in a world of its own: it sees no future, and leaves the real one as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import event, text

from cli.replay_candles import simulated
from replay.plan import plan
from replay.series import Series
from sandbox.local import LocalRedis
from settings import Settings
from storage import schemas
from storage.engine import open_engine
from storage.errors import StorageError
from storage.redis import open_redis
from storage.tables import metadata
from tasks import replay as task
from tasks import replays
from tasks.app import app
from tasks.replay import Part, go_on
from tasks.replays import Asked, Replay
from telemetry import instruments
from workers.loop import Interrupted, Stopped

SYMBOL = "KRW-BTC"
# days on which the rules buy at once
FIRST, DAYS = 65, 4
CANDLES = simulated("upbit", (SYMBOL,), 4, date(2026, 6, 30))[SYMBOL]


@dataclass
class Worker:
    """What a part needs of the worker's runtime."""

    redis: Redis
    settings: Settings
    process: str = "worker-upbit"

    async def part(self, schema: str, series: Series = CANDLES, **values: Any) -> dict[str, Any]:
        part = Part(
            **{  # type: ignore[arg-type]
                "replay": schema.removeprefix("replay_"), "schema": schema, "seed": 1, "analyst": "rules",
                "cash": "2000000", "of": 1, "first": FIRST, "last": FIRST + DAYS - 1, "next": FIRST, **values,
            }
        )  # fmt: skip
        await self.redis.set(part.key(f"candles:{SYMBOL}"), series.packed())
        return await go_on(self, "upbit", SYMBOL, part)  # type: ignore[arg-type]


@pytest.fixture
async def worker(emptied_database_url: str, redis_server: LocalRedis) -> AsyncIterator[Worker]:
    redis = open_redis(redis_server.url)
    await redis.flushdb()
    yield Worker(redis, Settings(_env_file=None, database_url=emptied_database_url, redis_url=redis_server.url))  # type: ignore[call-arg]
    await redis.aclose()


async def real_rows(worker: Worker) -> Mapping[str, int]:
    """How many rows each real table has, and how many schemas of replays there are."""
    engine = open_engine(worker.settings.database_url)
    async with engine.connect() as connection:
        counts = {
            table.name: int(await connection.scalar(text(f"SELECT count(*) FROM public.{table.name}")) or 0)
            for table in metadata.sorted_tables
        }
        named = text("SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 'replay%'")
        counts["schemas"] = int(await connection.scalar(named) or 0)
    await engine.dispose()
    return {name: count for name, count in counts.items() if count}


async def test_a_replay_trades_and_the_real_world_hears_nothing_of_it(worker: Worker) -> None:
    counted = {name: dict(instrument._values) for name, instrument in WATCHED.items()}
    result = await worker.part("replay_quiet")
    assert result["outcome"] == "done"
    assert len(result["worth"]) == DAYS
    assert result["fills"]
    assert result["decisions"]["buy"] > 0
    assert await real_rows(worker) == {}
    # its own candles are left to who asked for it; no alert, no lease, no book read
    assert [key async for key in worker.redis.scan_iter()] == ["autotrader:replay:quiet:candles:KRW-BTC"]
    assert {name: dict(instrument._values) for name, instrument in WATCHED.items()} == counted


async def dropped(worker: Worker, schema: str) -> None:
    engine = schemas.open_schema(worker.settings.database_url, schema)
    await schemas.drop(engine, schema)
    await engine.dispose()


WATCHED = {
    "trades": instruments.trades,
    "orders": instruments.orders,
    "outcomes": instruments.outcomes,
    "decisions": instruments.ai_decisions,
    "portfolio": instruments.portfolio_value_krw,
    "exits": instruments.risk_exits,
    "data_age": instruments.data_age,
}


async def test_what_comes_later_changes_nothing_before_it(worker: Worker) -> None:
    """The whole pipeline, not the feed alone: with another future the past is the same to the last digit."""
    seen = 3
    known = FIRST + seen

    def crashed(number: int) -> Any:
        candle = CANDLES.daily[number]
        if number < known:
            return candle
        lower = (Decimal(int(value / 3000) * 1000) for value in (candle.open, candle.high, candle.low, candle.close))
        return replace(candle, **dict(zip(("open", "high", "low", "close"), lower, strict=True)))

    other = Series(tuple(crashed(number) for number in range(len(CANDLES.daily))))
    here = await worker.part("replay_one", Series(CANDLES.daily), last=known - 1)
    there = await worker.part("replay_two", other, last=known - 1)
    assert here == there
    assert here["fills"]


async def test_the_same_seed_gives_the_same_also_in_parts(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await worker.part("replay_whole")
    # every part ends after one day
    monkeypatch.setattr(task, "PART_SECONDS", 0.0)
    worth, first = [], FIRST
    while True:
        part = await worker.part("replay_parts", next=first)
        worth += part["worth"]
        first = part["next"]
        if part["outcome"] == "done":
            break
        assert part["outcome"] == "part"
        assert len(part["worth"]) == 1
    assert worth == whole["worth"]
    for name in ("fills", "decisions", "outcomes", "exits"):
        assert part[name] == whole[name]


async def test_a_part_that_another_worker_had_begun_says_so(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PART_SECONDS", 0.0)
    first = await worker.part("replay_lost")
    await worker.part("replay_lost", next=first["next"])
    # the same message again, after the worker that had it went further and was lost
    assert (await worker.part("replay_lost", next=first["next"]))["outcome"] == "again"
    # the first part begins anew, whatever stands there
    assert await worker.part("replay_lost") == first
    await dropped(worker, "replay_lost")


async def test_a_replay_that_nobody_waits_for_stops_and_leaves_nothing(worker: Worker) -> None:
    await worker.redis.set("autotrader:replay:stopping:stop", "1")
    result = await worker.part("replay_stopping")
    assert (result["outcome"], len(result["worth"])) == ("stopped", 1)
    assert await real_rows(worker) == {}


async def test_rows_that_are_kept_stand_in_a_schema_of_their_own(worker: Worker) -> None:
    result = await worker.part("replay_kept", last=FIRST + 1, keep=True)
    engine = schemas.open_schema(worker.settings.database_url, "replay_kept")
    try:
        async with engine.connect() as connection:
            at = (await connection.scalars(text("SELECT at FROM analyses ORDER BY at"))).all()
        assert [f"{moment:%Y-%m-%d}" for moment in at] == [day for day, _ in result["worth"]]
        assert await real_rows(worker) == {"schemas": 1}
    finally:
        await engine.dispose()
    await dropped(worker, "replay_kept")


async def test_no_schema_but_those_of_replays_can_be_opened_or_dropped(worker: Worker) -> None:
    for name in ("public", "replay_", "replay_x; DROP SCHEMA public", "Replay_x"):
        with pytest.raises(ValueError, match="no name of a schema beside the real one"):
            schemas.open_schema(worker.settings.database_url, name)


async def existing(url: str) -> list[str]:
    engine = open_engine(url)
    async with engine.connect() as connection:
        named = text("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'replay%' ORDER BY 1")
        found = [str(name) for name in await connection.scalars(named)]
    await engine.dispose()
    return found


async def test_the_next_replay_removes_what_killed_ones_left_and_nothing_else(worker: Worker) -> None:
    names = {
        "dead": "replay_aaaaaaaaaa_0_krw_btc",
        "alive": "replay_bbbbbbbbbb_0_krw_btc",
        "kept": "replay_cccccccccc_0",
    }
    for name in names.values():
        engine = schemas.open_schema(worker.settings.database_url, name)
        async with engine.begin() as connection:
            await connection.execute(text(f"CREATE SCHEMA {name}"))
        if name == names["kept"]:
            await schemas.keep(engine, name)
        await engine.dispose()
    await worker.redis.set("autotrader:replay:bbbbbbbbbb:alive", "1")
    asked = Asked(
        market="upbit", series={SYMBOL: CANDLES}, plan=plan({SYMBOL: CANDLES}, None, None), seed=1, analyst="rules",
        cash=Decimal(2_000_000),
    )  # fmt: skip
    replay = Replay(worker.settings, asked, 1)
    await replay.open()
    assert await existing(worker.settings.database_url) == [names["alive"], names["kept"]]
    assert 0 < await worker.redis.ttl(f"autotrader:replay:{replay.id}:alive") <= replays.ALIVE_SECONDS
    await replay.close()
    assert [key async for key in worker.redis.scan_iter()] == ["autotrader:replay:bbbbbbbbbb:alive"]
    for name in (names["alive"], names["kept"]):
        await dropped(worker, name)


async def test_a_connection_that_would_see_the_real_rows_is_refused(worker: Worker) -> None:
    """As behind a pooler that keeps to itself what a connection asks to begin with."""
    engine = schemas.open_schema(worker.settings.database_url, "replay_pooled")

    @event.listens_for(engine.sync_engine, "do_connect")
    def leave_out(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        del parameters["server_settings"]["search_path"]

    try:
        with pytest.raises(StorageError, match="pooler"):
            await schemas.create(engine, "replay_pooled")
    finally:
        await engine.dispose()
    assert await existing(worker.settings.database_url) == []


def test_a_part_that_its_worker_cut_short_is_known_when_its_end_is_read() -> None:
    for error in (Stopped("the process stopped while it ran"), Interrupted("cancelled by somebody else")):
        stored = app.backend.decode(app.backend.encode(app.backend.prepare_exception(error, "json")))
        assert isinstance(app.backend.exception_to_python(stored), replays.CUT_SHORT)
