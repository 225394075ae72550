"""A replay whose analyst is a language model: asked over HTTP, day by day, within the budget, and only of the past."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from cli.replay_candles import simulated
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from storage import schemas
from storage.redis import open_redis
from tasks.replay import Part, go_on
from telemetry import instruments

SYMBOL, LEADS = "KRW-ETH", "KRW-BTC"
FIRST, DAYS = 65, 3
CANDLES = simulated("upbit", (SYMBOL, LEADS), 4, date(2026, 6, 30))
KEY = "replay-gemini-key-aaaa"


class Worker:
    """What a part needs of the worker's runtime, with models at the sandbox."""

    process = "worker-upbit"

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis = redis
        self.settings = settings

    async def replay(self, name: str, **values: Any) -> dict[str, Any]:
        part = Part(
            **{  # type: ignore[arg-type]
                "replay": name, "schema": f"replay_{name}", "seed": 1, "analyst": "llm", "cash": "2000000", "of": 1,
                "first": FIRST, "last": FIRST + DAYS - 1, "next": FIRST, "references": (LEADS,), **values,
            }
        )  # fmt: skip
        for symbol, series in CANDLES.items():
            await self.redis.set(part.key(f"candles:{symbol}"), series.packed())
        return await go_on(self, "upbit", SYMBOL, part)  # type: ignore[arg-type]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def worker(emptied_database_url: str, redis_server: LocalRedis, sandbox: Sandbox) -> AsyncIterator[Worker]:
    redis = open_redis(redis_server.url)
    await redis.flushdb()
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=emptied_database_url,
        redis_url=redis_server.url,
        analyst="llm",
        google_api_keys=KEY,  # type: ignore[arg-type]
        gemini_base_url=f"{sandbox.url}/gemini",
        llm_models=("gemini-2.5-flash",),
    )
    yield Worker(redis, settings)
    await redis.aclose()


async def asked(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The data of every question, in order."""
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/control/gemini/asked") as reply:
        return [json.loads(one["prompt"].partition("DATA:\n")[2]) for one in await reply.json()]


async def test_a_model_is_asked_once_a_day_about_what_was_known_then(worker: Worker, sandbox: Sandbox) -> None:
    result = await worker.replay("asked", keep=True)
    assert result["outcome"] == "done"
    days = [day for day, _ in result["worth"]]
    assert len(days) == DAYS
    questions = await asked(sandbox)
    assert [data["quote"]["at"][:10] for data in questions] == days
    for data in questions:
        assert data["instrument"]["symbol"] == SYMBOL
        # the last day that it sees is the one before
        assert data["days"][-1][0] < data["quote"]["at"][:10]
    engine = schemas.open_schema(worker.settings.database_url, "replay_asked")
    try:
        async with engine.begin() as connection:
            models = (await connection.scalars(text("SELECT DISTINCT model FROM analyses"))).all()
            calls = (await connection.scalars(text("SELECT outcome FROM llm_calls"))).all()
    finally:
        await schemas.drop(engine, "replay_asked")
        await engine.dispose()
    assert models == ["gemini-2.5-flash"]
    assert calls == ["ok"] * DAYS


async def test_what_a_replay_asks_is_counted_as_the_real_money_it_costs(worker: Worker) -> None:
    before = float(sum(instruments.llm_cost._values.values()))
    await worker.replay("paid")
    assert float(sum(instruments.llm_cost._values.values())) > before


async def test_a_replay_stops_asking_when_its_share_of_the_budget_is_spent(worker: Worker, sandbox: Sandbox) -> None:
    # less than one answer costs
    worker.settings = worker.settings.model_copy(update={"llm_budget_usd_per_day": Decimal("0.0001")})
    result = await worker.replay("spent")
    assert (result["outcome"], len(result["worth"])) == ("done", DAYS)
    assert len(await asked(sandbox)) == 1
    assert result["decisions"]["hold"] >= DAYS - 1
