"""Trading states: what is halted or paused, and who says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from getpass import getuser

from sqlalchemy.ext.asyncio import AsyncEngine

from notifications.trades import TradeNotifier
from operate.connections import database, notifier_of
from operate.errors import CannotAnswer
from operate.fault_words import fault_words
from operate.texts import when
from operate.view_words import ViewWords, view_words
from operate.words import OperateWords, words
from settings import Settings, check_market
from storage import trading_states
from storage.reading import known_symbols
from trading.state import State, TradingState

LONGEST_PAUSE_HOURS = 24 * 366
LASTS = {"ko": "그 뒤에도 남는 제한: {state}", "en": "in force after that: {state}"}


async def set_trading_state(
    settings: Settings, state: str, market: str, symbol: str, reason: str, hours: float, by: str = ""
) -> str:
    """Put a scope into a state, for some hours or, with 0, until it is taken back, and say what holds there even then;
    `active` takes back what the scope is under, if that is anything. `by` says who does, by default the user of this
    process. Raises `UnknownMarket`."""
    shown = view_words(settings.notify_language)
    row = _row(settings, State(state), market, symbol, reason, hours)
    async with database(settings) as engine, notifier_of(settings) as notifier:
        if row.market and row.symbol:
            row = replace(row, symbol=await symbol_of(settings, engine, row.market, row.symbol))
        if row.state is State.ACTIVE:
            found, others = await take_back(engine, notifier, row, by or operator())
            return state_line(shown, row) if found else _nothing_to_resume(words(settings.notify_language), row, others)
        await change_trading_state(engine, notifier, row, by or operator())
        later = await trading_states.in_force(engine, row.until) if row.until else []
    outlasting = LASTS[settings.notify_language]
    return "\n".join(
        [state_line(shown, row)]
        + [outlasting.format(state=state_line(shown, one)) for one in later if one.where == row.where]
    )


async def symbol_of(settings: Settings, engine: AsyncEngine, market: str, text: str) -> str:
    """The symbol that is meant, of those that are traded, were analysed or are halted: in whatever case, and of Upbit
    without KRW-. Raises `CannotAnswer` for any other: its halt would hold nothing back."""
    halted = [row.symbol for row in await trading_states.in_force(engine, datetime.now(UTC)) if row.market == market]
    known = {*settings.symbols(market), *await known_symbols(engine, market), *(one for one in halted if one)}
    wanted = text.strip().upper()
    for symbol in (wanted, f"KRW-{wanted}"):
        if symbol in known:
            return symbol
    why = fault_words(settings.notify_language).no_symbol
    raise CannotAnswer(why.format(market=market, symbol=text, known=", ".join(sorted(known)) or "-"))


async def pause(settings: Settings, market: str, hours: float, reason: str, by: str) -> str:
    """Buy nothing in a market, or with "" in any, for some hours or, with 0, until it is resumed; exits and sales go
    on. A stricter state of the same scope, or one that lasts longer, stays. Raises `UnknownMarket`."""
    told = words(settings.notify_language)
    row = _row(settings, State.REDUCING, market, "", reason or "paused by the operator", hours)
    scope = scope_of(told, row.market, row.symbol)
    async with database(settings) as engine, notifier_of(settings) as notifier:
        now = datetime.now(UTC)
        own = await trading_states.tighten(engine, row, by=by, now=now)
        if own is not None:
            state, until = told.states[own.state], until_of(told, own.until)
            return told.stricter.format(scope=scope, state=state, until=until, reason=own.reason)
        await notifier.trading_state_changed(row, by=by, at=now)
    return told.paused.format(scope=scope, until=until_of(told, row.until))


async def resume(settings: Settings, market: str, by: str, symbol: str = "") -> str:
    """Take the state of exactly this scope back, and say what else is in force there. Raises `UnknownMarket`."""
    told = words(settings.notify_language)
    row = _row(settings, State.ACTIVE, market, symbol, "resumed by the operator", 0)
    scope = scope_of(told, row.market, row.symbol)
    async with database(settings) as engine, notifier_of(settings) as notifier:
        found, others = await take_back(engine, notifier, row, by)
    if not found:
        return _nothing_to_resume(told, row, others)
    return "\n".join([told.resumed.format(scope=scope), *(told_state(told, one) for one in others)])


async def take_back(
    engine: AsyncEngine, notifier: TradeNotifier, active: TradingState, by: str
) -> tuple[bool, list[trading_states.Written]]:
    """Take back what exactly this scope is under and tell the trade chat, if that is anything, since the circuit
    breaker counts anew from there; whether it was, and what else holds."""
    now = datetime.now(UTC)
    found, others = await trading_states.take_back(engine, active, by=by, now=now)
    if found:
        await notifier.trading_state_changed(active, by=by, at=now)
    return found, others


async def change_trading_state(engine: AsyncEngine, notifier: TradeNotifier, row: TradingState, by: str) -> None:
    """Put a scope into a state and tell the trade chat; `by` says who did."""
    await trading_states.write(engine, row, by=by)
    await notifier.trading_state_changed(row, by=by, at=datetime.now(UTC))


def operator() -> str:
    """Who asks on the command line, as rows show it."""
    return f"cli:{getuser()}"


def state_line(told: ViewWords, row: TradingState) -> str:
    """One state, as it is shown."""
    scope = scope_of(told, row.market, row.symbol)
    until = told.until.format(at=when(row.until)) if row.until else ""
    return told.state.format(scope=scope, state=told.states[row.state], until=until, reason=row.reason)


def scope_of(told: OperateWords | ViewWords, market: str | None, symbol: str | None) -> str:
    """A scope as it is shown."""
    return " ".join(part for part in (market, symbol) if part) or told.everything


def until_of(told: OperateWords, until: datetime | None) -> str:
    """When a state ends, as it is shown."""
    return told.no_end if until is None else told.until.format(at=when(until))


def told_state(told: OperateWords, row: trading_states.Written) -> str:
    state = row.state
    return told.written.format(
        scope=scope_of(told, state.market, state.symbol),
        state=told.states[state.state],
        until=until_of(told, state.until),
        reason=state.reason,
        by=row.by,
        at=when(row.at),
    )


def _nothing_to_resume(told: OperateWords, row: TradingState, others: Iterable[trading_states.Written]) -> str:
    nothing = told.nothing_to_resume.format(scope=scope_of(told, row.market, row.symbol))
    return "\n".join([nothing, *(told_state(told, one) for one in others)])


def _row(settings: Settings, state: State, market: str, symbol: str, reason: str, hours: float) -> TradingState:
    if market:
        check_market(market)
    if not 0 <= hours <= LONGEST_PAUSE_HOURS:
        why = fault_words(settings.notify_language)
        raise CannotAnswer(why.hours.format(hours=f"{hours:g}", most=LONGEST_PAUSE_HOURS))
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    return TradingState(state, reason, until, market or None, symbol or None)
