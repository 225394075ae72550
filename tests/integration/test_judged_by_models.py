"""Models in the house: what was paid for counts, whatever ends the question, and trades are at a quote of now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast
from uuid import UUID

import aiohttp
import pytest
from house import BUY, INSTRUMENT, NOW, STRATEGY, House, Venue, settings
from redis.exceptions import RedisError

from sandbox.candles import Series
from sandbox.faults import Fault
from sandbox.server import Sandbox
from sandbox.simulated import walk
from storage import analyses, llm_calls, runs
from tasks.analysts import Judged, Material, judge
from tasks.pipeline import analyse, resume
from trading import indicators
from trading.types import Candle, Decision, Position, Quote
from workers.llm.analyst import UNKNOWN_COST
from workers.llm.blocks import Blocks
from workers.ports import MarketData
from workers.runtime import Runtime

SYMBOL = INSTRUMENT.symbol
PRO, FLASH = "gemini-2.5-pro", "gemini-2.5-flash"
# walks whose end the stand-in's model wants to sell, and to do nothing about
SELLS, HOLDS = 13, 0


def series(seed: int) -> Series:
    return walk("upbit", SYMBOL, seed, NOW.date(), 100_000_000, 0.03, 1e3)


@dataclass
class Feed(Venue):
    """A venue that tells the candles of a walk; its price goes on from the last close by one of `moves` per quote."""

    seed: int = SELLS
    moves: list[str] = field(default_factory=list)
    quoted: list[Quote] = field(default_factory=list)

    @property
    def close(self) -> Decimal:
        return series(self.seed).daily[-1].close

    async def quote(self, symbol: str) -> Quote:
        price = self.close * Decimal(self.moves.pop(0))
        self.quoted.append(Quote(symbol, price, price - 1000, price + 1000, Decimal(1000), NOW))
        return self.quoted[-1]

    async def candles(self, symbol: str, count: int) -> list[Candle]:
        return list(series(self.seed).daily)[-count:]

    async def minute_candles(self, symbol: str, unit: int, count: int) -> list[Candle]:
        return list(series(self.seed).hourly)[-count:]

    async def fundamentals(self, symbol: str) -> Mapping[str, Decimal]:
        return {}


class Then(House):
    """A house on the day of its candles."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture
def advised(house: House, sandbox: Sandbox, tmp_path: Path) -> Then:
    """A house that asks two models at the sandbox, with a budget of one answer that nobody knows the price of."""
    models = settings(
        tmp_path,
        STRATEGY,
        analyst="llm",
        google_api_keys="a-key-of-the-tests",
        gemini_base_url=f"{sandbox.url}/gemini",
        llm_models=(PRO, FLASH),
        llm_timeout_seconds=30,
        llm_deadline_seconds=50,
        llm_budget_usd_per_day=UNKNOWN_COST,
    )
    return Then(house.engine, house.redis, Feed(), models)


async def answer_with(sandbox: Sandbox, *modes: str) -> None:
    async with aiohttp.ClientSession() as http:
        for mode in modes:
            async with http.post(f"{sandbox.url}/control/gemini/modes", json={"mode": mode}) as reply:
                assert reply.status == 200


async def a_run(house: House) -> UUID:
    slot = datetime.now(UTC)
    return (await runs.open_run(house.engine, market="upbit", slot=slot, task_id="t", symbols=(SYMBOL,))).id


def material(venue: Feed) -> Material:
    daily, price = series(venue.seed).daily, venue.close
    quote = Quote(SYMBOL, price, price - 1000, price + 1000, Decimal(1000), NOW)
    nothing = Position(Decimal(0), Decimal(0))
    return Material(INSTRUMENT, daily, series(venue.seed).hourly, quote, indicators.compute(daily), nothing)


async def judged(house: House, run: UUID) -> Judged:
    return await judge(cast(Runtime, house), run, material(cast(Feed, house.venue)))


async def stored(house: House, run: UUID) -> list[tuple[str, str, Decimal]]:
    calls = await llm_calls.of_analysis(house.engine, run, SYMBOL)
    return [(call.model, call.outcome, call.cost) for call in calls]


