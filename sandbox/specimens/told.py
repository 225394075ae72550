"""Tells one message of each kind, in the order of a day, each when the one before has arrived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

from redis.asyncio import Redis

from notifications import life_texts, pictures, quiet_texts
from notifications.alert import Alert, system_event
from notifications.ledger import Ledger
from notifications.trades import TradeNotifier
from notifications.words import words
from sandbox.specimens.charts import equity_chart, price_chart
from sandbox.specimens.figures import (
    ANALYSIS,
    APPLE,
    BTC,
    BTC_PRICE,
    ETH,
    HYNIX,
    NOW,
    NVIDIA,
    RUN,
    SAMSUNG,
    SOL,
    TRACE,
    analysis,
    by_hand,
    exit_of,
    intent,
    placement,
    report,
    run_summary,
)
from settings import Settings
from trading.exits import ExitKind
from trading.state import State, TradingState
from trading.types import Decision, OrderState, Side

Telling = Callable[[], Awaitable[object]]

BUY_REASONS = (
    "RSI 31.2로 과매도 구간에서 반등",
    "MACD 히스토그램이 음수에서 양수로 전환",
    "20일 이동평균선 위로 복귀, 거래량 1.8배",
)
HOLD_REASONS = ("볼린저 밴드 중앙에서 횡보", "거래량 감소", "다음 주 실적 발표")
SELL_REASONS = ("RSI 74.8로 과매수", "저항선 643,000원에서 두 번 막힘", "스토캐스틱 하락 교차")
DAY = timedelta(days=1)


async def tellings(redis: Redis, settings: Settings) -> list[Telling]:
    """The messages, as calls that record one alert each."""
    notifier = TradeNotifier(redis, settings.notify_language)
    chart = await pictures.keep(redis, price_chart())
    curve = await pictures.keep(redis, equity_chart())
    return [*_trading(notifier, chart), *_guarding(notifier), *_reporting(notifier, curve), *_living(redis, settings)]


def _trading(notifier: TradeNotifier, chart: str) -> Iterator[Telling]:
    buy = analysis(BTC_PRICE, Decision.BUY, 82, BUY_REASONS, D(1000))
    hold = analysis(D("254.57"), Decision.HOLD, 64, HOLD_REASONS, D("0.01"))
    sell = analysis(D(628_000), Decision.SELL, 43, SELL_REASONS, D(1000))
    ladder = [intent(BTC, Side.BUY, "0.00228571", "131240000", 2), intent(BTC, Side.BUY, "0.00230769", "129990000", 3)]
    first = intent(BTC, Side.BUY, "0.00228571", "131250000")
    second = intent(ETH, Side.SELL, "0.41", "4470000")
    yield lambda: notifier.analysis_complete(BTC, buy, run_id=RUN, analysis_id=ANALYSIS, trace_id=TRACE, picture=chart)
    yield lambda: notifier.order(
        BTC,
        first,
        placement(OrderState.FILLED, ("0.0015", "131248000", "98.43"), ("0.00078571", "131250000", "51.56")),
        run_id=RUN,
        trace_id=TRACE,
    )
    yield lambda: notifier.ladder(BTC, Side.BUY, ladder, analysis_id=ANALYSIS, at=NOW, trace_id=TRACE)
    yield lambda: notifier.orders_cancelled(BTC, Side.BUY, 2, analysis_id=ANALYSIS, at=NOW, trace_id=TRACE)
    yield lambda: notifier.order(
        ETH, second, placement(OrderState.PARTLY_FILLED, ("0.18", "4470000", "402.3")), run_id=RUN, trace_id=TRACE
    )
    yield lambda: notifier.analysis_complete(APPLE, hold, run_id=RUN, analysis_id=ANALYSIS, trace_id=TRACE)
    yield lambda: notifier.analysis_complete(HYNIX, sell, run_id=RUN, analysis_id=ANALYSIS, trace_id=TRACE)
    yield lambda: notifier.order(
        NVIDIA,
        intent(NVIDIA, Side.BUY, "5", "181.42"),
        placement(OrderState.REJECTED, reason="주문가능금액을 초과했습니다"),
        run_id=RUN,
        trace_id=TRACE,
    )
    yield lambda: notifier.insufficient_cash(
        SAMSUNG, Side.BUY, have=D(112_400), need=D(178_727), at=NOW, run_id=RUN, trace_id=TRACE
    )
    yield lambda: notifier.adopted_order("upbit", by_hand(), at=NOW, trace_id=TRACE)
    yield lambda: notifier.run_summary(run_summary(), run_id=RUN, at=NOW, trace_id=TRACE)


def _guarding(notifier: TradeNotifier) -> Iterator[Telling]:
    stop = exit_of(ExitKind.STOP_LOSS, "1.7362", "164900", "165793", "172700")
    target = exit_of(ExitKind.TAKE_PROFIT, "10", "196000", "194590", "176900")
    loss = TradingState(State.REDUCING, "하루 손실 한도 -3.00% 도달", NOW + DAY / 2, "upbit")
    halted = TradingState(State.HALTED, "거래소 점검", NOW + DAY / 4, "kis")
    yield lambda: notifier.exit_begun(SOL, stop, exit_id="1", average_price=D(172_700), at=NOW, trace_id=TRACE)
    yield lambda: notifier.exit_ended(
        SOL, ExitKind.STOP_LOSS, "sold_all", exit_id="1", wanted=D("1.7362"), sold=D("1.7362"), proceeds=D(286_150),
        at=NOW, trace_id=TRACE,
    )  # fmt: skip
    yield lambda: notifier.exit_begun(SAMSUNG, target, exit_id="2", average_price=D(176_900), at=NOW, trace_id=TRACE)
    yield lambda: notifier.circuit_breaker(loss, at=NOW, loss=D("0.0317"), limit=D("0.03"), trace_id=TRACE)
    yield lambda: notifier.trading_state_changed(halted, by="telegram: kim", at=NOW, trace_id=TRACE)
    yield lambda: notifier.arming_changed("upbit", until=NOW + DAY / 3, by="cli: kim", at=NOW, trace_id=TRACE)
    yield lambda: notifier.arming_changed(
        "upbit", until=None, by="telegram: kim", at=NOW + timedelta(seconds=1), trace_id=TRACE
    )
    unproven = intent(BTC, Side.BUY, "0.00228571", "131250000", 3)
    yield lambda: notifier.unproven_order(unproven, age_seconds=61, at=NOW, trace_id=TRACE)
    yield lambda: notifier.ambiguous_order(
        unproven, reason="같은 가격과 수량의 주문이 둘 있습니다", at=NOW, trace_id=TRACE
    )
    yield lambda: notifier.exit_not_armed(SAMSUNG, target, average_price=D(176_900), at=NOW, trace_id=TRACE)


def _reporting(notifier: TradeNotifier, curve: str) -> Iterator[Telling]:
    morning = NOW.replace(hour=0, minute=0, second=0)
    day = report("day", morning - DAY, morning)
    week = report("week", morning - 7 * DAY, morning)
    yield lambda: notifier.report(day, at=NOW, picture=curve)
    yield lambda: notifier.report(week, at=NOW)


def _living(redis: Redis, settings: Settings) -> Iterator[Telling]:
    ledger, texts = Ledger(redis), words(settings.notify_language)
    last = NOW.timestamp()
    events = {
        "worker_silent": life_texts.worker_silent(texts, "upbit", last=last - 127, silent=127, at=NOW),
        "worker_back": life_texts.worker_back(texts, "upbit", at=NOW),
        "beat_silent": life_texts.beat_silent(texts, last=last - 92, silent=92, at=NOW),
        "beat_back": life_texts.beat_back(texts, at=NOW),
    }
    for name, message in events.items():
        yield lambda name=name, message=message: ledger.record(system_event(name, message, NOW))  # type: ignore[misc]
    moved = life_texts.chat_moved(
        texts, setting="ERROR_REPORTING_CHAT_ID", old="-4000000001", new="-1001987654321", at=NOW
    )
    yield lambda: ledger.record(replace(system_event("chat_moved", moved, NOW), kind="chat_moved"))
    kept = [
        quiet_texts.Kept("analysis_complete", f"🤚 AI 분석 완료 {symbol}", count, NOW - timedelta(minutes=minutes))
        for symbol, count, minutes in (("KRW-BTC", 8, 64), ("KRW-ETH", 8, 63), ("AAPL", 13, 31))
    ]
    summary = quiet_texts.quiet_summary(texts, "23:00-07:00", kept, NOW)
    yield lambda: ledger.record(Alert("quiet", "quiet_summary", summary, NOW, once=True))
