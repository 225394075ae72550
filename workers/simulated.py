"""A world beside the real one, in a worker: its clock, market, database and settings are its own, and orders are on
paper. Of the worker it uses the event loop and Redis, where even its leases have names of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from settings import Settings
from workers.paper.broker import PaperBroker
from workers.ports import Broker, MarketData
from workers.runtime import Runtime


class SimulatedRuntime(Runtime):
    """What the tasks see of it. Nothing is opened here, so there is nothing to start or to close."""

    def __init__(
        self,
        settings: Settings,
        *,
        process: str,
        redis: Redis,
        engine: AsyncEngine,
        market: MarketData,
        now: Callable[[], datetime],
        leases: str,
    ) -> None:
        self.settings = settings
        self.process = process
        self.redis = redis
        self.engine = engine
        self.leases = leases
        self._now = now
        self._market = market
        cash = {currency: settings.paper_cash(currency) for currency in ("KRW", "USD")}
        self._broker = PaperBroker(
            engine,
            market.market,
            opening_cash=cash,
            quotes=market.quote,
            tick_size=market.tick_size,
            now=now,
        )

    def now(self) -> datetime:
        return self._now()

    def written_at(self) -> datetime | None:
        return self._now()

    def clock_offset(self, now: datetime) -> timedelta | None:
        return None

    async def market(self, name: str) -> MarketData:
        self._check(name)
        return self._market

    async def broker(self, name: str) -> Broker:
        self._check(name)
        return self._broker

    def _check(self, name: str) -> None:
        if name != self._market.market:
            raise ValueError(f"this world has the market {self._market.market}, and no {name}")
