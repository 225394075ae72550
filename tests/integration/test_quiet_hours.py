"""What waits in the quiet hours comes in one summary; what matters comes at once; what is off is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from notifying import ERROR_CHAT, TRADE_CHAT, alert, made_settings, png, running, shown, texts, until, until_it
from redis.asyncio import Redis

from notifications import delivery, pictures
from notifications.alert import Claim, read_payload
from notifications.kinds import read_verbosity
from notifications.ledger import Idle, Ledger
from notifications.message import Chat, Priority
from notifications.quiet import KEPT, PICTURED_SHOWN, TELLING, Quiet
from notifications.quiet_hours import read_quiet_hours
from notifications.words import EN, KO
from sandbox.local import LocalRedis
from sandbox.server import Sandbox

NIGHT = read_quiet_hours("23:00-07:00")
AT_NIGHT = datetime(2026, 3, 4, 17, 0, tzinfo=UTC)
IN_THE_MORNING = datetime(2026, 3, 4, 22, 0, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("own_spool")


class Sent:
    """The counter of what was sent, read back by kind and result."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, count: int, attributes: dict[str, str]) -> None:
        self.counts[attributes["kind"], attributes["result"]] += count


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    counter = Sent()
    monkeypatch.setattr(delivery, "alerts_sent", counter)
    return counter


def around_now() -> str:
    """Quiet hours that have begun and do not end soon."""
    korea = datetime.now(UTC) + timedelta(hours=9)
    return f"{korea - timedelta(hours=2):%H:%M}-{korea + timedelta(hours=2):%H:%M}"


def quiet(redis: Redis, now: datetime, kinds: str = "") -> Quiet:
    return Quiet(redis, Ledger(redis), KO, read_verbosity(kinds), NIGHT, lambda: now)


def analysis(number: int) -> Any:
    return alert(
        f"analysis:{number}",
        f"📈 AI 분석 완료\nof {number}",
        kind="analysis_complete",
        chat=Chat.TRADE,
        priority=Priority.NORMAL,
        once=True,
        symbol=f"KRW-{number}",
    )


async def claimed(ledger: Ledger) -> list[Claim]:
    claims = []
    while not isinstance(claim := await ledger.claim(list(Chat)), Idle):
        assert isinstance(claim, Claim)
        claims.append(claim)
    return claims


async def test_what_is_only_good_to_know_waits_for_one_summary(
    redis: Redis, redis_server: LocalRedis, sandbox: Sandbox, sent: Sent
) -> None:
    ledger = Ledger(redis)
    for number in range(40):
        await ledger.record(analysis(number))
    for _ in range(3):
        await ledger.record(
            alert("start", "🚀 봇 시작", kind="bot_started", chat=Chat.TRADE, priority=Priority.NORMAL, window=0.2)
        )
    await ledger.record(alert("fill", kind="order_filled", chat=Chat.TRADE, once=True))
    await ledger.record(alert("failure"))
    await ledger.record(alert("breaker", kind="circuit_breaker", chat=Chat.TRADE, priority=Priority.CRITICAL))
    async with running(made_settings(redis_server.url, sandbox, notify_quiet_hours=around_now())):
        await until(lambda: sum(sent.counts.values()) >= 46)
        # it has happened again, and its window is over
        await ledger.record(
            alert("start", "🚀 봇 시작", kind="bot_started", chat=Chat.TRADE, priority=Priority.NORMAL, window=0.2)
        )
        await until(lambda: sent.counts["bot_started", "kept"] == 4)
        await until_it(lambda: _empty(ledger))
    assert set(texts(sandbox, TRADE_CHAT)) == {"text of fill", "text of breaker"}
    silent = {message["text"]: message["disable_notification"] for message in sandbox.telegram.messages()}
    assert silent == {"text of fill": True, "text of failure": True, "text of breaker": False}
    # the hours are over
    async with running(made_settings(redis_server.url, sandbox)):
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 3)
    summary = texts(sandbox, TRADE_CHAT)[-1]
    assert summary.startswith("🌙 조용한 시간")
    assert "44건" in summary.splitlines()[0]
    for line in ("AI 분석 완료: 40건", "봇 시작: 4건", "그 밖에 "):
        assert line in summary
    assert "📈 AI 분석 완료 KRW-39" in summary
    assert sent.counts["analysis_complete", "kept"] == 40
    assert not await redis.exists(KEPT, TELLING)


