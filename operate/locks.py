"""What keeps a symbol or a market from trading now, each under a short name that it keeps while it lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from beat.sessions import is_open
from notifications import words as notified
from operate.connections import database, notifier_of
from operate.errors import CannotAnswer, of_redis
from operate.fault_words import fault_words
from operate.states import change_trading_state, scope_of, told_state, until_of
from operate.texts import when
from operate.words import OperateWords, words
from settings import MARKETS, Settings
from storage import armings, exits, frequency, trading_states
from storage import orders as journal
from storage.redis import RedisUnavailable, check_redis, open_redis
from trading.periods import kst_day, starts
from trading.state import State, TradingState, live_allowed
from trading.strategy import BadStrategy, SymbolStrategy

BREAKER = "circuit breaker"
"""Who writes the rows of the circuit breaker."""


class LockKind(StrEnum):
    """What a lock is of; a person can lift the first three."""

    STATE = "state"
    BREAKER = "breaker"
    MODEL = "model"
    ARMING = "arming"
    SESSION = "session"
    ORDER = "order"
    EXIT = "exit"
    SETTINGS = "off"
    INTERVAL = "interval"
    DAILY = "daily"


LIFTED_BY_PEOPLE = frozenset({LockKind.STATE, LockKind.BREAKER, LockKind.MODEL})


@dataclass(frozen=True, slots=True)
class Lock:
    """`name` is what a person types to lift it, `text` says what it is in the language of the settings."""

    kind: LockKind
    name: str
    text: str
    market: str = ""
    state: TradingState | None = None
    key: str = ""
    """In Redis, of a model's block."""

    @property
    def liftable(self) -> bool:
        return self.kind in LIFTED_BY_PEOPLE


async def show_locks(settings: Settings) -> str:
    """Everything that keeps a symbol or a market from trading now, numbered, each with its name."""
    told = words(settings.notify_language)
    locks, fault = await find_locks(settings)
    lines = [
        f"{number}. {lock.name}: {lock.text}" + (f" {told.unlockable}" if lock.liftable else "")
        for number, lock in enumerate(locks, 1)
    ]
    return "\n".join((lines or [told.no_locks]) + ([fault] if fault else []))


async def unlock(settings: Settings, name: str, by: str) -> str:
    """Lift the lock of that name, where a person can. Raises `CannotAnswer` with the reason where none can."""
    told = words(settings.notify_language)
    locks, fault = await find_locks(settings)
    found = next((lock for lock in locks if lock.name.casefold() == name.strip().casefold()), None)
    if found is None:
        raise CannotAnswer(" ".join([told.no_such_lock.format(name=name), *([fault] if fault else [])]))
    if found.state is not None:
        async with database(settings) as engine, notifier_of(settings) as notifier:
            row = TradingState(State.ACTIVE, f"{found.name} lifted", None, found.state.market, found.state.symbol)
            await change_trading_state(engine, notifier, row, by)
    elif found.key:
        redis = open_redis(settings.redis_url)
        try:
            await redis.delete(found.key)
        finally:
            await redis.aclose()
    else:
        raise CannotAnswer(_why_not(told, found))
    return told.unlocked.format(name=found.name)


async def find_locks(settings: Settings) -> tuple[list[Lock], str]:
    """The locks, and why those of the language models are missing where Redis does not answer."""
    now = datetime.now(UTC)
    async with database(settings) as engine:
        locks = [lock async for lock in _stored(settings, engine, now)]
    redis = open_redis(settings.redis_url)
    try:
        await check_redis(redis, settings.redis_url)
        return [*locks, *[lock async for lock in _models(words(settings.notify_language), redis)]], ""
    except RedisUnavailable as error:
        return locks, of_redis(fault_words(settings.notify_language), error)
    finally:
        await redis.aclose()


