"""The day so far, as the daily report tells it when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from redis.exceptions import RedisError

from notifications import report_texts
from notifications.texts import Style
from notifications.told import told_between
from notifications.words import words
from operate.connections import database
from settings import MARKETS, Settings
from storage.daily import report_of
from storage.redis import open_redis
from trading.reports import bounds


async def show_daily(settings: Settings) -> str:
    """Decisions, trades, profit, accounts, errors and sweeps since 09:00 KST, where the report's day begins."""
    now = datetime.now(UTC)
    start, _ = bounds("day", now)
    minutes = {market: settings.sweep_minutes(market) for market in MARKETS if settings.symbols(market)}
    sent = await _alerts_sent(settings, start, now)
    async with database(settings) as engine:
        report = await report_of(engine, "day", start, minutes, until=now, alerts_sent=sent)
    style = Style(words(settings.notify_language), settings.trading_mode)
    return report_texts.report(style, replace(report, ends_at=now), at=now).text.rstrip()


async def _alerts_sent(settings: Settings, start: datetime, end: datetime) -> int | None:
    """How many alerts were told, or None while Redis does not say."""
    redis = open_redis(settings.redis_url)
    try:
        return await told_between(redis, start, end)
    except (RedisError, OSError):
        return None
    finally:
        await redis.aclose()