async def _empty(ledger: Ledger) -> bool:
    return await ledger.depth() == 0


async def test_the_newest_chart_of_each_symbol_follows_the_summary(
    redis: Redis, redis_server: LocalRedis, sandbox: Sandbox, sent: Sent
) -> None:
    ledger = Ledger(redis)
    for number in range(PICTURED_SHOWN + 2):
        for age, name in ((2, "old"), (1, "new")):
            told = alert(
                f"analysis:{name}:{number}",
                f"📈 AI 분석 완료\n{name} {number}",
                kind="analysis_complete",
                chat=Chat.TRADE,
                priority=Priority.NORMAL,
                once=True,
                symbol=f"KRW-{number}",
                picture=await pictures.keep(redis, png(64, 8 + number)),
            )
            at = AT_NIGHT + timedelta(minutes=number - 60 * age)
            await ledger.record(replace(told, at=at, summary=f"{name} line of {number} /why_{number}"))
    count = 2 * (PICTURED_SHOWN + 2)
    async with running(made_settings(redis_server.url, sandbox, notify_quiet_hours=around_now())):
        await until(lambda: sent.counts["analysis_complete", "kept"] == count)
        await until_it(lambda: _empty(ledger))
    assert not texts(sandbox, TRADE_CHAT)
    async with running(made_settings(redis_server.url, sandbox)):
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 1 + PICTURED_SHOWN)
        await until_it(lambda: _empty(ledger))
    summary, *charts = shown(sandbox, TRADE_CHAT)
    assert f"{count}건" in summary["text"].splitlines()[0]
    assert "new line of 9 /why_9 KRW-9" in summary["text"]
    # those of the symbols that were analysed last, each once, under the picture, without a sound
    assert {chart["text"] for chart in charts} == {f"📈 AI 분석 완료\nnew {n}" for n in range(2, PICTURED_SHOWN + 2)}
    assert all(chart["photo"] and chart["disable_notification"] for chart in charts)
    assert not await redis.exists(KEPT, TELLING)


async def test_a_message_that_was_claimed_twice_counts_once(redis: Redis) -> None:
    ledger, night = Ledger(redis), quiet(redis, AT_NIGHT)
    await ledger.record(analysis(1))
    [claim] = await claimed(ledger)
    contents = read_payload(claim.payload)
    assert [await night.hold(claim, contents) for _ in range(2)] == ["kept", "kept"]
    await ledger.ack(claim, None)
    await quiet(redis, IN_THE_MORNING).tell_what_waited()
    [summary] = await claimed(ledger)
    assert "1건" in read_payload(summary.payload).message.text.splitlines()[0]


async def test_a_summary_that_was_recorded_by_one_who_died_is_told_once(redis: Redis) -> None:
    ledger, night, morning = Ledger(redis), quiet(redis, AT_NIGHT), quiet(redis, IN_THE_MORNING)
    await ledger.record(analysis(1))
    [claim] = await claimed(ledger)
    await night.hold(claim, read_payload(claim.payload))
    await ledger.ack(claim, None)
    entries = await redis.hgetall(KEPT)
    await morning.tell_what_waited()
    assert not await redis.exists(TELLING)
    # as it was before it was deleted
    await redis.hset(TELLING, mapping=entries)
    await quiet(redis, IN_THE_MORNING + timedelta(minutes=1)).tell_what_waited()
    assert len(await claimed(ledger)) == 1


