"""Who judges a symbol: the rules, or a language model whose answer passes every check of the validator."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from opentelemetry import trace
from redis.asyncio import Redis

from settings import Settings
from storage import llm_calls
from tasks import fundamentals
from tasks.strategies import thresholds_of
from telemetry import simulation
from telemetry.instruments import llm_budget_left
from telemetry.trace_ids import current_trace_id
from trading import analyst, market_risk, prompt
from trading.checks.prices import quote_moved
from trading.indicators import Indicators
from trading.periods import kst_day, starts
from trading.signals import Language
from trading.snapshot import Snapshot
from trading.thresholds import Thresholds
from trading.types import Analysis, Candle, Decision, Instrument, Position, Quote
from trading.validator import CHECKS, PRICE_CHECKS, validate
from workers.runtime import Runtime

if TYPE_CHECKING:
    from workers.llm.analyst import Attempt, LlmAnalyst

log = logging.getLogger(__name__)

# what other coins fall with
REFERENCE = {"upbit": "KRW-BTC"}
REFERENCE_DAYS = 8
# of what a cancelled task has to write down how it ended
KEEP_SECONDS = 4.0
RULES: dict[str, dict[Language, str]] = {
    "llm_budget": {"ko": "오늘의 AI 예산을 모두 썼습니다", "en": "Today's budget for models is spent"},
    "llm_closed": {"ko": "모든 AI 모델이 잠시 막혀 있습니다", "en": "Every model is closed for a while"},
    "llm_deadline": {"ko": "AI 응답을 기다릴 시간이 다 됐습니다", "en": "No time is left to wait for a model"},
    "llm_timeout": {"ko": "AI 모델이 제때 답하지 않았습니다", "en": "No model answered in time"},
    "llm_safety": {"ko": "AI 모델이 안전 정책으로 답을 멈췄습니다", "en": "The models stopped for safety"},
    "llm_truncated": {"ko": "AI 응답이 중간에 끊겼습니다", "en": "The answer was cut off"},
    "llm_invalid": {"ko": "AI 응답이 정해진 형식이 아닙니다", "en": "The answers were not in the form asked for"},
    "llm_throttled": {"ko": "AI 모델의 호출 한도를 넘었습니다", "en": "The models refused for rate"},
    "llm_quota": {"ko": "AI 모델의 사용량을 모두 썼습니다", "en": "The quota of the models is spent"},
    "llm_failed": {"ko": "AI 모델을 쓸 수 없습니다", "en": "The models cannot be used"},
}  # fmt: skip

_tracer = trace.get_tracer("autotrader")


@dataclass(frozen=True, slots=True)
class Material:
    """All that an analysis is made from, checked."""

    instrument: Instrument
    daily: Sequence[Candle]
    hourly: Sequence[Candle]
    quote: Quote
    indicators: Indicators
    position: Position


@dataclass(frozen=True, slots=True)
class Judged:
    """A validated analysis and the quote that it was validated with, to trade on."""

    analysis: Analysis
    quote: Quote


async def judge(runtime: Runtime, run_id: uuid.UUID, material: Material) -> Judged:
    """What the analyst of the settings makes of it, validated. A model that gives no advice is a HOLD that says why.

    A model may take a minute, so what it advises to trade is judged by a quote from after its answer. Raises what
    storage and Redis raise, `BadQuote`, and what that quote raises.
    """
    if runtime.settings.analyst == "rules":
        return Judged(_by_rules(material, runtime.settings), material.quote)
    return await _by_model(runtime, run_id, material)


def still_holds(settings: Settings, market: str, analysis: Analysis, quote: Quote) -> Analysis:
    """A stored analysis itself, or a HOLD where the price has moved too far since it was made. Raises `BadQuote`."""
    if analysis.decision is Decision.HOLD:
        return analysis
    limits = thresholds_of(settings, market, quote.symbol)
    return validate(
        analysis, None, quote, None, thresholds=limits, checks=(quote_moved,), language=settings.notify_language
    )


def gave_no_advice(analysis: Analysis) -> bool:
    """Whether it is the HOLD that stands for models that gave none."""
    return analysis.rejected_by in RULES


def _by_rules(material: Material, settings: Settings) -> Analysis:
    language = settings.notify_language
    with _tracer.start_as_current_span("analyse"):
        made = analyst.analyse(
            material.instrument,
            material.daily,
            material.hourly,
            material.quote,
            material.position,
            language=language,
            indicators=material.indicators,
        )
        # its signals are made of the indicators already
        return validate(
            made,
            material.indicators,
            material.quote,
            None,
            thresholds=_thresholds(material, settings),
            checks=PRICE_CHECKS,
            language=language,
        )


async def _by_model(runtime: Runtime, run_id: uuid.UUID, material: Material) -> Judged:
    from workers.llm.advice import no_advice

    settings, quote = runtime.settings, material.quote
    language = settings.notify_language
    if await _is_spent(runtime):
        return Judged(no_advice(RULES["llm_budget"][language], settings.llm_models[0], quote, "llm_budget"), quote)
    client = await runtime.market(material.instrument.market)
    known = await fundamentals.of(client, material.instrument)
    with _tracer.start_as_current_span("build_prompt") as span:
        asked = prompt.build(_snapshot(material, known), language)
        span.set_attribute("prompt.length", len(asked.user))
    attempts: list[Attempt] = []
    try:
        with simulation.real():
            # a model takes money for it, whatever world it is asked about
            answer = await model_of(runtime).ask(asked, attempts)
    except BaseException:
        # also where this is cancelled: a budget that misses what was paid is none
        await _ended(_keeping(runtime, run_id, material.instrument, asked, attempts))
        raise
    await _kept(_keeping(runtime, run_id, material.instrument, asked, attempts))
    if answer.advice is None:
        rule = f"llm_{answer.outcome}" if f"llm_{answer.outcome}" in RULES else "llm_failed"
        return Judged(no_advice(RULES[rule][language], answer.model, quote, rule), quote)
    made = answer.advice.analysis(answer.model, quote)
    if made.decision is not Decision.HOLD:
        quote = await client.quote(material.instrument.symbol)
    limits = _thresholds(material, settings)
    reference = await _reference(runtime, material.instrument)
    risk = market_risk.assess(material.daily, material.hourly, reference, limits)
    checked = validate(made, material.indicators, quote, risk, thresholds=limits, checks=CHECKS, language=language)
    return Judged(checked, quote)


def _thresholds(material: Material, settings: Settings) -> Thresholds:
    return thresholds_of(settings, material.instrument.market, material.instrument.symbol)


def _snapshot(material: Material, known: Mapping[str, Decimal | None]) -> Snapshot:
    return Snapshot(
        instrument=material.instrument,
        quote=material.quote,
        daily=material.daily,
        hourly=material.hourly,
        indicators=material.indicators,
        position=material.position,
        fundamentals=known,
    )


async def _is_spent(runtime: Runtime) -> bool:
    budget = runtime.settings.llm_budget_usd_per_day
    if not budget:
        return False
    today = starts(kst_day(datetime.now(UTC)))
    left = budget - await llm_calls.spent_since(runtime.engine, today)
    llm_budget_left.set(float(max(left, Decimal(0))))
    return left <= 0


def _keeping(
    runtime: Runtime, run_id: uuid.UUID, instrument: Instrument, asked: prompt.Prompt, attempts: Sequence[Attempt]
) -> asyncio.Task[None]:
    """Store what was asked, in a task of its own, which nobody cancels with the analysis."""
    text = f"{asked.system}\n\n{asked.user}"
    storing = llm_calls.store(
        runtime.engine,
        [
            llm_calls.LlmCall(
                model=attempt.model,
                key=attempt.key,
                outcome=attempt.outcome,
                seconds=attempt.seconds,
                input_tokens=attempt.input_tokens,
                output_tokens=attempt.output_tokens,
                cost=attempt.cost,
                # all attempts of an analysis are asked the same
                prompt="" if number else text,
                reply=attempt.reply,
                error=attempt.error,
            )
            for number, attempt in enumerate(attempts)
        ],
        run_id=run_id,
        market=instrument.market,
        symbol=instrument.symbol,
        prompt_version=prompt.VERSION,
        trace_id=current_trace_id(),
    )
    return asyncio.create_task(storing)


async def _kept(storing: asyncio.Task[None]) -> None:
    """Wait until it is stored. Raises what the storage raises."""
    try:
        await asyncio.shield(storing)
    except asyncio.CancelledError:
        await _ended(storing)
        raise


async def _ended(storing: asyncio.Task[None]) -> None:
    """Wait for it while another error, or a cancellation, is on its way: what the storage raises is logged."""
    await asyncio.wait([storing], timeout=KEEP_SECONDS)
    if not storing.done():
        storing.cancel()
        log.error("what was asked of models was not stored within %g s: today's budget misses it", KEEP_SECONDS)
    elif not storing.cancelled() and (error := storing.exception()) is not None:
        log.error("what was asked of models was not stored: today's budget misses it", exc_info=error)


async def _reference(runtime: Runtime, instrument: Instrument) -> Sequence[Candle] | None:
    """The last days of what the market follows; None where nothing leads it."""
    symbol = REFERENCE.get(instrument.market)
    if symbol is None or symbol == instrument.symbol:
        return None
    client = await runtime.market(instrument.market)
    return await client.candles(symbol, REFERENCE_DAYS)


def prepare(runtime: Runtime) -> None:
    """Open the language models where they are asked: their libraries take seconds to import, in which the event loop of
    a running worker would answer nobody. Raises `BadModel`."""
    if runtime.settings.analyst == "llm":
        model_of(runtime)


def model_of(runtime: Runtime) -> LlmAnalyst:
    """The language models of this process, opened once, for a replay in it too. Raises `BadModel`."""
    settings = runtime.settings
    return _open(
        runtime.redis,
        settings.llm_models,
        settings.google_keys,
        settings.gemini_base_url,
        settings.llm_timeout_seconds,
        settings.llm_deadline_seconds,
    )


@lru_cache(maxsize=1)
def _open(
    redis: Redis, models: tuple[str, ...], keys: tuple[str, ...], base_url: str, timeout: float, deadline: float
) -> LlmAnalyst:
    # heavy, and not needed where the rules decide
    from workers.llm.analyst import LlmAnalyst
    from workers.llm.blocks import Blocks

    return LlmAnalyst(models, keys, Blocks(redis), base_url=base_url, timeout=timeout, deadline=deadline)
