"""When the key for Upbit ends: a year after it was made, and then every order is refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from settings import Settings
from telemetry.instruments import credential_expiry
from workers.errors import VenueError
from workers.http import VenueHttp
from workers.upbit.auth import Keys
from workers.upbit.exchange import SERVICE, UpbitExchange

log = logging.getLogger(__name__)

PERIOD_SECONDS = 86_400.0
RETRY_SECONDS = 600.0


async def watch_key(http: VenueHttp, settings: Settings, stop: asyncio.Event) -> None:
    """Ask Upbit at once and every day until `stop` is set; sooner again where it did not answer."""
    keys = Keys(settings.upbit_access_key.get_secret_value(), settings.upbit_secret_key.get_secret_value())
    exchange = UpbitExchange(http, settings.upbit_base_url, keys)
    while not stop.is_set():
        try:
            ends = await exchange.expires_at()
        except VenueError as error:
            log.warning("Upbit did not say when its key ends: %s", error)
            pause = RETRY_SECONDS
        else:
            credential_expiry.set(ends.timestamp(), {"service": SERVICE, "credential": "access_key"})
            pause = PERIOD_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
