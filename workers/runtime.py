"""What a worker process opens once and every task uses: engine, HTTP session, Redis pool, on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from opentelemetry.instrumentation.redis import RedisInstrumentor
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from settings import MARKETS, Settings
from storage.engine import check_ready, open_engine
from storage.redis import check_redis, open_redis
from telemetry import databases
from workers import watches
from workers.http import VenueHttp, open_session
from workers.limits import Limiter
from workers.loop import LoopThread
from workers.markets import InSession, always, open_broker, open_market
from workers.paper.broker import PaperBroker
from workers.ports import Broker, MarketData

T = TypeVar("T")

OPEN_SECONDS = 20.0


class Runtime:
    """The open resources of one worker process; `process` names it in metrics and in PostgreSQL.

    `served` are the markets whose queues it serves. `leases` is what its leases are called by.
    """

    leases = "autotrader:lease"

    engine: AsyncEngine
    http: VenueHttp
    redis: Redis

    def __init__(
        self, settings: Settings, process: str, in_session: InSession = always, served: Iterable[str] = ()
    ) -> None:
        self.settings = settings
        self._in_session = in_session
        self.process = process
        self._served = frozenset(served)
        self._loop = LoopThread(process, stuck_after=settings.watchdog_seconds)
        self._markets: dict[str, MarketData] = {}
        self._brokers: dict[str, Broker] = {}
        self._opening = asyncio.Lock()
        self._stop = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Open everything on the loop. Raises `StorageError` or `RedisUnavailable`, each one clear line."""
        self._loop.start()
        self._loop.run(self._open(), OPEN_SECONDS)

    def run(self, coroutine: Coroutine[Any, Any, T], deadline: float) -> T:
        """Run a coroutine on the loop; see `LoopThread.run`."""
        return self._loop.run(coroutine, deadline)

    def now(self) -> datetime:
        """The time that the rules go by, aware."""
        return datetime.now(UTC)

    def written_at(self) -> datetime | None:
        """The time that a new row is to bear; None for the database's own."""
        return None

    def clock_offset(self, now: datetime) -> timedelta | None:
        """How far the venues' clocks are proven to be ahead of `now`, None where nothing is proven."""
        return self.http.clock.offset(now)

    def close(self) -> None:
        """Close everything on the loop it was opened on, then the loop."""
        self._loop.run(self._close(), OPEN_SECONDS)
        self._loop.stop()

    async def market(self, name: str) -> MarketData:
        """The market's client, opened at its first use so that no worker imports another's venue."""
        async with self._opening:
            if name not in self._markets:
                self._markets[name] = open_market(
                    name,
                    session=self.http,
                    redis=self.redis,
                    settings=self.settings,
                    in_session=self._in_session,
                )
        return self._markets[name]

    async def broker(self, name: str) -> Broker:
        """Where the market's orders go: its account where it trades live, else the paper broker at its quotes.

        A live market still needs its arming for each order.
        """
        market = await self.market(name)
        async with self._opening:
            if name not in self._brokers:
                self._brokers[name] = self._open_broker(name, market)
        return self._brokers[name]

    def _open_broker(self, name: str, market: MarketData) -> Broker:
        if self.settings.live(name):
            return open_broker(name, session=self.http, redis=self.redis, engine=self.engine, settings=self.settings)
        cash = {currency: self.settings.paper_cash(currency) for currency in ("KRW", "USD")}
        return PaperBroker(self.engine, name, opening_cash=cash, quotes=market.quote, tick_size=market.tick_size)

    async def _open(self) -> None:
        self.redis = open_redis(self.settings.redis_url)
        RedisInstrumentor.instrument_client(self.redis)
        await check_redis(self.redis, self.settings.redis_url)
        self.engine = open_engine(
            self.settings.database_url,
            pool_size=self.settings.worker_concurrency,
            application_name=f"autotrader-{self.process}",
        )
        databases.instrument(self.engine)
        await check_ready(self.engine)
        self.http = open_session(self.settings.http_timeout_seconds, limiter=Limiter(self.redis))
        watching = watches.of(self.settings, self.process, self._served, self.http, self._stop)
        self._watching = [asyncio.create_task(watch) for watch in watching]

    async def _close(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for market in self._markets.values():
            await market.close()
        await self.http.close()
        await self.engine.dispose()
        await self.redis.aclose()


_current: Runtime | None = None


def open_runtime(
    settings: Settings, process: str, in_session: InSession = always, served: Iterable[str] = ()
) -> Runtime:
    """Start the runtime of this process; called once, when the worker starts."""
    global _current
    if _current is not None:
        raise RuntimeError("the runtime of this process is open already")
    runtime = Runtime(settings, process, in_session, served)
    runtime.start()
    _current = runtime
    return runtime


def current_runtime() -> Runtime:
    """The runtime of this process. Raises `RuntimeError` outside a worker."""
    if _current is None:
        raise RuntimeError("no runtime is open: tasks run only in a worker (celery -A tasks worker -P threads)")
    return _current


def close_runtime() -> None:
    """Close the runtime if it is open; called when the worker shuts down."""
    global _current
    runtime, _current = _current, None
    if runtime is not None:
        runtime.close()


def process_name(queues: set[str]) -> str:
    """`worker-upbit` for a worker of that market's queue, `worker` for one that serves several."""
    own = sorted(queues & set(MARKETS))
    return f"worker-{own[0]}" if len(own) == 1 else "worker"
