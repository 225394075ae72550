"""What an operator may ask and order, as text: the command line shows it, and a bot may too."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from getpass import getuser
from zoneinfo import ZoneInfo

from celery.exceptions import TimeoutError as NoResult
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from notifications.alert import first_line
from notifications.spool import spool_of
from notifications.trades import TradeNotifier
from settings import MARKETS, Settings, check_market
from storage import accounts, analyses, armings, dead_letters, llm_calls, recent, runs, trades, trading_states
from storage import orders as journal
from storage.engine import check_ready, open_engine
from storage.errors import NotFound, StorageError
from storage.redis import HEARTBEAT_KEY, RedisUnavailable, check_redis, open_redis
from telemetry.trace_ids import current_trace_id
from trading.state import State, TradingState
from trading.strategy import BadStrategy, duration
from trading.types import Holdings
from workers.errors import VenueError
from workers.http import open_session
from workers.limits import Limiter
from workers.llm.blocks import Blocks
from workers.markets import open_broker
from workers.paper.broker import PaperBroker

KST = ZoneInfo("Asia/Seoul")
LONGEST_ARMING = timedelta(days=7)


class CannotAnswer(Exception):
    """The question cannot be answered; the message is one line with the cure."""


@dataclass(frozen=True, slots=True)
class Requested:
    """An analysis that was queued: the run that was opened for it, and its task."""

    run_id: uuid.UUID
    task_id: str


@dataclass(frozen=True, slots=True)
class Valued:
    """A position at the price of the symbol's last analysis, None where there was none; in the account's currency."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    price: Decimal | None

    @property
    def worth(self) -> Decimal | None:
        return None if self.price is None else self.quantity * self.price

    @property
    def profit(self) -> Decimal | None:
        return None if self.worth is None else self.worth - self.quantity * self.average_price


@dataclass(frozen=True, slots=True)
class Difference:
    """The account holds another quantity of an enabled symbol than our own fills come to."""

    symbol: str
    held: Decimal
    filled: Decimal