async def _stored(settings: Settings, engine: AsyncEngine, now: datetime) -> AsyncIterator[Lock]:
    told, money = words(settings.notify_language), notified.words(settings.notify_language)
    for row in await trading_states.written(engine, now):
        yield _state(told, row)
    rows = await armings.in_force(engine, now)
    for market in MARKETS:
        if settings.live(market) and not live_allowed(settings.trading_mode, rows, market, now):
            yield Lock(LockKind.ARMING, f"arming-{market}", told.not_armed.format(market=market), market)
        session = is_open(market, now)
        if settings.symbols(market) and not (session.open or settings.ignore_market_hours):
            text = told.closed.format(market=market, reason=session.reason.removeprefix("closed: "))
            yield Lock(LockKind.SESSION, f"session-{market}", text, market)
    for market in MARKETS:
        for order in await journal.unproven(engine, market):
            text = told.unproven.format(
                symbol=f"{market} {order.intent.symbol}",
                side=money.sides[order.intent.side],
                order=order.intent.client_order_id,
                age=money.risk.seconds.format(n=f"{(now - order.created_at).total_seconds():,.0f}"),
            )
            yield Lock(LockKind.ORDER, f"order-{order.id.hex[:8]}", text, market)
        for one in await exits.open_exits(engine, market):
            text = told.open_exit.format(
                symbol=f"{market} {one.symbol}",
                kind=money.risk.kinds[one.exit.kind],
                at=when(one.at),
                reason=one.exit.reason,
            )
            yield Lock(LockKind.EXIT, f"exit-{market}-{one.symbol}", text, market)
    strategies = _strategies(settings)
    for (market, symbol), strategy in strategies.items():
        if not strategy.enabled:
            text = told.switched_off.format(symbol=f"{market} {symbol}")
            yield Lock(LockKind.SETTINGS, f"off-{market}-{symbol}", text, market)
    async for lock in _too_often(told, engine, strategies, now):
        yield lock


async def _too_often(
    told: OperateWords, engine: AsyncEngine, strategies: dict[tuple[str, str], SymbolStrategy], now: datetime
) -> AsyncIterator[Lock]:
    """The symbols that have traded too lately, or too often today, to be bought."""
    longest = max((strategy.min_interval for strategy in strategies.values()), default=None)
    if longest is None:
        return
    for row in await frequency.traded(engine, now - longest, starts(kst_day(now))):
        strategy = strategies.get((row.market, row.symbol))
        if strategy is None or not strategy.enabled:
            continue
        where, symbol = f"{row.market}-{row.symbol}", f"{row.market} {row.symbol}"
        if row.last_at + strategy.min_interval > now:
            text = told.min_interval.format(symbol=symbol, until=until_of(told, row.last_at + strategy.min_interval))
            yield Lock(LockKind.INTERVAL, f"interval-{where}", text, row.market)
        if row.today >= strategy.max_trades_per_day:
            text = told.trades_per_day.format(symbol=symbol, have=row.today, most=strategy.max_trades_per_day)
            yield Lock(LockKind.DAILY, f"daily-{where}", text, row.market)


async def _models(told: OperateWords, redis: Redis) -> AsyncIterator[Lock]:
    from workers.llm.blocks import ANY_MODEL, PREFIX, Blocks

    for block in await Blocks(redis).listed():
        model = "any" if block.model == ANY_MODEL else block.model
        text = told.model.format(model=block.model, key=block.key, seconds=f"{block.seconds:,.0f}", reason=block.reason)
        name, key = f"model-{model}-{block.key[:6]}", f"{PREFIX}{block.model}:{block.key}"
        yield Lock(LockKind.MODEL, name, text, key=key)


def _state(told: OperateWords, row: trading_states.Written) -> Lock:
    state = row.state
    where = "-".join(part for part in (state.market or "all", state.symbol) if part)
    kind = LockKind.BREAKER if row.by == BREAKER else LockKind.STATE
    text = told_state(told, row)
    if kind is LockKind.BREAKER:
        scope = scope_of(told, state.market, state.symbol)
        text = told.breaker.format(scope=scope, until=until_of(told, state.until), reason=state.reason)
    return Lock(kind, f"{kind}-{where}", text, state.market or "", state)


def _strategies(settings: Settings) -> dict[tuple[str, str], SymbolStrategy]:
    """How every enabled symbol is traded."""
    from tasks.strategies import strategy_of

    try:
        return {
            (market, symbol): strategy_of(settings, market, symbol, "USD" if market == "yfinance" else "KRW")
            for market in MARKETS
            for symbol in settings.symbols(market)
        }
    except BadStrategy as error:
        raise CannotAnswer(fault_words(settings.notify_language).strategy.format(reason=error)) from None


def _why_not(told: OperateWords, lock: Lock) -> str:
    """Why a person cannot lift it, and what to do instead."""
    reasons = {
        LockKind.ORDER: told.unproven_stays,
        LockKind.EXIT: told.exit_stays,
        LockKind.ARMING: told.arm_instead,
        LockKind.SETTINGS: told.settings_instead,
    }
    return reasons.get(lock.kind, told.waits_instead).format(name=lock.name, market=lock.market)
