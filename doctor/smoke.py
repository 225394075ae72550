"""Does a release that has just been started work? One task through every queue, `/readyz`, and an alert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
from celery.exceptions import TimeoutError as NoResult

from doctor import telegram
from doctor.findings import PATIENCE, Finding, fault, ok, why
from settings import MARKETS, Settings, orders_queue

# between two looks at what is about to be ready
PAUSE_SECONDS = 1.0


async def smoke(settings: Settings, url: str, seconds: float) -> AsyncIterator[Finding]:
    """Try each part and say each finding as soon as it is there; a part has `seconds` to work, since it may be
    starting. `url` is where the API answers."""
    for market in MARKETS:
        if settings.symbols(market):
            for queue in (market, orders_queue(market)):
                yield await asyncio.to_thread(_canary, market, queue, seconds)
    yield await _ready(f"{url.rstrip('/')}/readyz", seconds)
    yield await telegram.alert(settings, seconds)


def _canary(market: str, queue: str, seconds: float) -> Finding:
    """A task through the queue, whose worker has to reach the database and Redis."""
    from tasks.heartbeat import heartbeat

    name, started = f"canary through {queue}", time.monotonic()
    try:
        # not left for a worker that starts in an hour
        result = heartbeat.apply_async(args=(market,), queue=queue, ignore_result=False, expires=seconds)
    except Exception as error:  # noqa: BLE001 - of Celery, kombu or redis; the text may hold an address
        return fault(name, f"cannot be published ({type(error).__name__}); is Redis there? See REDIS_URL and its log")
    try:
        result.get(timeout=seconds)
    except NoResult:
        return fault(name, f"no worker did it within {seconds:g} s; see the log of worker-{market}")
    except Exception as error:  # noqa: BLE001 - whatever the task raised; its text may hold an address
        return fault(name, f"failed with {type(error).__name__}; see the log of worker-{market}")
    return ok(name, f"done after {time.monotonic() - started:.1f} s")


async def _ready(url: str, seconds: float) -> Finding:
    latest, told = time.monotonic() + seconds, fault("readyz", "was never asked")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * PATIENCE)) as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return ok("readyz", "database, Redis, workers, beat and notifier are ready")
                    told = fault("readyz", f"answers {response.status}; `autotrader doctor` says what is not ready")
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                told = fault("readyz", why(error, "the API's address"))
            if time.monotonic() > latest:
                return told
            await asyncio.sleep(PAUSE_SECONDS)