@dataclass(frozen=True, slots=True)
class AccountView:
    """What a market's account holds; `live` is whether with real money."""

    market: str
    live: bool
    currency: str
    cash: Decimal
    positions: tuple[Valued, ...]
    differences: tuple[Difference, ...]


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The database, checked. Raises `CannotAnswer`."""
    engine = open_engine(settings.database_url, pool_size=2, application_name="autotrader-cli")
    try:
        await check_ready(engine)
        yield engine
    except StorageError as error:
        raise CannotAnswer(str(error)) from None
    finally:
        await engine.dispose()


async def analyze_now(settings: Settings, market: str, symbol: str, patience: float) -> str:
    """Open a run of one symbol, have the market's worker see to it, and explain the result.

    Waits `patience` seconds for the worker.
    """
    async with database(settings) as engine:
        redis = open_redis(settings.redis_url)
        try:
            await check_redis(redis, settings.redis_url)
        except RedisUnavailable as error:
            raise CannotAnswer(str(error)) from None
        finally:
            await redis.aclose()
        from tasks.analysis import analyze_and_trade

        asked = await request_analysis(engine, market, symbol)
        result = analyze_and_trade.AsyncResult(asked.task_id)
        try:
            outcome = await asyncio.to_thread(result.get, timeout=patience, propagate=False)
        except NoResult:
            raise CannotAnswer(
                f"no answer within {patience:g} s: is the worker running? (autotrader worker {market})"
            ) from None
        if isinstance(outcome, BaseException):
            raise CannotAnswer(f"{type(outcome).__name__}: {outcome}")
        stored = await analyses.find(engine, asked.run_id, symbol)
        if stored is None:
            return f"{symbol}: {outcome['outcome']}"
        return await _explained(engine, stored.id, outcome["outcome"])


async def request_analysis(engine: AsyncEngine, market: str, symbol: str) -> Requested:
    """Open a run of one symbol and queue its analysis. Raises what the broker raises; then the run says so."""
    from tasks.analysis import publish, task_id_of

    opened = None
    while opened is None or opened.duplicate:
        # a slot of its own, to the microsecond, so that no sweep's slot is taken
        opened = await runs.open_run(
            engine,
            market=market,
            slot=datetime.now(UTC),
            task_id=f"operator-{uuid.uuid4()}",
            symbols=[symbol],
            trace_id=current_trace_id() or None,
        )
    try:
        await publish(market, symbol, opened.id)
    except (OperationalError, RedisError, OSError) as error:
        # a symbol left pending would be published later, when nobody expects it any more
        await runs.fail_symbol(engine, opened.id, symbol, f"could not be queued ({type(error).__name__})")
        await runs.finish_run_if_complete(engine, opened.id)
        raise
    await runs.mark_published(engine, opened.id)
    return Requested(opened.id, task_id_of(opened.id, symbol))


async def explain(settings: Settings, analysis_id: str) -> str:
    """An analysis, its indicators, and the orders it led to."""
    try:
        wanted = uuid.UUID(analysis_id)
    except ValueError:
        raise CannotAnswer(f"{analysis_id!r} is no analysis id: copy it from the end of an analysis message") from None
    async with database(settings) as engine:
        return await _explained(engine, wanted, None)


async def _explained(engine: AsyncEngine, analysis_id: uuid.UUID, outcome: str | None) -> str:
    try:
        stored = await analyses.get(engine, analysis_id)
    except NotFound as error:
        raise CannotAnswer(str(error)) from None
    analysis = stored.analysis
    lines = [
        f"{stored.market} {stored.symbol}: {analysis.decision} with confidence {analysis.confidence} at "
        f"{money(analysis.price)}, by {analysis.model}, {when(analysis.at)}",
        *(f"  {number}. {reason}" for number, reason in enumerate(analysis.reasons, 1)),
    ]
    for name in ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target"):
        bounds = getattr(analysis.ranges, name)
        lines.append(f"  {name}: {money(bounds.min)} to {money(bounds.max)}")
    known = {name: value for name, value in stored.indicators.items() if value is not None}
    lines.append("  indicators: " + ", ".join(f"{name} {value:.4g}" for name, value in known.items()))
    if outcome:
        lines.append(f"outcome: {outcome}")
    for order in await journal.for_analysis(engine, analysis_id):
        intent = order.intent
        lines.append(
            f"order {intent.client_order_id}: {intent.side} {intent.quantity} at {money(intent.price)} "
            f"{intent.currency}, {order.state}" + (f" ({order.reason})" if order.reason else "")
        )
    lines += _asked(await llm_calls.of_analysis(engine, stored.run_id, stored.symbol))
    lines.append(f"analysis {stored.id}, run {stored.run_id}, trace {stored.trace_id or 'none'}")
    return "\n".join(lines)


def _asked(calls: Sequence[llm_calls.LlmCall]) -> list[str]:
    """What language models were asked for it and said, as lines."""
    lines = []
    for call in calls:
        if call.prompt:
            lines += ["asked:", *(f"  {line}" for line in call.prompt.splitlines())]
        lines.append(
            f"{call.model}: {call.outcome} after {call.seconds:.1f} s, {call.input_tokens} tokens in, "
            f"{call.output_tokens} out, {call.cost:.6f} USD"
        )
        lines += [f"  {line}" for text in (call.reply, call.error) for line in text.splitlines()]
    return lines


async def show_models(settings: Settings, clear: bool) -> str:
    """Which language models are closed for which key (by its hash), and until when; `clear` opens them all."""
    redis = open_redis(settings.redis_url)
    blocks = Blocks(redis)
    try:
        await check_redis(redis, settings.redis_url)
        opened = await blocks.clear() if clear else 0
        closed = await blocks.listed()
    except RedisUnavailable as error:
        raise CannotAnswer(str(error)) from None
    finally:
        await redis.aclose()
    lines = [f"{opened} opened"] if clear else []
    lines += [f"{block.model} with key {block.key}: {block.reason}, {block.seconds:.0f} s left" for block in closed]
    return "\n".join(lines) or "every model may be asked"


async def show_status(settings: Settings) -> str:
    """Trading states in force, the age of each market's heartbeat, the last runs."""
    async with database(settings) as engine:
        now = datetime.now(UTC)
        lines = [f"mode {settings.trading_mode}", *await _where_orders_go(settings, engine, now)]
        oldest = await trades.oldest_unknown(engine)
        if oldest is not None:
            lines.append(f"order {oldest.client_order_id} is not proven for {oldest.age_seconds:.0f} s")
        lines += [_state_line(row) for row in await trading_states.in_force(engine, now)] or ["trading is active"]
        redis = open_redis(settings.redis_url)
        try:
            await check_redis(redis, settings.redis_url)
            for market in MARKETS:
                beaten = await redis.get(HEARTBEAT_KEY.format(market=market))
                age = f"{time.time() - float(beaten):.0f} s ago" if beaten else "never"
                lines.append(f"{market}: heartbeat {age}, {await redis.llen(market)} waiting")
        except RedisUnavailable as error:
            lines.append(str(error))
        finally:
            await redis.aclose()
        for run in await recent.recent_runs(engine, 6):
            told = f" ({run.reason})" if run.reason else ""
            lines.append(
                f"run {when(run.opened_at)} {run.market}: {run.status}{told}, "
                f"{run.done} done, {run.failed} failed, {run.pending} pending"
            )
    return "\n".join(lines)


