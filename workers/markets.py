"""Which class serves which market: the one place to add a line for a new market folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol, TypeAlias

from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from workers.http import VenueHttp
from workers.limits import BlockingGate
from workers.ports import Broker, MarketData

InSession: TypeAlias = Callable[[str, datetime], bool]


def always(market: str, at: datetime) -> bool:
    """For those who do not mind the sessions: every market trades at every time."""
    return True


class VenueSettings(Protocol):
    """The settings that a market or its account needs."""

    @property
    def upbit_base_url(self) -> str: ...

    @property
    def kis_base_url(self) -> str: ...

    @property
    def kis_app_key(self) -> SecretStr: ...

    @property
    def kis_app_secret(self) -> SecretStr: ...

    @property
    def upbit_access_key(self) -> SecretStr: ...

    @property
    def upbit_secret_key(self) -> SecretStr: ...

    @property
    def kis_environment(self) -> str: ...

    @property
    def kis_account(self) -> SecretStr: ...

    @property
    def us_second_source(self) -> bool: ...

    @property
    def yahoo_base_url(self) -> str: ...

    @property
    def http_timeout_seconds(self) -> float: ...


def open_market(
    market: str, *, session: VenueHttp, redis: Redis, settings: VenueSettings, in_session: InSession = always
) -> MarketData:
    """The client of a market; call it on the event loop that will use it, and close it there.

    `in_session` says whether the market trades at a time, so that an old quote can be told from a closed market.

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

            yahoo = YahooMarket(
                settings.yahoo_base_url, settings.http_timeout_seconds, redis=redis, gate=_blocking_gate(session)
            )
            if not (settings.us_second_source and settings.kis_app_key.get_secret_value()):
                return yahoo
            from workers.kis.access import KisAccess
            from workers.kis.overseas_market import KisOverseasMarket
            from workers.yfinance.second import WithSecondSource

            kis = KisOverseasMarket(KisAccess(session, redis, settings).overseas_client())
            return WithSecondSource(yahoo, kis, is_open=partial(in_session, market))
        case _:
            raise ValueError(f"unknown market {market!r}: use one of upbit, kis, yfinance")


def open_broker(
    market: str, *, session: VenueHttp, redis: Redis, engine: AsyncEngine, settings: VenueSettings
) -> Broker:
    """The real account of a market. Raises `BadCredentials` where its keys are not set, `WrongEnvironment` where the
    address is not of the environment that is set, `ValueError` for a market there is not."""
    match market:
        case "upbit":
            from workers.upbit.broker import UpbitBroker

            return UpbitBroker(
                session,
                settings.upbit_base_url,
                settings.upbit_access_key.get_secret_value(),
                settings.upbit_secret_key.get_secret_value(),
            )
        case "kis":
            from workers.kis.access import KisAccess

            return KisAccess(session, redis, settings).broker(engine)
        case "yfinance":
            from workers.kis.access import KisAccess

            return KisAccess(session, redis, settings).overseas_broker(engine)
        case _:
            raise ValueError(f"unknown market {market!r}: use one of upbit, kis, yfinance")


def _blocking_gate(session: VenueHttp | None) -> BlockingGate | None:
    """The gate of this loop's limiter for a library that blocks in threads of its own."""
    if session is None or session.limiter is None:
        return None
    return BlockingGate(session.limiter, asyncio.get_running_loop())
