"""One symbol through the house: collect, analyse, store, decide, order, tell. Each step is a span."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from opentelemetry import trace

from notifications.trades import TradeNotifier
from storage import analyses, sightings
from tasks import pictures
from tasks.analysts import Material, gave_no_advice, judge, still_holds
from tasks.desks import notifier_of
from tasks.progress import tell
from tasks.trade import Analysed, trade
from telemetry import simulation
from telemetry.instruments import ai_decisions, ai_rejections, analysis_duration, analysis_executions, data_age
from telemetry.trace_ids import current_trace_id
from trading import candles, indicators
from trading.confidence import confidence_range
from trading.markets import ASSET_TYPES
from trading.types import Candle, Instrument, Quote
from workers.ports import MarketData
from workers.runtime import Runtime

DAILY_CANDLES = 200
MINUTE_UNIT = 60
MINUTE_CANDLES = 24
# collecting, analysing, trading
STEPS = 3

log = logging.getLogger(__name__)
_tracer = trace.get_tracer("autotrader")


@dataclass(frozen=True, slots=True)
class Collected:
    """All that an analysis of one symbol is made from."""

    instrument: Instrument
    daily: list[Candle]
    minutes: list[Candle]
    quote: Quote


@dataclass(frozen=True, slots=True)
class Fresh(Analysed):
    """An analysis that was made just now, with the daily candles it was made from."""

    daily: list[Candle]


async def analyse_and_trade(runtime: Runtime, market: str, symbol: str, run_id: uuid.UUID) -> str:
    """Analyse, store, trade and tell; returns the outcome's name.

    An analysis that an earlier delivery of the message stored is used again, not made anew.
    """
    client = await runtime.market(market)
    analysed = await resume(runtime, client, symbol, run_id) or await analyse(runtime, client, symbol, run_id)
    await tell(2, STEPS, "trading")
    notifier, picture = notifier_of(runtime), True
    try:
        return await trade(runtime, notifier, analysed, runtime.now())
    except asyncio.CancelledError:
        # out of time: its text alone
        picture = False
        raise
    finally:
        # after the orders, for none of them waits for a picture; and also where one failed
        await show(runtime, notifier, analysed, picture=picture)


async def show(runtime: Runtime, notifier: TradeNotifier, analysed: Analysed, *, picture: bool) -> None:
    """Tell the analysis and keep what the desk draws of it. A chart shows the orders that were just placed, too."""
    drawn = ""
    if picture and isinstance(analysed, Fresh):
        if not simulation.is_simulated():
            await sightings.keep(runtime.redis, analysed.instrument, analysed.daily)
        drawn = await pictures.of_analysis(runtime, analysed, analysed.daily)
    await notifier.analysis_complete(
        analysed.instrument,
        analysed.analysis,
        run_id=str(analysed.run_id),
        analysis_id=str(analysed.analysis_id),
        picture=drawn,
    )


async def resume(runtime: Runtime, client: MarketData, symbol: str, run_id: uuid.UUID) -> Analysed | None:
    """The analysis this run already stored for the symbol, with a fresh quote, or None. Where the price has moved too
    far since, it is a HOLD that says so: what was stored stays as it is."""
    stored = await analyses.find(runtime.engine, run_id, symbol)
    if stored is None:
        return None
    instrument, quote = await asyncio.gather(client.instrument(symbol), client.quote(symbol))
    analysis = still_holds(runtime.settings, client.market, stored.analysis, quote)
    if analysis.rejected_by != stored.analysis.rejected_by:
        log.warning("%s: nothing is traded: %s", symbol, analysis.reasons[-1])
        ai_rejections.add(1, {"rule": str(analysis.rejected_by)})
    return Analysed(run_id, stored.id, instrument, analysis, quote)


async def analyse(runtime: Runtime, client: MarketData, symbol: str, run_id: uuid.UUID) -> Fresh:
    """Collect, compute, decide and store, under the seeds' span and metrics."""
    market, started = client.market, time.perf_counter()
    tags = {"asset_type": ASSET_TYPES.get(market, "other"), "market": market}
    with _tracer.start_as_current_span(f"analyze_coin: {symbol}") as span:
        span.set_attributes({"coin.name": symbol, "market": market})
        try:
            await tell(0, STEPS, "collecting")
            data = await collect(client, symbol, runtime.now)
            await tell(1, STEPS, "analysing")
            with _tracer.start_as_current_span("add_indicators"):
                values = indicators.compute(data.daily)
            broker = await runtime.broker(market)
            account = await broker.account(data.instrument)
            material = Material(data.instrument, data.daily, data.minutes, data.quote, values, account.position)
            judged = await judge(runtime, run_id, material)
            analysis = judged.analysis
            if analysis.rejected_by is not None:
                ai_rejections.add(1, {"rule": analysis.rejected_by})
            stored = await analyses.store(
                runtime.engine,
                run_id=run_id,
                market=market,
                symbol=symbol,
                analysis=analysis,
                indicators=values.as_dict(),
                trace_id=current_trace_id(),
            )
        except BaseException:
            analysis_executions.add(1, {"status": "error", "asset_name": symbol, **tags})
            analysis_duration.record(milliseconds_since(started), {"status": "error", **tags})
            raise
        tags["model"] = analysis.model
        status = "no_advice" if gave_no_advice(analysis) else "success"
        decision = str(analysis.decision)
        analysis_executions.add(
            1,
            {
                "status": status,
                "asset_name": symbol,
                "decision": decision,
                "confidence_range": confidence_range(analysis.confidence),
                **tags,
            },
        )
        analysis_duration.record(milliseconds_since(started), {"status": status, **tags})
        ai_decisions.add(1, {"symbol": symbol, "decision": decision})
        span.set_attributes({"analysis.decision": decision, "analysis.confidence": analysis.confidence})
        span.set_attribute("analysis.id", str(stored.id))
    return Fresh(run_id, stored.id, data.instrument, analysis, judged.quote, data.daily)


async def collect(client: MarketData, symbol: str, now: Callable[[], datetime]) -> Collected:
    """Ask the venue for all of it at once; `now` is aware. Raises a `VenueError` or `BadCandles`."""
    with _tracer.start_as_current_span("collect_data") as span:
        # the name first: an unknown symbol is one refusal, not four
        instrument = await client.instrument(symbol)
        try:
            async with asyncio.TaskGroup() as group:
                daily = group.create_task(client.candles(symbol, DAILY_CANDLES))
                minutes = group.create_task(client.minute_candles(symbol, MINUTE_UNIT, MINUTE_CANDLES))
                quote = group.create_task(client.quote(symbol))
        except ExceptionGroup as errors:
            # the first is the cause, and the one whose type the alert should name
            raise errors.exceptions[0] from None
        span.set_attributes({"candles.daily": len(daily.result()), "candles.minutes": len(minutes.result())})
        candles.check(daily.result(), symbol=symbol, needed=indicators.MINIMUM_ROWS)
        candles.check_fresh(daily.result(), symbol=symbol, now=now())
        data_age.set((now() - quote.result().at).total_seconds(), {"market": client.market})
        return Collected(instrument, daily.result(), minutes.result(), quote.result())


def milliseconds_since(started: float) -> float:
    """Milliseconds since a `time.perf_counter()` value."""
    return (time.perf_counter() - started) * 1000