async def show_orders(settings: Settings, limit: int) -> str:
    """The orders changed last, one line each."""
    async with database(settings) as engine:
        rows = await recent.recent_orders(engine, limit)
    return "\n".join(
        f"{when(row.updated_at)} {row.market} {row.symbol} {row.side} {row.filled_quantity}/{row.quantity} at "
        f"{money(row.price)} {row.currency}: {row.state}" + (f" ({row.reason})" if row.reason else "")
        for row in rows
    ) or "no orders yet"  # fmt: skip


async def show_positions(settings: Settings) -> str:
    """Cash and positions of every account, valued at the last analysis."""
    lines = []
    async with database(settings) as engine:
        for view in await accounts_held(settings, engine):
            account = "live" if view.live else "paper"
            lines.append(f"{view.market} ({account}): {money(view.cash)} {view.currency} in cash")
            lines += [
                f"  {row.symbol}: the account holds {row.held}, our own fills come to {row.filled}"
                for row in view.differences
            ]
            for position in view.positions:
                if position.worth is None or position.profit is None:
                    lines.append(f"  {position.symbol}: {position.quantity}, never analysed")
                    continue
                lines.append(
                    f"  {position.symbol}: {position.quantity} at {money(position.average_price)} on average, "
                    f"worth {money(position.worth)} ({position.profit:+,.0f} {view.currency})"
                )
    return "\n".join(lines) or "no accounts yet: they open with the first analysis"


async def accounts_held(settings: Settings, engine: AsyncEngine) -> list[AccountView]:
    """Every account that was used. Raises `CannotAnswer` where a venue does not tell."""
    views = []
    for market in MARKETS:
        held = await _holdings(settings, engine, market)
        if held is None:
            continue
        prices = await analyses.last_prices(engine, market)
        positions = tuple(
            Valued(symbol, position.quantity, position.average_price, prices.get(symbol))
            for symbol, position in held.positions.items()
        )
        differences = await _differences(settings, engine, market, held)
        views.append(AccountView(market, settings.live(market), held.currency, held.cash, positions, differences))
    return views


async def show_dead_alerts(settings: Settings, limit: int, seen: bool) -> str:
    """The alerts that were given up, newest first; with `seen` they all count as seen from now on."""
    try:
        letters = await dead_letters.newest(settings.database_url, limit)
        if seen:
            await dead_letters.mark_seen(settings.database_url)
    except dead_letters.DeadLettersUnavailable as error:
        raise CannotAnswer(f"the dead letters cannot be read: {error}") from None
    return "\n".join(
        f"{when(letter.died_at)} {letter.kind} ×{letter.occurrences} ({letter.attempts} attempts) "
        f"{letter.fingerprint[:16]}: {letter.reason or 'no reason given'}"
        f"{'' if letter.seen_at else ' [new]'}\n    {first_line(letter.payload)}"
        for letter in letters
    ) or "no alert was ever given up"  # fmt: skip


async def _differences(settings: Settings, engine: AsyncEngine, market: str, held: Holdings) -> tuple[Difference, ...]:
    """Where the account holds something else of an enabled symbol than our own fills come to: somebody traded by
    hand, or held it before."""
    ours = await trades.net_units(engine, market)
    found = []
    for symbol in settings.symbols(market):
        position = held.positions.get(symbol)
        holds, filled = position.quantity if position else Decimal(0), ours.get(symbol, Decimal(0))
        if holds != filled:
            found.append(Difference(symbol, holds, filled))
    return tuple(found)


