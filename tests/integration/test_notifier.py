"""The notifier against a real Redis and the Bot API stand-in: what is recorded arrives, once, in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import notifying
import pytest
from notifying import ERROR_CHAT, TOKEN, TRADE_CHAT, made_settings, texts, waiting
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from notifications import delivery
from notifications.ledger import PREFIX, Recorded
from notifications.notifier import NotifierError, run_notifier
from notifications.pace import Pace
from notifications.reporter import ErrorReporter
from notifications.trades import TradeNotifier
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from trading.types import (
    Analysis,
    Decision,
    Fill,
    Instrument,
    OrderIntent,
    OrderState,
    Placement,
    PriceRange,
    PriceRanges,
    Side,
)

ROOT = Path(__file__).resolve().parents[2]
running = partial(notifying.running, stops_within=15)
until = waiting(10)
pytestmark = pytest.mark.usefixtures("own_spool")

APPLE = Instrument("yfinance", "AAPL", "Apple", "equity_us", "USD", Decimal(1), Decimal(1), Decimal(0))
RANGE = PriceRange(Decimal(230), Decimal(240))
ANALYSIS = Analysis(
    Decision.BUY,
    85,
    ("RSI 28",),
    PriceRanges(RANGE, RANGE, RANGE, RANGE),
    "rules",
    Decimal("234.5"),
    datetime(2025, 11, 8, 6, 25, 10, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    with LocalRedis(persist=True) as redis:
        yield redis


@pytest.fixture
async def redis(server: LocalRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def settings(redis: Redis, server: LocalRedis, sandbox: Sandbox) -> Settings:
    return made_settings(server.url, sandbox)


def requests(sandbox: Sandbox, method: str) -> list[dict[str, Any]]:
    return [request for request in sandbox.requests.listed() if request["path"].endswith(method)]


async def report(settings: Settings, error: BaseException, **where: Any) -> None:
    """Report from a thread, as a worker of the `threads` pool does."""
    reporter = ErrorReporter(settings)
    await asyncio.to_thread(reporter.report, error, **where)
    reporter.close()


async def test_an_error_reaches_the_error_chat_within_half_a_second(settings: Settings, sandbox: Sandbox) -> None:
    delays = []
    async with running(settings):
        await until(lambda: requests(sandbox, "/getMe"))
        for number in range(20):
            started = time.monotonic()
            where = {"task": "tasks.analysis.analyze_and_trade", "market": "upbit", "symbol": f"KRW-{number}"}
            await report(settings, TimeoutError("no answer"), trace_id="4bf92f35", **where)
            await until(lambda seen=number + 1: len(texts(sandbox, ERROR_CHAT)) == seen)
            delays.append(time.monotonic() - started)
    assert max(delays) < 0.5
    assert texts(sandbox, ERROR_CHAT)[0].startswith("⚠️ ERROR: TimeoutError\n")
    assert "KRW-0" in texts(sandbox, ERROR_CHAT)[0]
    assert "4bf92f35" in texts(sandbox, ERROR_CHAT)[0]
    assert not texts(sandbox, TRADE_CHAT)


REPORT_MANY = """
from notifications.reporter import ErrorReporter
from settings import Settings
reporter = ErrorReporter(Settings())
for number in range(125):
    reporter.report(TimeoutError(f"no answer after {number} ms"), task="t", market="upbit", symbol="KRW-BTC")
