"""Whether the system can work: database, Redis, a worker for each market, the beat, and the sending of alerts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from notifications.ledger import Ledger
from settings import MARKETS, Settings
from storage.engine import check_ready
from storage.redis import BEAT_TICK_KEY, HEARTBEAT_KEY, NOTIFIER_SIGN_KEY, NOTIFIER_SILENT_SECONDS, seconds_since

PATIENCE_SECONDS = 2.0
# asked by anybody, so that many asking are as good as one
KEPT_SECONDS = 1.0
# an alert is sent within a second; Telegram may ask for half a minute of silence
ALERT_WAITS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one part works; `says` is for whoever may read. `age` is how many seconds ago it gave a sign, where it
    gives signs, and `command` what starts it."""

    ready: bool
    says: str
    age: float | None = None
    command: str = ""


Probe = Callable[[], Awaitable[Check]]


class Readiness:
    """Looks at every part that the settings ask for."""

    def __init__(self, settings: Settings, engine: AsyncEngine, redis: Redis) -> None:
        self._settings = settings
        self._engine = engine
        self._redis = redis
        self._ledger = Ledger(redis)
        self._seen: dict[str, Check] = {}
        self._seen_at = float("-inf")
        self._looking = asyncio.Lock()

    async def checks(self) -> Mapping[str, Check]:
        """Every part by name, at most a second old."""
        async with self._looking:
            if time.monotonic() - self._seen_at > KEPT_SECONDS:
                probes = self._probes()
                found = await asyncio.gather(*map(_ask, probes.values()))
                self._seen = dict(zip(probes, found, strict=True))
                self._seen_at = time.monotonic()
        return self._seen

    def _probes(self) -> dict[str, Probe]:
        settings = self._settings
        probes: dict[str, Probe] = {"postgresql": self._database, "redis": self._ping}
        for market in MARKETS:
            if settings.symbols(market):
                key = HEARTBEAT_KEY.format(market=market)
                probes[f"worker-{market}"] = self._sign(
                    key, settings.worker_silent_seconds, f"autotrader worker {market}"
                )
        probes["beat"] = self._sign(BEAT_TICK_KEY, settings.beat_silent_seconds, "autotrader beat")
        if settings.telegram_enabled:
            probes["notifier"] = self._notifier
        return probes

    async def _database(self) -> Check:
        await check_ready(self._engine)
        return Check(True, "answers and is migrated")

    async def _ping(self) -> Check:
        await self._redis.ping()
        return Check(True, "answers")

    def _sign(self, key: str, patience: float, command: str) -> Probe:
        """A check that the Unix time at `key` is not older than `patience` seconds."""

        async def look() -> Check:
            age = seconds_since(await self._redis.get(key))
            if age is None:
                return Check(False, f"gave no sign in the last day; start it: {command}", None, command)
            if age > patience:
                says = f"gave its last sign {age:.0f} s ago, {patience:g} s are allowed: {command}"
                return Check(False, says, age, command)
            return Check(True, f"gave its last sign {age:.0f} s ago", age, command)

        return look

    async def _notifier(self) -> Check:
        """That one runs, and gets rid of what it has to tell: it may run and not reach Telegram."""
        sign = await self._sign(NOTIFIER_SIGN_KEY, NOTIFIER_SILENT_SECONDS, "autotrader notifier")()
        if not sign.ready:
            return sign
        state = await self._ledger.state()
        if state.oldest_age > ALERT_WAITS_SECONDS:
            waits = f"an alert waits for {state.oldest_age:.0f} s"
            return Check(False, f"{waits} though it runs; does Telegram answer? autotrader doctor", sign.age)
        return Check(True, f"{sign.says}; {state.depth} alerts wait", sign.age)


async def _ask(probe: Probe) -> Check:
    """What the probe says; whatever it raises means that the part cannot be used."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await probe()
    except Exception as error:  # noqa: BLE001 - every client has errors of its own; their texts may hold addresses
        return Check(False, f"does not answer ({type(error).__name__})")