async def _holdings(settings: Settings, engine: AsyncEngine, market: str) -> Holdings | None:
    """What the market's account holds: asked of the venue where it trades live."""
    if not settings.live(market):
        return await PaperBroker(engine, market, opening_cash={}).holdings()
    redis = open_redis(settings.redis_url)
    http = open_session(settings.http_timeout_seconds, limiter=Limiter(redis))
    try:
        return await open_broker(market, session=http, redis=redis, engine=engine, settings=settings).holdings()
    except VenueError as error:
        raise CannotAnswer(str(error)) from None
    finally:
        await http.close()
        await redis.aclose()


async def arm_market(settings: Settings, market: str, length: str) -> str:
    """Allow real orders in a market for a while. Raises `UnknownMarket`."""
    if not settings.live(market):
        raise CannotAnswer(f"{market} trades on paper: set TRADING_MODE=live and the keys of its account first")
    try:
        lasts = duration("--for", length)
    except BadStrategy as error:
        raise CannotAnswer(str(error)) from None
    if not timedelta(0) < lasts <= LONGEST_ARMING:
        raise CannotAnswer(f"--for is {length}: must be above 0 and at most {LONGEST_ARMING.days}d")
    by = f"cli:{getuser()}"
    async with database(settings) as engine:
        armed = await armings.arm(engine, market, datetime.now(UTC) + lasts, by)
    async with _notifier(settings) as notifier:
        await notifier.arming_changed(market, until=armed.until, by=by, at=armed.since)
    return f"{market} is armed until {when(armed.until)}: orders are sent with real money"


async def disarm_market(settings: Settings, market: str) -> str:
    """Take the permission for real orders back at once. Raises `UnknownMarket`."""
    check_market(market)
    by = f"cli:{getuser()}"
    async with database(settings) as engine:
        disarmed = await armings.disarm(engine, market, by)
    async with _notifier(settings) as notifier:
        await notifier.arming_changed(market, until=None, by=by, at=disarmed.since)
    return f"{market} is not armed: no real order is sent; orders that rest at the venue stay there"


async def keep_account(settings: Settings, market: str) -> str:
    """Say that the key of a market was renewed and the account is the same. Raises `UnknownMarket`."""
    account = settings.account(market)
    async with database(settings) as engine:
        before = await accounts.rename(engine, market, account)
    if before is None:
        return f"{market} has no journal yet; the first worker begins it"
    return f"the journal of {market} was of {before} and is of {account} now"


async def _where_orders_go(settings: Settings, engine: AsyncEngine, now: datetime) -> list[str]:
    """One line per market: paper, live and armed, or live and not armed."""
    until = {row.market: row.until for row in await armings.in_force(engine, now)}
    lines = []
    for market in MARKETS:
        if not settings.live(market):
            lines.append(f"{market}: paper")
        elif market in until:
            lines.append(f"{market}: LIVE, armed until {when(until[market])}")
        else:
            lines.append(f"{market}: live, not armed: no order is sent")
    return lines


async def set_trading_state(settings: Settings, state: str, market: str, symbol: str, reason: str, hours: float) -> str:
    """Put a scope into a state. Raises `UnknownMarket`."""
    if market:
        check_market(market)
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    row = TradingState(State(state), reason, until, market or None, symbol or None)
    by = f"cli:{getuser()}"
    async with database(settings) as engine, _notifier(settings) as notifier:
        await change_trading_state(engine, notifier, row, by)
    return _state_line(row)


async def change_trading_state(engine: AsyncEngine, notifier: TradeNotifier, row: TradingState, by: str) -> None:
    """Put a scope into a state and tell the trade chat; `by` says who did."""
    await trading_states.write(engine, row, by=by)
    await notifier.trading_state_changed(row, by=by, at=datetime.now(UTC))


@asynccontextmanager
async def _notifier(settings: Settings) -> AsyncIterator[TradeNotifier]:
    """Tells the trade chat what the operator did; without Redis once that is back."""
    redis = open_redis(settings.redis_url)
    try:
        yield TradeNotifier(
            redis,
            settings.notify_language,
            enabled=settings.telegram_enabled,
            mode=settings.trading_mode,
            spool=spool_of(settings),
        )
    finally:
        await redis.aclose()


def _state_line(row: TradingState) -> str:
    scope = " ".join(part for part in (row.market, row.symbol) if part) or "everything"
    until = f" until {when(row.until)}" if row.until else ""
    return f"trading of {scope} is {row.state}{until}: {row.reason}"


def when(at: datetime) -> str:
    """A time in KST, to the second."""
    return f"{at.astimezone(KST):%m-%d %H:%M:%S}"


def money(value: Decimal) -> str:
    """A figure with separators and no trailing zeros."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