"""


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": settings.redis_url,
        "TELEGRAM_BASE_URL": settings.telegram_base_url,
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": settings.telegram_chat_id,
        "ERROR_REPORTING_CHAT_ID": settings.error_reporting_chat_id,
        "ERROR_DUPLICATE_WINDOW": str(settings.error_duplicate_window),
    }


async def python(code: str, settings: Settings) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environment(settings), cwd=ROOT)


async def test_500_equal_errors_of_four_processes_are_one_message_with_the_exact_count(
    server: LocalRedis, redis: Redis, sandbox: Sandbox
) -> None:
    settings = made_settings(server.url, sandbox, error_duplicate_window=5)
    async with running(settings):
        processes = [await python(REPORT_MANY, settings) for _ in range(4)]
        assert await asyncio.gather(*(process.wait() for process in processes)) == [0] * 4
        await until(lambda: any("×500, 마지막 " in text for text in texts(sandbox, ERROR_CHAT)))
    assert len(texts(sandbox, ERROR_CHAT)) == 1


async def test_after_the_window_the_same_error_is_a_new_message(settings: Settings, sandbox: Sandbox) -> None:
    async with running(settings):
        await report(settings, ValueError("x"))
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 1)
        await report(settings, ValueError("x"))
        await until(lambda: "×2, 마지막 " in texts(sandbox, ERROR_CHAT)[0])
        await report(settings, ValueError("x"))
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 2)
    assert "×" not in texts(sandbox, ERROR_CHAT)[1]


NOTIFY = """
import asyncio
from notifications.notifier import run_notifier
from settings import Settings
asyncio.run(run_notifier(Settings(), stop=asyncio.Event(), lease_seconds=1.0))
"""


async def test_a_notifier_killed_while_it_sends_loses_nothing(settings: Settings, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "hang", "path": "/sendMessage", "seconds": 30, "count": 1})
    await report(settings, ValueError("survives"))
    process = await python(NOTIFY, settings)
    await until(lambda: requests(sandbox, "/sendMessage"))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with running(settings):
        await until(lambda: texts(sandbox, ERROR_CHAT), 5)
    assert len(texts(sandbox, ERROR_CHAT)) == 1


async def test_two_notifiers_send_each_alert_once(settings: Settings, sandbox: Sandbox) -> None:
    async with running(settings), running(settings):
        for number in range(50):
            await report(settings, ValueError("x"), symbol=f"S{number}")
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 50)
    assert len(set(texts(sandbox, ERROR_CHAT))) == 50


async def test_a_429_pauses_the_whole_bot_and_loses_nothing(settings: Settings, sandbox: Sandbox, redis: Redis) -> None:
    sandbox.faults.order(
        {"service": "telegram", "kind": "throttle", "path": "/sendMessage", "retry_after": 1, "count": 3}
    )
    async with running(settings):
        await report(settings, ValueError("first"))
        while not await redis.exists(PREFIX + "pause"):  # noqa: ASYNC110 - it is Redis that knows
            await asyncio.sleep(0.005)
        paused_at = time.monotonic()
        await TradeNotifier(redis, "ko").analysis_complete(APPLE, ANALYSIS, run_id="r")
        await until(lambda: len(requests(sandbox, "/sendMessage")) > 1)
        assert time.monotonic() - paused_at > 0.9
        await until(lambda: texts(sandbox, ERROR_CHAT) and texts(sandbox, TRADE_CHAT), 20)
    assert [request["status"] for request in requests(sandbox, "/sendMessage")].count(429) == 3
    assert await redis.zcard(PREFIX + "dead") == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "close", "count": 2},
        {"kind": "error", "status": 502, "count": 2},
        {"kind": "error", "status": 500, "count": 2},
        {"kind": "html", "count": 1},
    ],
)
async def test_a_fault_of_telegram_delays_and_loses_nothing(
    settings: Settings, sandbox: Sandbox, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.sender.CHAT_RETRY_SECONDS", 0.5)
    sandbox.faults.order({"service": "telegram", "path": "/sendMessage", **fault})
    async with running(settings):
        await report(settings, ValueError("x"))
        await until(lambda: texts(sandbox, ERROR_CHAT))


async def test_what_telegram_refuses_is_sent_as_plain_text(settings: Settings, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "error", "status": 400, "path": "/sendMessage", "count": 1})
    async with running(settings):
        await report(settings, ValueError("odd"))
        await until(lambda: texts(sandbox, ERROR_CHAT))
    message = sandbox.telegram.messages()[0]
    assert "odd" in message["text"]
    assert message["entities"] == []


async def test_what_telegram_refuses_twice_leaves_a_line_with_its_fingerprint(
    settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "error", "status": 400, "path": "/sendMessage", "count": 2})
    async with running(settings):
        await asyncio.to_thread(ErrorReporter(settings).report, ValueError("odd"), fingerprint="my-own")
        await until(lambda: texts(sandbox, ERROR_CHAT))
    assert texts(sandbox, ERROR_CHAT) == ["알림을 원문대로 보낼 수 없었습니다. 지문: my-own"]


async def test_an_edit_of_a_message_that_is_gone_is_a_new_message(settings: Settings, sandbox: Sandbox) -> None:
    async with running(settings):
        await report(settings, ValueError("x"))
        await until(lambda: texts(sandbox, ERROR_CHAT))
        await report(settings, ValueError("x"))
        sandbox.telegram.clear()
        await until(lambda: texts(sandbox, ERROR_CHAT))
    assert "×2, 마지막 " in texts(sandbox, ERROR_CHAT)[0]


async def test_trade_messages_arrive_once_however_often_the_task_runs(
    settings: Settings, sandbox: Sandbox, redis: Redis
) -> None:
    notifier = TradeNotifier(redis, settings.notify_language)
    intent = OrderIntent("c1", "yfinance", "AAPL", Side.BUY, Decimal(2), Decimal("234.5"), "USD")
    fill = Fill("t1", Decimal(2), Decimal("234.4"), Decimal(0), ANALYSIS.at)
    placement = Placement("v1", OrderState.FILLED, (fill,))

    async def run_task(run_id: str) -> list[Recorded | None]:
        return [
            await notifier.analysis_complete(APPLE, ANALYSIS, run_id=run_id, analysis_id="a1", trace_id="4bf92f35"),
            await notifier.order(APPLE, intent, placement, run_id=run_id),
            await notifier.insufficient_cash(
                APPLE, Side.BUY, have=Decimal(5), need=Decimal(500), at=ANALYSIS.at, run_id=run_id
            ),
        ]

    async with running(settings):
        assert await run_task("r1") == [Recorded.NEW] * 3
        assert await run_task("r1") == [Recorded.REPEATED] * 3
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 3)
        assert await run_task("r1") == [Recorded.REPEATED] * 3
        await run_task("r2")
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 6)
        await asyncio.sleep(1.2)
    sent = "\n".join(texts(sandbox, TRADE_CHAT))
    assert len(texts(sandbox, TRADE_CHAT)) == 6
    assert "×2" not in sent
    for part in ("📈 AI 분석 완료", "AAPL", "4bf92f35", "💰 매수 주문 체결", "$468.80", "잔액: $5.00 / 필요: $500.00"):
        assert part in sent


async def test_the_trace_goes_on_from_the_task_to_telegram(
    settings: Settings, sandbox: Sandbox, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr(delivery, "_tracer", tracer)
    async with running(settings):
        with tracer.start_as_current_span("task") as task:
            await TradeNotifier(redis, "ko").analysis_complete(APPLE, ANALYSIS, run_id="r")
        await until(lambda: len(exporter.get_finished_spans()) == 2)
    _, sent = exporter.get_finished_spans()
    assert (sent.name, sent.kind.name) == ("telegram.send", "CLIENT")
    assert sent.parent is not None
    assert sent.parent.span_id == task.get_span_context().span_id
    trace_id = f"{task.get_span_context().trace_id:032x}"
    assert f"{sent.context.trace_id:032x}" == trace_id
    assert trace_id in texts(sandbox, TRADE_CHAT)[0]
    assert dict(sent.attributes or {}) == {
        "alert.kind": "analysis_complete",
        "alert.fingerprint": "analysis:r:AAPL",
        "alert.occurrences": 1,
        "telegram.chat": "trade",
        "symbol": "AAPL",
        "result": "sent",
    }


@pytest.mark.parametrize(
    "text", ["🔥👩‍👩‍👧‍👦" * 12_000, "한글 오류\n" * 15_000, "_*[`<&>" * 15_000, "\ud83d broken", "\x00\x1b[31m"]
)
async def test_a_text_of_any_size_and_script_is_delivered(settings: Settings, sandbox: Sandbox, text: str) -> None:
    async with running(settings):
        await report(settings, ValueError(text), symbol="KRW-BTC", task=text)
        await until(lambda: texts(sandbox, ERROR_CHAT))
    message = sandbox.telegram.messages()[0]
    assert message["entities"], "it was accepted with its formatting, not as the plain fallback"
    assert "KRW-BTC" in message["text"]


async def test_secrets_do_not_leave(
    server: LocalRedis, redis: Redis, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "notifications")
    settings = made_settings(server.url, sandbox, kis_app_secret="kis/secret+value=")
    error = ValueError(
        f"POST {settings.telegram_base_url}/bot{TOKEN}/x kis%2Fsecret%2Bvalue%3D Authorization: Bearer abcdef"
    )
    sandbox.faults.order({"service": "telegram", "kind": "close", "path": "/sendMessage", "count": 1})
    async with running(settings):
        await report(settings, error, task="kis/secret+value=")
        await until(lambda: texts(sandbox, ERROR_CHAT))
    left = caplog.text + texts(sandbox, ERROR_CHAT)[0]
    assert "[redacted]" in left
    for secret in (TOKEN, TOKEN.partition(":")[2], "kis/secret", "kis%2Fsecret", "abcdef"):
        assert secret not in left


async def test_a_critical_alert_overtakes_a_full_queue(server: LocalRedis, redis: Redis, sandbox: Sandbox) -> None:
    settings = made_settings(server.url, sandbox)
    reporter = ErrorReporter(settings)
    for number in range(30):
        await asyncio.to_thread(reporter.report, ValueError("x"), symbol=f"S{number}")
    async with running(settings, pace=Pace(fold_above=10_000)):
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) >= 5)
        started = time.monotonic()
        await asyncio.to_thread(reporter.report, ValueError("x"), symbol="URGENT", level="CRITICAL")
        await until(lambda: any("URGENT" in text for text in texts(sandbox, ERROR_CHAT)))
        assert time.monotonic() - started < 1
        assert len(texts(sandbox, ERROR_CHAT)) < 10
    reporter.close()


async def test_messages_keep_to_the_pace_of_their_chat(settings: Settings, sandbox: Sandbox) -> None:
    for number in range(6):
        await report(settings, ValueError("x"), symbol=f"S{number}")
    async with running(settings, pace=Pace(per_chat=5, burst=2, overall=30)):
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 6)
    times = [message["at"] for message in sandbox.telegram.messages()]
    assert times[1] - times[0] < 0.15
    assert times[-1] - times[0] > 0.7


async def test_redis_may_go_and_come_back(
    server: LocalRedis, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifications")
    with LocalRedis(persist=True) as own:
        settings = made_settings(own.url, sandbox)
        await report(settings, ValueError("before"))
        async with running(settings) as task:
            await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 1)
            own.stop()
            await asyncio.sleep(1.5)
            assert not task.done()
            own.start()
            await report(settings, ValueError("after"), symbol="KRW-BTC")
            await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 2, 15)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("Redis does not answer" in line for line in lines) == 1
    assert sum("Redis answers again" in line for line in lines) == 1


async def test_it_starts_without_redis_and_stops_when_asked(sandbox: Sandbox) -> None:
    settings = made_settings("redis://127.0.0.1:1/0", sandbox)
    async with running(settings) as task:
        await asyncio.sleep(0.5)
        assert not task.done()


async def test_a_stop_finishes_the_message_under_way(settings: Settings, sandbox: Sandbox, redis: Redis) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "slow", "path": "/sendMessage", "seconds": 1, "count": 1})
    await report(settings, ValueError("slow"))
    async with running(settings):
        await until(lambda: requests(sandbox, "/sendMessage"))
    assert len(texts(sandbox, ERROR_CHAT)) == 1
    assert await redis.zcard(PREFIX + "inflight") == 0


async def test_a_wrong_token_is_said_clearly_and_nothing_is_lost(
    server: LocalRedis, redis: Redis, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = made_settings(server.url, sandbox, telegram_token="1000000001:AAF-not-the-token-of-any-bot-at-all")
    await report(wrong, ValueError("kept"))
    async with running(wrong) as task:
        await until(lambda: "TELEGRAM_TOKEN" in caplog.text)
        assert not task.done()
    assert "not-the-token" not in caplog.text
    async with running(made_settings(server.url, sandbox)):
        await until(lambda: texts(sandbox, ERROR_CHAT))


async def test_a_missing_token_ends_it_with_the_cure(server: LocalRedis, sandbox: Sandbox) -> None:
    settings = made_settings(server.url, sandbox, telegram_token="")
    with pytest.raises(NotifierError, match="TELEGRAM_TOKEN is missing"):
        await run_notifier(settings, stop=asyncio.Event())


async def test_it_idles_when_telegram_is_off(settings: Settings, server: LocalRedis, sandbox: Sandbox) -> None:
    await report(settings, ValueError("kept for later"))
    async with running(made_settings(server.url, sandbox, telegram_enabled=False)) as task:
        await asyncio.sleep(0.3)
        assert not task.done()
    assert not requests(sandbox, "/sendMessage")


async def test_one_chat_for_everything_is_one_queue(server: LocalRedis, redis: Redis, sandbox: Sandbox) -> None:
    settings = made_settings(server.url, sandbox, error_reporting_chat_id="")
    async with running(settings):
        await report(settings, ValueError("x"))
        await TradeNotifier(redis, "en").analysis_complete(APPLE, ANALYSIS, run_id="r")
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 2)
