"""The task of a replay: a part of one symbol's past, in a database schema of its own.

A part ends after a time that leaves the worker to others, and says with which day the next one begins. A part that
comes back because its worker was lost finds days begun that are not its own, and says so: the symbol begins anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from replay.clock import Clock
from replay.days import days_of
from replay.feed import Feed
from replay.series import Series
from settings import Settings, check_market
from storage import replayed, schemas
from storage.trades import trades
from tasks.app import app, settings
from tasks.base import AsyncTask
from tasks.lease import symbol_lease
from tasks.progress import tell, untold
from tasks.replaying import Walk
from telemetry.instruments import replayed_days, replays
from telemetry.simulation import simulated
from trading.markets import ASSET_TYPES
from workers.runtime import Runtime, current_runtime
from workers.simulated import SimulatedRuntime

# of work; well below the task's deadline, and others wait for the worker
PART_SECONDS = 20.0
KEY = "autotrader:replay:{replay}:{what}"

Result = dict[str, Any]


class CandlesGone(Exception):
    """Redis has no candles for this replay any more: whoever asked for it has left."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a part is asked for. `first`, `last` and `next` count the symbol's daily candles from 0; `cash` is the
    symbol's own, one of `of` equal shares; `references` are symbols whose candles an analyst wants to see beside."""

    replay: str
    schema: str
    seed: int
    analyst: str
    cash: str
    of: int
    first: int
    last: int
    next: int
    references: tuple[str, ...] = ()
    keep: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Part:
        return cls(**{**values, "references": tuple(values.get("references", ()))})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def key(self, what: str) -> str:
        """A name in Redis that belongs to this replay."""
        return KEY.format(replay=self.replay, what=what)


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask,
    bind=True,
    name="tasks.replay.replay_symbol",
    deadline=settings.analyze_deadline_seconds,
)
async def replay_symbol(self: Any, market: str, symbol: str, part: Mapping[str, Any]) -> Result:
    """Go through days of `symbol`, from `part["next"]` on: the account's worth at each close, and with the last day
    what was traded.

    `outcome` is `done`, `part` (more days follow, from `next`), `again` (begin with the first day) or `stopped`.
    Raises `CandlesGone`, and what the pipeline raises.
    """
    check_market(market)
    began = time.monotonic()
    result = await go_on(current_runtime(), market, symbol, Part.read(part))
    replays.add(1, {"market": market, "outcome": result["outcome"]})
    return {**result, "worker": self.request.hostname, "seconds": round(time.monotonic() - began, 3)}


async def go_on(runtime: Runtime, market: str, symbol: str, part: Part) -> Result:
    """What `replay_symbol` does, but for how long it took and where."""
    async with symbol_lease(runtime.redis, market, symbol, within=part.key("part")) as held:
        if not held:
            return {"outcome": "again", "symbol": symbol}
        engine = schemas.open_schema(runtime.settings.database_url, part.schema)
        try:
            if part.next == part.first:
                await tell(0, part.last - part.first + 1, "preparing")
                await schemas.create(engine, part.schema)
            elif await replayed.days_begun(engine) != part.next - part.first:
                return {"outcome": "again", "symbol": symbol}
            return await _walk(runtime, engine, market, symbol, part)
        finally:
            await engine.dispose()


async def _walk(runtime: Runtime, engine: AsyncEngine, market: str, symbol: str, part: Part) -> Result:
    series = {name: await _series(runtime, part, name) for name in (symbol, *part.references)}
    days = await asyncio.to_thread(days_of, market, series[symbol].daily, series[symbol].hourly)
    clock = Clock(days[part.next].opens)
    feed = Feed(market, series, clock)
    world = SimulatedRuntime(
        settings_of(runtime.settings, market, symbol, part),
        process=runtime.process,
        redis=runtime.redis,
        engine=engine,
        market=feed,
        now=clock.now,
        leases=part.key("lease"),
    )
    walk = Walk(world, feed, clock, market, symbol, part.seed)
    until = time.monotonic() + PART_SECONDS
    worth: list[tuple[str, str]] = []
    number = part.next
    outcome = "done"
    while number <= part.last:
        day = days[number]
        await tell(number - part.first, part.last - part.first + 1, f"{day.candle.time:%Y-%m}")
        with untold(), simulated():
            worth.append((f"{day.candle.time:%Y-%m-%d}", f"{await walk.day(day):f}"))
        number += 1
        if number <= part.last and time.monotonic() > until:
            outcome = "part"
            break
        if await runtime.redis.exists(part.key("stop")):
            outcome = "stopped"
            break
    replayed_days.add(len(worth), {"market": market})
    result: Result = {"outcome": outcome, "symbol": symbol, "next": number, "worth": worth}
    if outcome == "done":
        result |= await _told(engine)
        if part.keep:
            await schemas.keep(engine, part.schema)
    if outcome == "stopped" or (outcome == "done" and not part.keep):
        await schemas.drop(engine, part.schema)
    return result


async def _told(engine: AsyncEngine) -> Result:
    """What was traded, and how often what came about."""
    fills = [
        [
            trade.fill.at.isoformat(timespec="seconds"),
            str(trade.side),
            *_plain(trade.fill.quantity, trade.fill.price, trade.fill.fee),
        ]
        for trade in await trades(engine, ASSET_TYPES)
    ]
    return {"fills": fills, **await replayed.counts(engine)}


async def _series(runtime: Runtime, part: Part, symbol: str) -> Series:
    packed = await runtime.redis.get(part.key(f"candles:{symbol}"))
    if packed is None:
        raise CandlesGone(f"replay {part.replay} has no candles of {symbol} any more: ask for it anew")
    return await asyncio.to_thread(Series.unpacked, str(packed))


def settings_of(real: Settings, market: str, symbol: str, part: Part) -> Settings:
    """The worker's settings in that world: paper, its own cash and symbol, nobody told, and a day with a candle is a
    day with a session."""
    cash = Decimal(part.cash)
    return real.model_copy(
        update={
            "trading_mode": "paper",
            f"{market}_symbols": (symbol,),
            "paper_cash_krw": cash,
            "paper_cash_usd": cash,
            "ignore_market_hours": True,
            "telegram_enabled": False,
            "charts": False,
            "analyst": part.analyst,
            # all symbols of a replay together ask models for no more than a day's budget
            "llm_budget_usd_per_day": real.llm_budget_usd_per_day / part.of,
        }
    )


def _plain(*values: Decimal) -> list[str]:
    return [f"{value.normalize():f}" for value in values]