@pytest.fixture
def hanging(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The second model hangs; set as soon as it does."""
    hangs, take = asyncio.Event(), sandbox.faults.take

    def taken(service: str, path: str, subjects: Sequence[str]) -> Fault | None:
        fault = take(service, path, subjects)
        if fault is not None and fault.kind == "hang":
            hangs.set()
        return fault

    monkeypatch.setattr(sandbox.faults, "take", taken)
    sandbox.faults.order({"service": "gemini", "symbol": FLASH, "kind": "hang"})
    return hangs


async def cancelled_while_it_hangs(house: House, sandbox: Sandbox, hanging: asyncio.Event, run: UUID) -> None:
    """The first model stops for safety, the second hangs; then the deadline of the task comes, or the worker's end."""
    await answer_with(sandbox, "safety")
    asking = asyncio.create_task(judged(house, run))
    await hanging.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_what_was_paid_for_is_stored_and_counts_where_the_question_is_cancelled(
    advised: Then, sandbox: Sandbox, hanging: asyncio.Event
) -> None:
    run = await a_run(advised)
    await cancelled_while_it_hangs(advised, sandbox, hanging, run)
    first, second = await stored(advised, run)
    assert first[:2] == (PRO, "safety")
    assert first[2] > 0
    assert second == (FLASH, "cancelled", UNKNOWN_COST)
    assert (await judged(advised, await a_run(advised))).analysis.rejected_by == "llm_budget"


async def test_what_was_paid_for_is_stored_where_another_error_ends_the_question(
    advised: Then, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise RedisError("Redis is away")

    monkeypatch.setattr(Blocks, "close", away)
    await answer_with(sandbox, "safety")
    sandbox.faults.order({"service": "gemini", "symbol": FLASH, "kind": "throttle", "count": 1})
    run = await a_run(advised)
    with pytest.raises(RedisError, match="away"):
        await judged(advised, run)
    (model, outcome, cost), refused = await stored(advised, run)
    assert (model, outcome, cost > 0) == (PRO, "safety", True)
    # a refusal costs nothing
    assert refused == (FLASH, "throttled", 0)


async def test_a_cancellation_stays_one_where_nothing_can_be_stored(
    advised: Then,
    sandbox: Sandbox,
    hanging: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ConnectionError("PostgreSQL is away")

    monkeypatch.setattr(llm_calls, "store", away)
    await cancelled_while_it_hangs(advised, sandbox, hanging, await a_run(advised))
    assert "today's budget misses it" in caplog.text


async def test_what_a_model_advises_is_traded_at_a_quote_from_after_its_answer(advised: Then) -> None:
    feed = cast(Feed, advised.venue)
    # when the candles are collected, and after the answer
    feed.moves = ["1", "1.005"]
    made = await analyse(cast(Runtime, advised), cast(MarketData, feed), SYMBOL, await a_run(advised))
    assert made.analysis.decision is Decision.SELL
    assert made.analysis.price == feed.close
    assert made.quote == feed.quoted[1]


async def test_a_price_that_ran_away_while_the_model_thought_is_not_traded(advised: Then) -> None:
    feed = cast(Feed, advised.venue)
    feed.moves = ["1", "1.06"]
    made = await analyse(cast(Runtime, advised), cast(MarketData, feed), SYMBOL, await a_run(advised))
    assert (made.analysis.decision, made.analysis.rejected_by) == (Decision.HOLD, "quote_moved")


async def test_a_hold_and_the_rules_ask_for_no_second_quote(advised: Then, tmp_path: Path) -> None:
    feed = cast(Feed, advised.venue)
    feed.seed, feed.moves = HOLDS, ["1"]
    made = await analyse(cast(Runtime, advised), cast(MarketData, feed), SYMBOL, await a_run(advised))
    assert made.analysis.decision is Decision.HOLD
    advised.settings = settings(tmp_path, STRATEGY)
    feed.seed, feed.moves = SELLS, ["1"]
    assert (await judged(advised, await a_run(advised))).analysis.decision is Decision.BUY
    assert len(feed.quoted) == 1


@pytest.mark.parametrize(("move", "rejected_by"), [("1.005", None), ("0.94", "quote_moved")])
async def test_a_stored_analysis_is_used_again_only_near_its_price(
    advised: Then, move: str, rejected_by: str | None
) -> None:
    feed, run = cast(Feed, advised.venue), await a_run(advised)
    made = replace(BUY, price=feed.close)
    await analyses.store(advised.engine, run_id=run, market="upbit", symbol=SYMBOL, analysis=made, indicators={})
    feed.moves = [move]
    again = await resume(cast(Runtime, advised), cast(MarketData, feed), SYMBOL, run)
    assert again is not None
    assert again.analysis.rejected_by == rejected_by
    assert again.analysis.decision is (Decision.HOLD if rejected_by else Decision.BUY)
    kept = await analyses.find(advised.engine, run, SYMBOL)
    assert kept is not None
    assert kept.analysis == made, "what was stored stays as it is"
