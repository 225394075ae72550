"""How everything stands at a glance."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from operate.connections import database
from operate.errors import of_redis
from operate.fault_words import fault_words
from operate.states import state_line
from operate.texts import in_brackets, when
from operate.view_words import ViewWords, view_words
from settings import MARKETS, Settings
from storage import armings, recent, trades, trading_states
from storage.backups import last_backups
from storage.redis import HEARTBEAT_KEY, RedisUnavailable, check_redis, open_redis, seconds_since


async def show_status(settings: Settings) -> str:
    """Trading states in force, the age of each market's heartbeat, the last runs."""
    told = view_words(settings.notify_language)
    async with database(settings) as engine:
        now = datetime.now(UTC)
        lines = [told.mode.format(mode=told.modes[settings.trading_mode])]
        lines += await _where_orders_go(told, settings, engine, now)
        oldest = await trades.oldest_unknown(engine)
        if oldest is not None:
            seconds = f"{oldest.age_seconds:.0f}"
            lines.append(told.unproven.format(order=oldest.client_order_id, seconds=seconds))
        lines += [state_line(told, row) for row in await trading_states.in_force(engine, now)] or [told.active]
        lines += await _heartbeats(told, settings)
        lines += await _backups(told, settings, now)
        for run in await recent.recent_runs(engine, 6):
            lines.append(
                told.run.format(
                    at=when(run.opened_at),
                    market=run.market,
                    status=told.runs[run.status],
                    reason=in_brackets(run.reason),
                    done=run.done,
                    failed=run.failed,
                    pending=run.pending,
                )
            )
    return "\n".join(lines)


async def _heartbeats(told: ViewWords, settings: Settings) -> list[str]:
    """The last sign of each market's worker, and what waits for it; as much as Redis tells."""
    lines = []
    redis = open_redis(settings.redis_url)
    try:
        await check_redis(redis, settings.redis_url)
        for market in MARKETS:
            age = seconds_since(await redis.get(HEARTBEAT_KEY.format(market=market)))
            sign = told.never if age is None else told.ago.format(seconds=f"{age:.0f}")
            lines.append(told.heartbeat.format(market=market, age=sign, waiting=await redis.llen(market)))
    except RedisUnavailable as error:
        lines.append(of_redis(fault_words(settings.notify_language), error))
    finally:
        await redis.aclose()
    return lines


async def _backups(told: ViewWords, settings: Settings, now: datetime) -> list[str]:
    """How old the last backup is, and its copy off this device where there is to be one."""
    last = await last_backups(settings.database_url)
    lines = [told.backup.format(age=_age(told, last.local, now))]
    if settings.copied_away:
        lines.append(told.backup_away.format(age=_age(told, last.away, now)))
    return lines


def _age(told: ViewWords, last: datetime | None, now: datetime) -> str:
    if last is None:
        return told.never
    return told.hours_ago.format(hours=f"{max(0.0, (now - last).total_seconds()) / 3600:.0f}")


async def _where_orders_go(told: ViewWords, settings: Settings, engine: AsyncEngine, now: datetime) -> list[str]:
    """One line per market: paper, live and armed, or live and not armed."""
    until = {row.market: row.until for row in await armings.in_force(engine, now)}
    lines = []
    for market in MARKETS:
        if not settings.live(market):
            lines.append(told.paper.format(market=market))
        elif market in until:
            lines.append(told.armed.format(market=market, at=when(until[market])))
        else:
            lines.append(told.unarmed.format(market=market))
    return lines