async def test_what_waits_is_told_in_the_language_of_the_settings_and_an_odd_entry_stops_nothing(redis: Redis) -> None:
    ledger = Ledger(redis)
    english = Quiet(redis, ledger, EN, read_verbosity(""), NIGHT, lambda: AT_NIGHT)
    await ledger.record(analysis(1))
    [claim] = await claimed(ledger)
    await english.hold(claim, read_payload(claim.payload))
    await redis.hset(KEPT, "odd", "{")
    await english.tell_what_waited()
    text = read_payload((await claimed(ledger))[0].payload).message.text
    assert text.startswith("🌙 Quiet hours 23:00-07:00: 1 messages\n")
    assert "AI analyses: 1" in text


async def test_redis_that_does_not_take_it_means_it_is_told_at_once(redis: Redis) -> None:
    ledger = Ledger(redis)
    await ledger.record(analysis(1))
    [claim] = await claimed(ledger)
    nowhere = Redis.from_url("redis://127.0.0.1:1/0")
    night = Quiet(nowhere, ledger, KO, read_verbosity(""), NIGHT, lambda: AT_NIGHT)
    assert await night.hold(claim, read_payload(claim.payload)) is None
    await nowhere.aclose()


@pytest.mark.parametrize(
    ("now", "kind", "priority", "held", "silent"),
    [
        (AT_NIGHT, "analysis_complete", Priority.NORMAL, "kept", True),
        (AT_NIGHT, "daily_report", Priority.NORMAL, None, True),
        (AT_NIGHT, "order_filled", Priority.HIGH, None, True),
        (AT_NIGHT, "exit_begun", Priority.HIGH, None, True),
        (AT_NIGHT, "error", Priority.CRITICAL, None, False),
        (IN_THE_MORNING, "analysis_complete", Priority.NORMAL, None, True),
        (IN_THE_MORNING, "order_filled", Priority.HIGH, None, False),
        (IN_THE_MORNING, "order_accepted", Priority.HIGH, "off", False),
        (AT_NIGHT, "order_accepted", Priority.HIGH, "off", True),
        (IN_THE_MORNING, "trading_state", Priority.HIGH, None, True),
        (IN_THE_MORNING, "circuit_breaker", Priority.CRITICAL, None, False),
        (IN_THE_MORNING, "order", Priority.HIGH, None, False),
    ],
)
async def test_each_kind_is_told_as_the_hour_and_the_settings_say(
    redis: Redis, now: datetime, kind: Any, priority: Priority, held: str | None, silent: bool
) -> None:
    ledger = Ledger(redis)
    await ledger.record(alert("a", kind=kind, chat=Chat.TRADE, priority=priority, once=True))
    [claim] = await claimed(ledger)
    contents = read_payload(claim.payload)
    rules = quiet(redis, now, "order_accepted=off,trading_state=silent,circuit_breaker=silent")
    assert await rules.hold(claim, contents) == held
    assert rules.is_silent(contents) is silent


async def test_what_is_off_is_counted_and_not_sent_and_a_flood_leaves_it_out(
    redis: Redis, redis_server: LocalRedis, sandbox: Sandbox, sent: Sent
) -> None:
    ledger = Ledger(redis)
    for number in range(3):
        await ledger.record(analysis(number))
    for _ in range(5):
        await ledger.record(alert("start", kind="bot_started", chat=Chat.ERROR, priority=Priority.NORMAL, window=60))
    for number in range(12):
        await ledger.record(alert(f"f{number}", window=60))
    settings = made_settings(
        redis_server.url, sandbox, notify_kinds="analysis_complete=off,bot_started=off,error=silent"
    )
    async with running(settings):
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 12)
        await until_it(lambda: _empty(ledger))
    assert sent.counts["analysis_complete", "off"] == 3
    assert sent.counts["bot_started", "off"] == 5
    assert not texts(sandbox, TRADE_CHAT)
    assert all(message["disable_notification"] for message in shown(sandbox, ERROR_CHAT))
