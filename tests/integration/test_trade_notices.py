"""Each event is told once over a real Redis, and two events are never taken for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from notifications.alert import Claim, read_payload
from notifications.ledger import Ledger, Recorded
from notifications.message import Chat, Priority
from notifications.trades import TradeNotifier
from sandbox.local import LocalRedis
from trading.exits import Exit, ExitKind
from trading.reports import Report, bounds
from trading.state import State, TradingState
from trading.types import Instrument, OpenOrder, OrderIntent, OrderState, Placement, Side

AT = datetime(2026, 3, 5, 1, 30, tzinfo=UTC)
BITCOIN = Instrument(
    "upbit", "KRW-BTC", "비트코인", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
INTENT = OrderIntent("c1", "upbit", "KRW-BTC", Side.BUY, Decimal(2), Decimal(100), "KRW")
STOP = Exit(ExitKind.STOP_LOSS, Decimal(2), Decimal(94), Decimal(95), Decimal("-0.06"), "the price fell")
BREACH = TradingState(State.REDUCING, "daily loss 10.2% at 10:30", AT + timedelta(hours=8), "upbit")
FOUND = OpenOrder("v9", None, "KRW-BTC", Side.SELL, Decimal(1), Decimal(0), Decimal(100), "KRW", AT)

Told = Awaitable[Recorded | None]


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_server.url, protocol=2)
    await client.flushdb()
    yield client
    await client.aclose()


EVENTS: dict[str, Callable[[TradeNotifier, int], Told]] = {
    "order": lambda to, n: to.order(
        BITCOIN, replace(INTENT, client_order_id=f"c{n}"), Placement("v", OrderState.ACCEPTED)
    ),
    "ladder": lambda to, n: to.ladder(BITCOIN, Side.BUY, [INTENT], analysis_id=f"a{n}"),
    "cancelled": lambda to, n: to.orders_cancelled(BITCOIN, Side.BUY, 2, analysis_id=f"a{n}"),
    "insufficient": lambda to, n: to.insufficient_cash(
        BITCOIN, Side.BUY, have=Decimal(1), need=Decimal(2), at=AT, run_id=f"r{n}"
    ),
    "exit": lambda to, n: to.exit_begun(BITCOIN, STOP, exit_id=f"e{n}", average_price=Decimal(100), at=AT),
    "exit ended": lambda to, n: to.exit_ended(
        BITCOIN, STOP.kind, "sold_all", exit_id=f"e{n}", wanted=Decimal(2), sold=Decimal(2), at=AT
    ),
    "not armed": lambda to, n: to.exit_not_armed(
        BITCOIN, STOP, average_price=Decimal(100), at=AT + n * timedelta(hours=1)
    ),
    "breaker": lambda to, n: to.circuit_breaker(replace(BREACH, reason=f"{BREACH.reason} {n}"), at=AT),
    "state": lambda to, n: to.trading_state_changed(BREACH, by="operator", at=AT + n * timedelta(seconds=1)),
    "arming": lambda to, n: to.arming_changed("upbit", until=None, by="operator", at=AT + n * timedelta(seconds=1)),
    "unproven": lambda to, n: to.unproven_order(replace(INTENT, client_order_id=f"c{n}"), age_seconds=61),
    "ambiguous": lambda to, n: to.ambiguous_order(replace(INTENT, client_order_id=f"c{n}"), reason="two match"),
    "adopted": lambda to, n: to.adopted_order("upbit", replace(FOUND, venue_order_id=f"v{n}")),
    "report": lambda to, n: to.report(
        Report("day", *bounds("day", AT + n * timedelta(days=1)), (), (), None, 0, None, ())
    ),
}


@pytest.mark.parametrize("event", EVENTS)
async def test_an_event_is_told_once_and_another_of_its_kind_again(redis: Redis, event: str) -> None:
    tell = EVENTS[event]
    for language in ("ko", "en"):
        await redis.flushdb()
        notifier = TradeNotifier(redis, language)
        assert [await tell(notifier, n) for n in (1, 1, 2, 1, 2)] == [
            Recorded.NEW,
            Recorded.REPEATED,
            Recorded.NEW,
            Recorded.REPEATED,
            Recorded.REPEATED,
        ]


async def test_no_event_is_taken_for_one_of_another_kind(redis: Redis) -> None:
    notifier = TradeNotifier(redis, "ko")
    assert {name: await tell(notifier, 1) for name, tell in EVENTS.items()} == dict.fromkeys(EVENTS, Recorded.NEW)


async def test_what_needs_a_human_overtakes_everything_and_goes_to_the_error_chat(redis: Redis) -> None:
    notifier = TradeNotifier(redis, "ko")
    await notifier.ladder(BITCOIN, Side.BUY, [INTENT], analysis_id="a")
    await notifier.unproven_order(INTENT, age_seconds=61)
    claim = await Ledger(redis).claim(list(Chat))
    assert isinstance(claim, Claim)
    contents = read_payload(claim.payload)
    assert (contents.message.chat, contents.message.priority) == (Chat.ERROR, Priority.CRITICAL)
    assert (contents.kind, contents.symbol, claim.fingerprint) == ("order_unproven", "KRW-BTC", "unproven:c1")


async def test_a_step_without_orders_is_not_told(redis: Redis) -> None:
    notifier = TradeNotifier(redis, "ko")
    assert await notifier.ladder(BITCOIN, Side.BUY, [], analysis_id="a") is None
    assert await notifier.orders_cancelled(BITCOIN, Side.BUY, 0, analysis_id="a") is None
    assert await redis.dbsize() == 0


async def test_who_wants_no_messages_gets_none(redis: Redis) -> None:
    silent = TradeNotifier(redis, "ko", enabled=False)
    assert {await tell(silent, 1) for tell in EVENTS.values()} == {None}
    assert await redis.dbsize() == 0
