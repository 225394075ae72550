"""Alerts that were sent, and alerts that were given up."""

from __future__ import annotations

from notifications.alert import first_line
from notifications.sent import sent
from operate.errors import CannotAnswer, of_direct, of_redis
from operate.fault_words import fault_words
from operate.texts import when
from operate.view_words import view_words
from settings import Settings
from storage import dead_letters
from storage.direct import DatabaseUnavailable
from storage.redis import RedisUnavailable, check_redis, open_redis
from telemetry.redaction import redact, secret_values


async def show_dead_alerts(settings: Settings, limit: int, seen: bool) -> str:
    """The alerts that were given up, newest first; with `seen` they all count as seen from now on."""
    try:
        letters = await dead_letters.newest(settings.database_url, limit)
        if seen:
            await dead_letters.mark_seen(settings.database_url)
    except DatabaseUnavailable as error:
        why = fault_words(settings.notify_language)
        raise CannotAnswer(why.dead_letters.format(reason=of_direct(why, error))) from None
    told = view_words(settings.notify_language)
    lines = [
        told.dead.format(
            at=when(letter.died_at),
            kind=letter.kind,
            n=letter.occurrences,
            attempts=letter.attempts,
            fingerprint=letter.fingerprint[:16],
            reason=letter.reason or told.no_reason,
            new="" if letter.seen_at else told.new,
            line=first_line(letter.payload),
        )
        for letter in letters
    ]
    return "\n".join(lines) or told.no_dead


async def show_sent_alerts(settings: Settings, limit: int, offset: int) -> str:
    """What the error chat was told lately, and what was critical, newest first; `limit` of them after `offset`."""
    redis = open_redis(settings.redis_url)
    try:
        await check_redis(redis, settings.redis_url)
        found, total = await sent(redis, offset, limit)
    except RedisUnavailable as error:
        raise CannotAnswer(of_redis(fault_words(settings.notify_language), error)) from None
    finally:
        await redis.aclose()
    told, secrets = view_words(settings.notify_language), secret_values(settings)
    lines = [
        told.sent.format(
            at=when(one.at),
            kind=one.kind,
            n=one.occurrences,
            fingerprint=one.fingerprint[:16],
            line=redact(one.line, secrets),
        )
        for one in found
    ]
    if not lines:
        return told.no_sent
    return "\n".join([*lines, told.of_all.format(first=offset + 1, last=offset + len(lines), n=total)])
