"""The permission for orders with real money, and whose journal the database is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from getpass import getuser

from operate.connections import database, notifier_of
from operate.errors import CannotAnswer
from operate.fault_words import fault_words
from operate.texts import when
from operate.view_words import view_words
from settings import Settings, check_market
from storage import accounts, armings
from trading.strategy import BadStrategy, duration

LONGEST_ARMING = timedelta(days=7)


async def arm_market(settings: Settings, market: str, length: str) -> str:
    """Allow real orders in a market for a while. Raises `UnknownMarket`."""
    why = fault_words(settings.notify_language)
    if not settings.live(market):
        raise CannotAnswer(why.paper.format(market=market))
    try:
        lasts = duration("--for", length)
    except BadStrategy:
        raise CannotAnswer(why.duration.format(value=length)) from None
    if not timedelta(0) < lasts <= LONGEST_ARMING:
        raise CannotAnswer(why.arming_length.format(value=length, days=LONGEST_ARMING.days))
    by = f"cli:{getuser()}"
    async with database(settings) as engine:
        armed = await armings.arm(engine, market, datetime.now(UTC) + lasts, by)
    async with notifier_of(settings) as notifier:
        await notifier.arming_changed(market, until=armed.until, by=by, at=armed.since)
    return view_words(settings.notify_language).armed_now.format(market=market, at=when(armed.until))


async def disarm_market(settings: Settings, market: str) -> str:
    """Take the permission for real orders back at once. Raises `UnknownMarket`."""
    check_market(market)
    by = f"cli:{getuser()}"
    async with database(settings) as engine:
        disarmed = await armings.disarm(engine, market, by)
    async with notifier_of(settings) as notifier:
        await notifier.arming_changed(market, until=None, by=by, at=disarmed.since)
    return view_words(settings.notify_language).disarmed_now.format(market=market)


async def keep_account(settings: Settings, market: str) -> str:
    """Say that the key of a market was renewed and the account is the same. Raises `UnknownMarket`."""
    account = settings.account(market)
    async with database(settings) as engine:
        before = await accounts.rename(engine, market, account)
    told = view_words(settings.notify_language)
    if before is None:
        return told.new_account.format(market=market)
    return told.kept_account.format(market=market, before=before, account=account)
