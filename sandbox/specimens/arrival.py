"""The real ledger and notifier on one side, the Bot API stand-in on the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from notifications.notifier import run_notifier
from notifications.pace import Pace
from notifications.reporter import ErrorReporter
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.specimens.figures import TRACE
from sandbox.specimens.told import tellings
from settings import Settings

TOKEN = "1000000001:specimens"
TRADE_CHAT, ERROR_CHAT = 123456789, -4000000001
ARRIVE_SECONDS = 30.0
REPEATED = 137
# more kinds at once than the pace lets through one by one: what, of which symbol
FLOOD = {
    "Stale": ("KRW-BTC", "시세가 94초 전의 것입니다"),
    "BadCandles": ("KRW-DOGE", "일봉 200개 중 3개가 비었습니다"),
    "Rejected": ("KRW-ETH", "최소 주문 금액 5,000원보다 적습니다"),
    "Throttled": ("KRW-SOL", "요청 한도를 넘었습니다"),
    "BadCredentials": ("KRW-BTC", "허용되지 않은 IP입니다"),
    "VenueUnavailable": ("KRW-SOL", "점검 중입니다"),
    "Unproven": ("KRW-XRP", "주문의 응답이 오지 않았습니다"),
    "TimeoutError": ("KRW-ETH", "90초 안에 끝나지 않았습니다"),
    "StorageError": ("KRW-DOGE", "데이터베이스에 연결할 수 없습니다"),
    "ModelUnavailable": ("KRW-XRP", "모델이 응답하지 않습니다"),
}
STACK = """  File "/app/tasks/pipeline.py", line 84, in collect
    candles = await market.candles(symbol)
  File "/app/workers/upbit/client.py", line 131, in get
    raise VenueUnavailable("no answer within 30 s")
"""
TASK = "tasks.analysis.analyze_and_trade"
BRISK = Pace(per_chat=5, burst=2, overall=30, fold_above=3)


class NotArrived(Exception):
    """A message did not come to the stand-in; one line."""


class VenueUnavailable(Exception):
    """Upbit did not answer in time."""


@asynccontextmanager
async def everything_told(scratch: Path) -> AsyncIterator[Sandbox]:
    """A sandbox whose chats have one message of each kind. Raises `NotArrived`."""
    sandbox = Sandbox(telegram_token=TOKEN)
    sandbox.telegram.titles = {TRADE_CHAT: "자동매매", ERROR_CHAT: "자동매매 오류"}
    await sandbox.start()
    try:
        with LocalRedis() as server:
            await _tell(sandbox, _settings(sandbox, server.url, scratch))
        yield sandbox
    finally:
        await sandbox.stop()


def _settings(sandbox: Sandbox, redis_url: str, scratch: Path) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        # nothing of it is stored: a database that is not there is one the notifier does without
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none",
        telegram_base_url=f"{sandbox.url}/telegram",
        telegram_token=TOKEN,
        telegram_chat_id=str(TRADE_CHAT),
        error_reporting_chat_id=str(ERROR_CHAT),
        telegram_allowed_users=(TRADE_CHAT,),
        # long enough for a slow machine to report all of them, and no longer to wait for the edit
        error_duplicate_window=4,
        alert_spool_dir=str(scratch / "spool"),
        signoz_url="https://signoz.example.com",
        flower_url="https://flower.example.com",
    )


async def _tell(sandbox: Sandbox, settings: Settings) -> None:
    stop = asyncio.Event()
    notifier = asyncio.create_task(run_notifier(settings, stop=stop, pace=BRISK, announce=True))
    redis = Redis.from_url(settings.redis_url)
    reporter = ErrorReporter(settings)
    try:
        await _until("the start", lambda: len(sandbox.telegram) == 1)
        for number, telling in enumerate(await tellings(redis, settings), 1):
            told = len(sandbox.telegram)
            await telling()
            await _until(f"message {number}", partial(_more_than, sandbox, told))
        told = len(sandbox.telegram)
        await asyncio.to_thread(_repeat, reporter, 1)
        await _until("the error", partial(_more_than, sandbox, told))
        await asyncio.to_thread(_repeat, reporter, REPEATED - 1)
        await _until("its count", lambda: any(f"×{REPEATED}" in one.text for one in sandbox.telegram.last(3)))
        await asyncio.to_thread(_flood, reporter)
        await _until("the digest", lambda: "🗂" in "".join(message.text[:2] for message in sandbox.telegram.last(3)))
    finally:
        stop.set()
        await notifier
        await redis.aclose()
        reporter.close()


def _more_than(sandbox: Sandbox, told: int) -> bool:
    if len(sandbox.telegram) <= told:
        return False
    last = sandbox.telegram.last(1)[0]
    # under a picture there is room for a title only; the text follows
    return not (last.photo and "\n" not in last.text)


def _repeat(reporter: ErrorReporter, times: int) -> None:
    for _ in range(times):
        _fail(reporter, VenueUnavailable("Upbit가 30초 안에 응답하지 않았습니다"), "KRW-XRP", STACK)


def _fail(reporter: ErrorReporter, error: Exception, symbol: str, stack: str = "") -> None:
    # an error that was not raised shows no path of this machine
    reporter.report(
        error, task=TASK, task_id="0d1c9a3e-9c2b-4a55-8b52-6f1b7a0f7f11", market="upbit", symbol=symbol,
        queue="upbit", worker="upbit@pi", trace_id=TRACE, stack=stack,
    )  # fmt: skip


def _flood(reporter: ErrorReporter) -> None:
    for times in range(3):
        for name, (symbol, text) in list(FLOOD.items())[times:]:
            _fail(reporter, type(name, (Exception,), {})(text), symbol)


async def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ARRIVE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NotArrived(f"{what} did not arrive within {ARRIVE_SECONDS:g} s")
        await asyncio.sleep(0.02)
