"""What a script halts and resumes over HTTP: as documented, and no more than was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.application import create_app
from api.auth import read_tokens
from api.resources import Resources, open_resources
from sandbox.local import LocalRedis
from settings import Settings
from storage import trading_states
from trading.state import State, TradingState

OPERATE = "operate-token-of-the-tests"


@dataclass
class Caller:
    client: httpx.AsyncClient
    resources: Resources

    async def post(self, path: str, **body: object) -> Any:
        answer = await self.client.post(path, json=body, headers={"Authorization": f"Bearer {OPERATE}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def rows(self) -> list[str]:
        async with self.resources.engine.connect() as connection:
            return [
                row.state for row in await connection.execute(text("SELECT state FROM trading_states ORDER BY seq"))
            ]

    async def resumed_at(self, market: str) -> datetime | None:
        return await trading_states.resumed_at(self.resources.engine, market)


@pytest.fixture
async def caller(emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path) -> AsyncIterator[Caller]:
    settings = Settings(
        _env_file=None,
        redis_url=redis_server.url,
        database_url=emptied_database_url,
        api_operate_token=OPERATE,
        api_requests_per_minute=10_000,
        alert_spool_dir=str(tmp_path),
    )
    async with open_resources(settings) as resources:
        await resources.redis.flushdb()
        app = create_app(resources, read_tokens(settings), lambda error, where: None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            yield Caller(client, resources)


@pytest.mark.parametrize("scope", [{}, {"market": "upbit"}, {"market": "upbit", "symbol": "KRW-BTC"}])
async def test_who_resumes_what_nobody_has_halted_starts_no_loss_anew(caller: Caller, scope: dict[str, str]) -> None:
    """A breaker counts from where a person resumed: ten percent more could be lost."""
    answer = await caller.post("/api/resume", **scope)
    assert answer["changed"] == {
        "state": "active",
        "reason": "resumed by the operator",
        "market": scope.get("market"),
        "symbol": scope.get("symbol"),
        "until": None,
    }
    assert answer["in_force"] == []
    assert await caller.rows() == []
    for market in ("upbit", "kis", "yfinance"):
        assert await caller.resumed_at(market) is None


async def test_what_was_halted_is_taken_back_and_what_else_holds_is_answered(caller: Caller) -> None:
    engine = caller.resources.engine
    breaker = TradingState(State.REDUCING, "circuit breaker", None, "upbit")
    await trading_states.tighten(engine, breaker, by="circuit breaker", now=datetime.now(UTC))
    await caller.post("/api/halt", market="kis", reason="holiday")
    halted = await caller.post("/api/halt", market="upbit", reason="maintenance", hours=1)
    found = [(one["market"], one["state"], one["reason"]) for one in halted["in_force"]]
    assert found == [
        ("upbit", "halted", "maintenance"),
        ("upbit", "reducing", "circuit breaker"),
        ("kis", "halted", "holiday"),
    ]
    # a wider scope is another one, in which nothing is in force
    assert len((await caller.post("/api/resume"))["in_force"]) == 3
    assert await caller.resumed_at("kis") is None
    answer = await caller.post("/api/resume", market="upbit")
    assert [one["market"] for one in answer["in_force"]] == ["kis"]
    assert await caller.rows() == ["reducing", "halted", "halted", "active"]
    resumed = await caller.resumed_at("upbit")
    assert resumed is not None
    # nor does asking again
    await caller.post("/api/resume", market="upbit")
    assert await caller.resumed_at("upbit") == resumed
