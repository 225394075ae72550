"""Asks language models for advice, one after the other, until one answers as it was asked to.

Each failure is an attempt with a name; when no model is left there is no advice, and never an older one in its place.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from pydantic_ai import Agent, capture_run_messages
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage

from telemetry import instruments
from telemetry.redaction import redact
from trading.prompt import Prompt
from workers.llm.advice import Advice
from workers.llm.blocks import ANY_MODEL, Blocks, digest
from workers.llm.failures import OUTCOMES, judge, may_be_billed
from workers.llm.models import keys_of, open_agent

log = logging.getLogger(__name__)

# an attempt that could not end within this is not begun
SHORTEST_SECONDS = 1.0
LONGEST_REPLY = 20_000
# what an answer of a model without a known price counts for in the budget, and a request whose usage nobody told
UNKNOWN_COST = Decimal("0.05")

_tracer = trace.get_tracer("autotrader")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question to one model. `key` is a hash; `cost` in USD, by list prices, guessed where usage or price is not
    known; `reply` is what it said, cut, and `error` why that is no advice."""

    model: str
    key: str
    outcome: str
    seconds: float
    input_tokens: int
    output_tokens: int
    cost: Decimal
    reply: str
    error: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The advice, if any model gave one, and all attempts in order. `outcome` is the last one's; `closed` and
    `deadline` stand for none that could be begun."""

    advice: Advice | None
    model: str
    outcome: str
    attempts: tuple[Attempt, ...]


class LlmAnalyst:
    """One per worker process. `models` are tried in order, `keys` in turn; `timeout` is of one attempt, `deadline`
    of all of them, in seconds. Raises `BadModel`."""

    def __init__(
        self,
        models: Sequence[str],
        keys: Sequence[str],
        blocks: Blocks,
        *,
        base_url: str = "",
        timeout: float = 30.0,
        deadline: float = 60.0,
    ) -> None:
        self._blocks = blocks
        self._timeout = timeout
        self._deadline = deadline
        self._secrets = tuple(keys)
        self._agents = {(name, key): open_agent(name, key, base_url) for name in models for key in keys_of(name, keys)}
        self._models = {name: keys_of(name, keys) for name in models}
        self._turn = itertools.count()
        for counter, names in ((instruments.llm_calls, OUTCOMES), (instruments.llm_tokens, ("input", "output"))):
            attribute = "outcome" if counter is instruments.llm_calls else "type"
            instruments.start_at_zero(counter, model=list(models), **{attribute: names})
        instruments.start_at_zero(instruments.llm_cost, model=list(models))

    async def ask(self, prompt: Prompt, attempts: list[Attempt] | None = None) -> Answer:
        """The first advice of a model, or none. Each attempt is put into `attempts` when it ends, also where this is
        cancelled or raises: it may have cost money. Raises `RedisError`."""
        ends = time.monotonic() + self._deadline
        attempts = [] if attempts is None else attempts
        outcome, asked = "closed", ""
        for model, keys in self._models.items():
            for key in self._in_turn(keys):
                left = ends - time.monotonic()
                if left < SHORTEST_SECONDS:
                    return Answer(None, asked or model, "deadline", tuple(attempts))
                if await self._blocks.is_closed(model, key):
                    continue
                advice, go_on = await self._attempt(model, key, prompt, min(left, self._timeout), attempts)
                outcome, asked = attempts[-1].outcome, model
                if advice is not None:
                    return Answer(advice, model, outcome, tuple(attempts))
                if not go_on:
                    break
        return Answer(None, asked or next(iter(self._models)), outcome, tuple(attempts))

    def _in_turn(self, keys: Sequence[str]) -> Iterator[str]:
        start = next(self._turn) % len(keys) if keys else 0
        return iter((*keys[start:], *keys[:start]))

    async def _attempt(
        self, model: str, key: str, prompt: Prompt, seconds: float, attempts: list[Attempt]
    ) -> tuple[Advice | None, bool]:
        """The advice or None, and whether another key of the model may be tried. The attempt is put into `attempts`,
        whatever ends it."""
        usage, started = RunUsage(), time.perf_counter()
        advice, outcome, error, go_on, untold = None, "ok", "", False, False
        with (
            # the request's own span has the names of `gen_ai.`: whoever counts those would count this one, too
            _tracer.start_as_current_span("call_gemini_api", attributes={"llm.model": model}) as span,
            capture_run_messages() as messages,
        ):
            try:
                advice = await _run(self._agents[model, key], prompt, seconds, usage)
            except asyncio.CancelledError:
                outcome, error, untold = "cancelled", "cancelled before the model had answered", True
                raise
            except Exception as raised:  # noqa: BLE001 - `judge` raises again what is no failure of a model
                outcome, untold = "error", may_be_billed(raised)
                error = redact(str(raised) or type(raised).__name__, self._secrets)[:LONGEST_REPLY]
                failure = judge(raised)
                outcome, go_on = failure.outcome, failure.next_key
                if failure.closed:
                    await self._blocks.close(ANY_MODEL if failure.whole_key else model, key, failure.closed, outcome)
                log.warning("%s gave no advice: %s (%s)", model, outcome, error[:300])
                span.set_status(Status(StatusCode.ERROR, outcome))
            finally:
                span.set_attribute("result", outcome)
                attempt = Attempt(
                    model=model,
                    key=digest(key) if key else "",
                    outcome=outcome,
                    seconds=time.perf_counter() - started,
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cost=_cost(usage, untold=untold),
                    reply=redact(_reply(messages), self._secrets)[:LONGEST_REPLY],
                    error=error,
                )
                attempts.append(attempt)
                _count(attempt)
        return advice, go_on


async def _run(agent: Agent[None, Advice], prompt: Prompt, seconds: float, usage: RunUsage) -> Advice:
    async with asyncio.timeout(seconds):
        settings = ModelSettings(timeout=seconds, temperature=0.0)
        found = await agent.run(prompt.user, instructions=prompt.system, model_settings=settings, usage=usage)
    return found.output


def _cost(usage: RunUsage, *, untold: bool) -> Decimal:
    """What the attempt cost, in USD; `untold` says that its last request may have cost what `usage` does not tell."""
    guessed = usage.unmeasured_requests + untold
    if usage.cost is None and (usage.input_tokens or usage.output_tokens):
        # answers of a model without a known price
        guessed += max(1, usage.requests - usage.unmeasured_requests)
    return Decimal(usage.cost or 0) + UNKNOWN_COST * guessed


def _reply(messages: Sequence[ModelMessage]) -> str:
    """All that the model said, oldest first."""
    said = [message.text or "" for message in messages if isinstance(message, ModelResponse)]
    return "\n---\n".join(text for text in said if text)


def _count(attempt: Attempt) -> None:
    instruments.llm_calls.add(1, {"model": attempt.model, "outcome": attempt.outcome})
    instruments.llm_duration.record(attempt.seconds, {"model": attempt.model, "outcome": attempt.outcome})
    instruments.llm_tokens.add(attempt.input_tokens, {"model": attempt.model, "type": "input"})
    instruments.llm_tokens.add(attempt.output_tokens, {"model": attempt.model, "type": "output"})
    instruments.llm_cost.add(float(attempt.cost), {"model": attempt.model})
