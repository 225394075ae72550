"""Which class serves which market: the one place to add a line for a new market folder."""

from __future__ import annotations

import asyncio
from typing import Protocol

from pydantic import SecretStr
from redis.asyncio import Redis

from workers.http import VenueHttp
from workers.limits import BlockingGate
from workers.ports import MarketData


class VenueSettings(Protocol):
    """The settings that a market needs."""

    @property
    def upbit_base_url(self) -> str: ...

    @property
    def kis_base_url(self) -> str: ...

    @property
    def kis_app_key(self) -> SecretStr: ...

    @property
    def kis_app_secret(self) -> SecretStr: ...

    @property
    def yahoo_base_url(self) -> str: ...

    @property
    def http_timeout_seconds(self) -> float: ...


def open_market(market: str, *, session: VenueHttp, redis: Redis, settings: VenueSettings) -> MarketData:
    """The client of a market; call it on the event loop that will use it, and close it there.

    A market is imported when it is opened, so that no worker carries another's libraries. Raises `BadCredentials`
    where the market needs keys that are not set, `ValueError` for a market there is not.
    """
    match market:
        case "upbit":
            from workers.upbit.market import UpbitMarket

            return UpbitMarket(session, settings.upbit_base_url)
        case "kis":
            from workers.kis.market import KisMarket

            return KisMarket(
                session,
                redis,
                settings.kis_base_url,
                settings.kis_app_key.get_secret_value(),
                settings.kis_app_secret.get_secret_value(),
            )
        case "yfinance":
            from workers.yfinance.market import YahooMarket

            return YahooMarket(settings.yahoo_base_url, settings.http_timeout_seconds, gate=_blocking_gate(session))
        case _:
            raise ValueError(f"unknown market {market!r}: use one of upbit, kis, yfinance")


def _blocking_gate(session: VenueHttp | None) -> BlockingGate | None:
    """The gate of this loop's limiter for a library that blocks in threads of its own."""
    if session is None or session.limiter is None:
        return None
    return BlockingGate(session.limiter, asyncio.get_running_loop())
