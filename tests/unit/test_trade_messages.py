"""What is told of ladders, exits, loss limits and permissions, and that any of it can be sent."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications import exit_texts, ladder_texts, risk_texts
from notifications.message import TEXT_LIMIT, Chat, Message, Priority, utf16_length
from notifications.texts import Links, Style
from notifications.words import EN, KO
from trading.exits import Exit, ExitKind
from trading.state import State, TradingState
from trading.types import Instrument, OpenOrder, OrderIntent, Side

AT = datetime(2025, 11, 8, 6, 25, 10, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BITCOIN = Instrument(
    "upbit", "KRW-BTC", "비트코인", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
SHIBA = replace(BITCOIN, symbol="KRW-SHIB", name="시바이누")
APPLE = Instrument("yfinance", "AAPL", "Apple", "equity_us", "USD", Decimal(1), Decimal(1), Decimal("0.0025"))
LIVE = Style(KO, "live", Links("http://signoz.local"), TRACE)
ENGLISH = Style(EN)
STOP = Exit(
    ExitKind.STOP_LOSS,
    Decimal("0.5"),
    Decimal(94_900_000),
    Decimal(95_000_000),
    Decimal("-0.051"),
    "stop_loss: the price 94900000 has reached 95000000",
)


def rung(number: int, quantity: str, price: str, symbol: str = "KRW-BTC", currency: str = "KRW") -> OrderIntent:
    return OrderIntent(f"at-{number}", "upbit", symbol, Side.BUY, Decimal(quantity), Decimal(price), currency)


def test_a_ladder_is_one_message_with_each_rung() -> None:
    rungs = [rung(1, "0.001", "95000000"), rung(2, "0.002", "94000000"), rung(3, "0.003", "93000000")]
    message = ladder_texts.ladder(LIVE, BITCOIN, Side.BUY, rungs, at=AT)
    assert message.text == (
        "💰 매수 주문 접수: 3건, 합계 562,000원\n"
        "🕒 2025-11-08 15:25:10 KST\n"
        "\n"
        "종목: 비트코인 (KRW-BTC)\n"
        "시장: 암호화폐 (upbit, 실거래)\n"
        "  1. 가격: 95,000,000원 × 수량: 0.001\n"
        "  2. 가격: 94,000,000원 × 수량: 0.002\n"
        "  3. 가격: 93,000,000원 × 수량: 0.003\n"
        "총 금액: 562,000원\n"
        "예상 수수료: 281원\n"
        "\n"
        f"추적 ID: {TRACE}\n"
        f"SigNoz: http://signoz.local/trace/{TRACE}"
    )
    assert (message.chat, message.priority) == (Chat.TRADE, Priority.HIGH)


def test_prices_below_one_won_keep_their_decimals() -> None:
    text = ladder_texts.ladder(LIVE, SHIBA, Side.BUY, [rung(1, "1000000", "0.01234", "KRW-SHIB")], at=AT).text
    assert "  1. 가격: 0.01234원 × 수량: 1,000,000" in text
    assert "합계 12,340원" in text


def test_dollars_have_cents() -> None:
    text = ladder_texts.ladder(ENGLISH, APPLE, Side.SELL, [rung(1, "2", "234.5", "AAPL", "USD")], at=AT).text
    assert text.startswith("💸 Sell orders accepted: 1, total $469.00\n")
    assert "Expected fee: $1.17" in text


def test_orders_that_made_way_are_counted() -> None:
    text = ladder_texts.orders_cancelled(LIVE, BITCOIN, Side.SELL, 2, at=AT).text
    assert text.startswith("🚫 매도 주문 취소: 2건\n")
    assert "이유: 새 분석에 따라 대기 주문을 거두었습니다" in text
    old = ladder_texts.orders_cancelled(LIVE, BITCOIN, Side.SELL, 1, reason="it has rested for 7200 s", at=AT).text
    assert "이유: it has rested for 7200 s" in old
    assert "새 분석" not in old


def test_an_exit_says_what_it_sells_and_why() -> None:
    message = exit_texts.exit_begun(
        replace(LIVE, trace_id=""), BITCOIN, STOP, average_price=Decimal(100_000_000), at=AT
    )
    assert message.text == (
        "🛑 손절 조건 도달, 매도 시작\n"
        "🕒 2025-11-08 15:25:10 KST\n"
        "\n"
        "종목: 비트코인 (KRW-BTC)\n"
        "시장: 암호화폐 (upbit, 실거래)\n"
        "구분: 손절\n"
        "현재가: 94,900,000원\n"
        "기준가: 95,000,000원\n"
        "평균 단가: 100,000,000원\n"
        "수익률: -5.10%\n"
        "수량: 0.5"
    )
    unknown = exit_texts.exit_begun(LIVE, BITCOIN, STOP, average_price=Decimal(0), at=AT).text
    assert "수익률" not in unknown


@pytest.mark.parametrize(
    ("outcome", "sold", "title", "line"),
    [
        ("sold_all", "0.5", "✅ 손절 완료: 전량 매도", "매도 금액: 47,000,000원"),
        ("sold_part", "0.2", "🟡 손절 종료: 일부만 매도", "남은 수량: 0.3"),
        ("given_up", "0", "❌ 손절 중단: 매도하지 못함", "매도: 0 / 0.5"),
    ],
)
def test_the_end_of_an_exit_says_how_much_went(outcome: str, sold: str, title: str, line: str) -> None:
    lines = exit_texts.exit_ended(
        LIVE,
        BITCOIN,
        ExitKind.STOP_LOSS,
        outcome,  # type: ignore[arg-type]
        wanted=Decimal("0.5"),
        sold=Decimal(sold),
        proceeds=Decimal(47_000_000),
        reason="",
        at=AT,
    ).text.splitlines()
    assert lines[0] == title
    assert line in lines


def test_an_exit_that_may_not_sell_alarms_the_operator() -> None:
    message = exit_texts.exit_not_armed(LIVE, BITCOIN, STOP, average_price=Decimal(100_000_000), at=AT)
    assert message.text.startswith("🔴 CRITICAL: 손절 조건에 도달했으나 실거래가 허용되지 않았습니다\n")
    assert "autotrader arm upbit" in message.text
    assert (message.chat, message.priority) == (Chat.ERROR, Priority.CRITICAL)


def test_a_tripped_breaker_says_what_was_lost_and_until_when_it_holds() -> None:
    state = TradingState(State.REDUCING, "daily loss", datetime(2025, 11, 8, 15, tzinfo=UTC), "upbit")
    message = risk_texts.circuit_breaker(
        replace(LIVE, trace_id=""), state, loss=Decimal("0.1032"), limit=Decimal("0.10"), at=AT
    )
    assert message.text == (
        "🚨 손실 한도 도달: 신규 매수 중지\n"
        "🕒 2025-11-08 15:25:10 KST\n"
        "\n"
        "범위: upbit (실거래)\n"
        "손실: 10.32%\n"
        "한도: 10.00%\n"
        "기한: 2025-11-09 00:00:00 KST\n"
        "이유: daily loss\n"
        "\n"
        "매수는 멈추고, 매도와 손절은 계속합니다."
    )
    everywhere = risk_texts.circuit_breaker(LIVE, replace(state, market=None), loss=None, limit=None, at=AT).text
    assert "범위: 전체 시장 (실거래)" in everywhere
    assert "한도:" not in everywhere


def test_a_change_of_the_trading_state_names_its_scope_and_author() -> None:
    halted = TradingState(State.HALTED, "maintenance", None, "upbit", "KRW-BTC")
    text = risk_texts.trading_state(LIVE, halted, by="operator", at=AT).text
    assert text.startswith("⛔ 거래 상태 변경: 전체 중지\n")
    assert text.splitlines()[3:7] == [
        "범위: upbit KRW-BTC (실거래)",
        "기한: 해제할 때까지",
        "이유: maintenance",
        "변경한 사람: operator",
    ]
    active = risk_texts.trading_state(LIVE, replace(halted, state=State.ACTIVE), by="operator", at=AT).text
    assert active.startswith("🟢 거래 상태 변경: 정상\n")
    assert "기한" not in active


def test_arming_says_until_when_and_disarming_that_no_exit_goes_out() -> None:
    armed = risk_texts.arming(LIVE, "upbit", until=AT + timedelta(hours=8), by="operator", at=AT).text
    assert armed.startswith("🔓 실거래 허용: upbit\n")
    assert "기한: 2025-11-08 23:25:10 KST" in armed
    disarmed = risk_texts.arming(LIVE, "upbit", until=None, by="operator", at=AT).text
    assert disarmed.startswith("🔒 실거래 해제: upbit\n")
    assert "손절도 나가지 않습니다" in disarmed


def test_an_unproven_order_alarms_the_operator() -> None:
    message = risk_texts.unproven_order(LIVE, rung(7, "0.001", "95000000"), age_seconds=72.4, at=AT)
    lines = message.text.splitlines()
    assert lines[0] == "🔴 CRITICAL: 주문 결과를 확인하지 못했습니다"
    for line in (
        "종목: KRW-BTC",
        "시장: upbit (실거래)",
        "주문: 매수 0.001 × 95,000,000원",
        "총 금액: 95,000원",
        "경과: 72초",
        "주문 ID: at-7",
    ):
        assert line in lines
    assert (message.chat, message.priority) == (Chat.ERROR, Priority.CRITICAL)


def test_an_ambiguous_order_asks_for_a_human() -> None:
    message = risk_texts.ambiguous_order(ENGLISH, rung(7, "1", "5"), reason="orders 11 and 12 match", at=AT)
    assert message.text.startswith("🔴 CRITICAL: Two orders could be ours\n")
    assert "Reason: orders 11 and 12 match" in message.text
    assert (message.chat, message.priority) == (Chat.ERROR, Priority.CRITICAL)


def test_an_adopted_order_shows_what_is_known_of_it() -> None:
    found = OpenOrder("v-9", None, "AAPL", Side.SELL, Decimal(3), Decimal(1), Decimal("234.5"), "USD", AT)
    lines = risk_texts.adopted_order(LIVE, "yfinance", found, at=AT).text.splitlines()
    assert lines[0] == "🔗 기록에 없는 매도 주문을 발견했습니다"
    assert {"주문: 매도 3 × $234.50", "체결: 1", "거래소 주문 ID: v-9"} <= set(lines)


@pytest.mark.parametrize(
    ("value", "currency", "plain", "signed"),
    [
        ("12345.5", "KRW", "12,346원", "+12,346원"),
        ("-0.4", "KRW", "0원", "0원"),
        ("-1234.567", "USD", "-$1,234.57", "-$1,234.57"),
        ("0.005", "USD", "$0.00", "$0.00"),
        ("1500.5", "JPY", "1,500.5 JPY", "+1,500.5 JPY"),
    ],
)
def test_sums_are_rounded_to_what_an_account_shows(value: str, currency: str, plain: str, signed: str) -> None:
    assert KO.amount(Decimal(value), currency) == plain
    assert KO.amount(Decimal(value), currency, signed=True) == signed


def placeholders(words: object) -> object:
    """The shape of a catalogue: keys and placeholders, without the words."""
    if is_dataclass(words):
        return {entry.name: placeholders(getattr(words, entry.name)) for entry in fields(words)}
    if isinstance(words, Mapping):
        return {key: placeholders(value) for key, value in words.items()}
    if isinstance(words, str):
        return sorted({name for _, name, _, _ in string.Formatter().parse(words) if name})
    return len(words)  # type: ignore[arg-type]


def test_both_languages_say_the_same_things() -> None:
    assert placeholders(KO) == placeholders(EN)


AMOUNTS = st.decimals("-1e15", "1e15", allow_nan=False, places=8)
ABOVE_ZERO = st.decimals("0.00000001", "1e15", allow_nan=False, places=8)
TEXTS = st.one_of(
    st.text(max_size=80), st.sampled_from(["🔥👩‍👩‍👧" * 2_000, "x" * 9_000, "<b>&*_`[", "\ud800", "가\n" * 3_000])
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any of the messages, with anything in its fields."""
    style = Style(draw(st.sampled_from([KO, EN])), draw(st.sampled_from(["paper", "live"])), LIVE.links, TRACE)
    name, symbol, reason, market = (draw(TEXTS) for _ in range(4))
    currency = draw(st.sampled_from(["KRW", "USD", "JPY"]))
    instrument = Instrument(market, symbol, name, draw(TEXTS), currency, Decimal(1), Decimal(1), Decimal("0.0005"))
    intents = [
        OrderIntent(draw(TEXTS), market, symbol, Side.SELL, draw(ABOVE_ZERO), draw(ABOVE_ZERO), currency)
        for _ in range(draw(st.integers(1, 15)))
    ]
    leave = Exit(
        draw(st.sampled_from(list(ExitKind))), draw(ABOVE_ZERO), draw(ABOVE_ZERO), draw(AMOUNTS), draw(AMOUNTS), reason
    )
    state = TradingState(draw(st.sampled_from(list(State))), reason, draw(st.sampled_from([None, AT])), market, symbol)
    found = OpenOrder(
        reason, None, symbol, Side.BUY, draw(ABOVE_ZERO), draw(ABOVE_ZERO), draw(ABOVE_ZERO), currency, AT
    )
    amounts = [draw(AMOUNTS) for _ in range(2)]
    whole: dict[str, Callable[[], Message]] = {
        "ladder": lambda: ladder_texts.ladder(style, instrument, Side.BUY, intents, at=AT),
        "cancelled": lambda: ladder_texts.orders_cancelled(style, instrument, Side.SELL, 3, reason=reason, at=AT),
        "exit": lambda: exit_texts.exit_begun(style, instrument, leave, average_price=leave.price, at=AT),
        "ended": lambda: exit_texts.exit_ended(
            style,
            instrument,
            leave.kind,
            "sold_part",
            wanted=leave.quantity,
            sold=leave.price,
            proceeds=leave.price,
            reason=reason,
            at=AT,
        ),
        "not_armed": lambda: exit_texts.exit_not_armed(style, instrument, leave, average_price=leave.price, at=AT),
        "breaker": lambda: risk_texts.circuit_breaker(style, state, loss=amounts[0], limit=amounts[1], at=AT),
        "state": lambda: risk_texts.trading_state(style, state, by=name, at=AT),
        "arming": lambda: risk_texts.arming(style, market, until=state.until, by=name, at=AT),
        "unproven": lambda: risk_texts.unproven_order(style, intents[0], age_seconds=1e9, at=AT),
        "ambiguous": lambda: risk_texts.ambiguous_order(style, intents[0], reason=reason, at=AT),
        "adopted": lambda: risk_texts.adopted_order(style, market, found, at=AT),
    }
    return whole[draw(st.sampled_from(sorted(whole)))]()


@settings(max_examples=100, deadline=None)
@given(messages())
def test_whatever_its_fields_hold_a_message_can_be_sent(message: Message) -> None:
    length = utf16_length(message.text)
    assert 0 < length <= TEXT_LIMIT
    # neither JSON nor Telegram carries a lone surrogate
    assert message.text.encode()
    assert message.text == message.text.rstrip()
    for entity in message.entities:
        assert entity.type in {"bold", "code", "pre"}
        assert 0 <= entity.offset < entity.offset + entity.length <= length


def test_nothing_ordinary_is_taken_for_a_secret() -> None:
    for words in (KO, EN):
        style = Style(words, "live", LIVE.links, TRACE)
        for message in (
            ladder_texts.ladder(style, BITCOIN, Side.BUY, [rung(1, "1", "5")], at=AT),
            exit_texts.exit_not_armed(style, BITCOIN, STOP, average_price=Decimal(1), at=AT),
            risk_texts.arming(style, "upbit", until=AT, by="operator", at=AT),
            risk_texts.unproven_order(style, rung(1, "1", "5"), age_seconds=61, at=AT),
        ):
            assert message.redacted(()) is message
