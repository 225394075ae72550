"""The desk of a symbol: its broker, what it is, and who is told."""

from __future__ import annotations

from decimal import Decimal

from notifications.spool import spool_of
from notifications.texts import Links
from notifications.trades import TradeNotifier
from tasks.placing import Desk
from trading.markets import ASSET_TYPES
from trading.types import Instrument
from workers.runtime import Runtime


def notifier_of(runtime: Runtime) -> TradeNotifier:
    """The trade messages of this process, in the language and with the links of its settings."""
    settings = runtime.settings
    return TradeNotifier(
        runtime.redis,
        settings.notify_language,
        enabled=settings.telegram_enabled,
        mode=settings.trading_mode,
        links=Links(settings.signoz_url, settings.flower_url),
        spool=spool_of(settings),
    )


async def account_desk(runtime: Runtime, market: str, symbol: str, currency: str) -> Desk:
    """The desk of a symbol whose quotes cannot be had now: to ask what became of orders, and to cancel them. Its name,
    steps and fees are not known, so nothing can be placed there."""
    zero = Decimal(0)
    bare = Instrument(market, symbol, "", ASSET_TYPES[market], currency, zero, zero, zero)
    return Desk(runtime, await runtime.broker(market), notifier_of(runtime), bare)


async def desk_of(runtime: Runtime, market: str, symbol: str) -> Desk:
    """The desk of a symbol. Raises `UnknownSymbol`, and what asking for the symbol raises."""
    client = await runtime.market(market)
    return Desk(runtime, await runtime.broker(market), notifier_of(runtime), await client.instrument(symbol))
