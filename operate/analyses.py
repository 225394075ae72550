"""Analyses: have one made now, and say what one was made from and what came of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from operate.connections import database
from operate.errors import CannotAnswer, of_redis
from operate.fault_words import fault_words
from operate.texts import in_brackets, money, when
from operate.view_words import ViewWords, view_words
from settings import Settings
from storage import analyses, llm_calls, runs
from storage import orders as journal
from storage.errors import NotFound
from storage.redis import RedisUnavailable, check_redis, open_redis
from telemetry.trace_ids import current_trace_id

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Requested:
    """An analysis that was queued: the run that was opened for it, and its task."""

    run_id: uuid.UUID
    task_id: str


def _unheard(_: Mapping[str, Any]) -> None: ...


async def analyze_now(
    settings: Settings, market: str, symbol: str, patience: float, heard: Callable[[Mapping[str, Any]], None] = _unheard
) -> str:
    """Open a run of one symbol, have the market's worker see to it, and explain the result.

    Waits `patience` seconds for the worker. `heard` is given what Celery keeps of the task each time that it changes,
    in a thread.
    """
    why = fault_words(settings.notify_language)
    async with database(settings) as engine:
        redis = open_redis(settings.redis_url)
        try:
            await check_redis(redis, settings.redis_url)
        except RedisUnavailable as error:
            raise CannotAnswer(of_redis(why, error)) from None
        finally:
            await redis.aclose()
        from celery.exceptions import TimeoutError as NoResult

        from tasks.analysis import analyze_and_trade

        asked = await request_analysis(engine, market, symbol)
        result = analyze_and_trade.AsyncResult(asked.task_id)
        until = time.monotonic() + patience
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise CannotAnswer(why.no_result.format(seconds=f"{patience:g}", market=market))
            try:
                # a thread cannot be interrupted, and whoever waits here may have to stop
                outcome = await asyncio.to_thread(
                    result.get, timeout=min(left, LOOK_SECONDS), propagate=False, on_message=heard
                )
                break
            except NoResult:
                continue
        if isinstance(outcome, BaseException):
            raise CannotAnswer(why.task_failed.format(reason=f"{type(outcome).__name__}: {outcome}"))
        stored = await analyses.find(engine, asked.run_id, symbol)
        if stored is None:
            return f"{symbol}: {outcome['outcome']}"
        return await _explained(view_words(settings.notify_language), engine, stored.id, outcome["outcome"])


async def request_analysis(engine: AsyncEngine, market: str, symbol: str) -> Requested:
    """Open a run of one symbol and queue its analysis. Raises what the broker raises; then the run says so."""
    from kombu.exceptions import OperationalError

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
    why = fault_words(settings.notify_language)
    try:
        wanted = uuid.UUID(analysis_id)
    except ValueError:
        raise CannotAnswer(why.no_id.format(value=analysis_id)) from None
    async with database(settings) as engine:
        try:
            return await _explained(view_words(settings.notify_language), engine, wanted, None)
        except NotFound:
            raise CannotAnswer(why.no_analysis.format(id=wanted)) from None


async def _explained(told: ViewWords, engine: AsyncEngine, analysis_id: uuid.UUID, outcome: str | None) -> str:
    stored = await analyses.get(engine, analysis_id)
    analysis = stored.analysis
    lines = [
        told.analysis.format(
            market=stored.market,
            symbol=stored.symbol,
            decision=told.decisions[analysis.decision],
            confidence=analysis.confidence,
            price=money(analysis.price),
            model=analysis.model,
            at=when(analysis.at),
        ),
        *(f"  {number}. {reason}" for number, reason in enumerate(analysis.reasons, 1)),
    ]
    for name, shown in told.ranges.items():
        bounds = getattr(analysis.ranges, name)
        lines.append(told.bounds.format(name=shown, low=money(bounds.min), high=money(bounds.max)))
    known = {name: value for name, value in stored.indicators.items() if value is not None}
    lines.append(told.indicators.format(values=", ".join(f"{name} {value:.4g}" for name, value in known.items())))
    if outcome:
        lines.append(told.outcome.format(outcome=outcome))
    for order in await journal.for_analysis(engine, analysis_id):
        intent = order.intent
        lines.append(
            told.order_of.format(
                order=intent.client_order_id,
                side=told.sides[intent.side],
                quantity=intent.quantity,
                price=money(intent.price),
                currency=intent.currency,
                state=told.order_states[order.state],
                reason=in_brackets(order.reason),
            )
        )
    lines += _asked(told, await llm_calls.of_analysis(engine, stored.run_id, stored.symbol))
    lines.append(told.ids.format(analysis=stored.id, run=stored.run_id, trace=stored.trace_id or told.no_trace))
    return "\n".join(lines)


def _asked(told: ViewWords, calls: Sequence[llm_calls.LlmCall]) -> list[str]:
    """What language models were asked for it and said, as lines."""
    lines = []
    for call in calls:
        if call.prompt:
            lines += [told.asked, *(f"  {line}" for line in call.prompt.splitlines())]
        lines.append(
            told.answered.format(
                model=call.model,
                outcome=call.outcome,
                seconds=f"{call.seconds:.1f}",
                read=call.input_tokens,
                written=call.output_tokens,
                cost=f"{call.cost:.6f}",
            )
        )
        lines += [f"  {line}" for text in (call.reply, call.error) for line in text.splitlines()]
    return lines
