from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import split
from notifications import life_texts, texts
from notifications.alert import Alert, read_payload
from notifications.message import (
    TELEGRAM_LIMIT,
    TEXT_LIMIT,
    Chat,
    Message,
    Priority,
    Text,
    cut,
    cut_start,
    utf16_length,
)
from notifications.texts import Failure, Links
from notifications.words import EN, KO, Words, quantity
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

AT = datetime(2025, 11, 8, 6, 25, 10, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BITCOIN = Instrument(
    market="upbit",
    symbol="KRW-BTC",
    name="비트코인",
    asset_type="crypto",
    currency="KRW",
    quantity_step=Decimal("0.00000001"),
    min_order_value=Decimal(5000),
    fee_rate=Decimal("0.0005"),
)
APPLE = replace(BITCOIN, market="yfinance", symbol="AAPL", name="Apple", asset_type="equity_us", currency="USD")
LINKS = Links("http://signoz.local:8080/", "http://flower.local:5555")


def analysis(decision: Decision = Decision.BUY, confidence: int = 85, **changes: object) -> Analysis:
    some = PriceRange(Decimal(94_000_000), Decimal(95_000_000))
    made = Analysis(
        decision=decision,
        confidence=confidence,
        reasons=("RSI 28: 과매도", "MACD 골든크로스"),
        ranges=PriceRanges(some, some, some, some),
        model="gemini-2.0-flash",
        price=Decimal("95123000"),
        at=AT,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def intent(**changes: object) -> OrderIntent:
    made = OrderIntent(
        client_order_id="at-1234",
        market="upbit",
        symbol="KRW-BTC",
        side=Side.BUY,
        quantity=Decimal("0.0010"),
        price=Decimal(100_000_000),
        currency="KRW",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def fill(number: int = 1, units: str = "0.0005", price: str = "100000000") -> Fill:
    return Fill(f"t{number}", Decimal(units), Decimal(price), Decimal("25.5"), AT)


def formatted(message: Message, kind: str) -> list[str]:
    """The pieces of text an entity of that kind covers, as Telegram reads its offsets."""
    units = message.text.encode("utf-16-le")
    return [
        units[2 * e.offset : 2 * (e.offset + e.length)].decode("utf-16-le") for e in message.entities if e.type == kind
    ]


@pytest.mark.parametrize(
    ("decision", "emoji", "word"),
    [(Decision.BUY, "📈", "매수"), (Decision.HOLD, "🤚", "관망"), (Decision.SELL, "📉", "매도")],
)
def test_an_analysis_says_what_it_proposes(decision: Decision, emoji: str, word: str) -> None:
    message = texts.analysis_complete(KO, BITCOIN, analysis(decision), trace_id=TRACE)
    assert message.text.startswith(f"{emoji} AI 분석 완료\n🕒 2025-11-08 15:25:10 KST\n")
    for line in (
        "종목: 비트코인 (KRW-BTC)",
        "시장: 암호화폐 (upbit, 모의 투자)",
        "모델: gemini-2.0-flash",
        "현재가: 95,123,000원",
        f"투자 판단: {word}",
        "신뢰도: 85% (높음 🔥)",
        "  1. RSI 28: 과매도",
        f"추적 ID: {TRACE}",
    ):
        assert line in message.text.splitlines()
    assert (message.chat, message.priority) == (Chat.TRADE, Priority.NORMAL)
    assert formatted(message, "bold")[0] == f"{emoji} AI 분석 완료"
    assert TRACE in formatted(message, "code")


def test_an_analysis_in_one_line_ends_with_a_command_that_tells_all_of_it() -> None:
    id = "0c1d7a34-52f1-4a55-9d0b-0a6d2f1c9e77"
    line = texts.analysis_line(KO, BITCOIN, analysis(Decision.BUY), id)
    assert line == f"📈 KRW-BTC 매수 85% 95,123,000원 /why_{id.replace('-', '')}"
    # no more than Telegram makes a link of, and what the bot reads of it
    command = line.split()[-1]
    assert len(command) <= 65
    assert split(f"{command}@a_bot", "a_bot") == ("why", id.replace("-", ""))
    assert texts.analysis_line(EN, APPLE, analysis(Decision.HOLD, price=Decimal("234.5"))) == "🤚 AAPL Hold 85% $234.50"


@pytest.mark.parametrize(("confidence", "grade"), [(70, "높음 🔥"), (69, "보통 💡"), (40, "보통 💡"), (39, "낮음 ⚠️")])
def test_a_confidence_has_the_seeds_grade(confidence: int, grade: str) -> None:
    assert (
        f"신뢰도: {confidence}% ({grade})" in texts.analysis_complete(KO, BITCOIN, analysis(confidence=confidence)).text
    )


def test_english_is_the_twin_of_korean() -> None:
    text = texts.analysis_complete(EN, APPLE, analysis(Decision.HOLD, price=Decimal("234.5")), trace_id=TRACE).text
    for line in ("🤚 AI analysis complete", "Decision: Hold", "Confidence: 85% (high 🔥)", "Price: $234.50"):
        assert line in text.splitlines()
    for entry in fields(Words):
        korean, english = getattr(KO, entry.name), getattr(EN, entry.name)
        assert type(korean) is type(english)
        if isinstance(korean, dict):
            assert korean.keys() == english.keys()


def test_a_filled_order_shows_what_was_paid() -> None:
    placement = Placement("v1", OrderState.FILLED, (fill(1), fill(2, price="100200000")))
    message = texts.order(KO, BITCOIN, intent(), placement, at=AT, trace_id=TRACE)
    assert message.text.startswith("💰 매수 주문 체결\n")
    for line in (
        "주문: 0.001 × 100,000,000원",
        "체결: 0.001 × 100,100,000원",
        "총 금액: 100,100원",
        "수수료: 51원",
        "  1. 가격: 100,000,000원 × 수량: 0.0005",
        "  2. 가격: 100,200,000원 × 수량: 0.0005",
        "주문 ID: at-1234",
    ):
        assert line in message.text.splitlines()
    assert "미체결" not in message.text
    assert message.priority is Priority.HIGH


@pytest.mark.parametrize(
    ("side", "placement", "title", "line"),
    [
        (
            Side.SELL,
            Placement("v", OrderState.FILLED, (fill(units="0.001"),)),
            "💸 매도 주문 체결",
            "총 금액: 100,000원",
        ),
        (Side.BUY, Placement("v", OrderState.PARTLY_FILLED, (fill(),)), "💰 매수 주문 일부 체결", "대기 수량: 0.0005"),
        (
            Side.BUY,
            Placement("v", OrderState.CANCELLED, (fill(),), "partly_filled: the rest is cancelled"),
            "🚫 매수 주문 일부 체결 후 취소",
            "미체결: 0.0005",
        ),
        (Side.BUY, Placement("v", OrderState.CANCELLED), "🚫 매수 주문 취소", "미체결: 0.001"),
        (Side.SELL, Placement(None, OrderState.REJECTED, reason="too small"), "❌ 매도 주문 거부", "이유: too small"),
        (Side.BUY, Placement("v", OrderState.ACCEPTED), "💰 매수 주문 접수", "주문: 0.001 × 100,000,000원"),
        (Side.BUY, Placement("v", OrderState.ACCEPTED), "💰 매수 주문 접수", "총 금액: 100,000원"),
        (Side.BUY, Placement("v", OrderState.ACCEPTED), "💰 매수 주문 접수", "예상 수수료: 50원"),
        (Side.BUY, Placement(None, OrderState.UNKNOWN), "❓ 매수 주문 확인 필요", "주문 ID: at-1234"),
    ],
)
def test_every_end_of_an_order_has_its_message(side: Side, placement: Placement, title: str, line: str) -> None:
    lines = texts.order(KO, BITCOIN, intent(side=side), placement, at=AT).text.splitlines()
    assert lines[0] == title
    assert line in lines


@pytest.mark.parametrize("words", [KO, EN])
@pytest.mark.parametrize("state", list(OrderState))
@pytest.mark.parametrize("side", list(Side))
def test_no_state_of_an_order_is_without_words(words: Words, state: OrderState, side: Side) -> None:
    assert texts.order(words, BITCOIN, intent(side=side), Placement(None, state), at=AT).text


def test_insufficient_cash_shows_balance_and_need() -> None:
    message = texts.insufficient_cash(
        KO, BITCOIN, Side.BUY, have=Decimal(5000), need=Decimal(50_000), at=AT, trace_id=TRACE
    )
    assert message.text.startswith("❌ 매수 주문 실패\n")
    assert "이유: 잔고 부족" in message.text
    assert "잔액: 5,000원 / 필요: 50,000원" in message.text
    dollars = texts.insufficient_cash(EN, APPLE, Side.BUY, have=Decimal("12.5"), need=Decimal(1234), at=AT)
    assert "Balance: $12.50 / Needed: $1,234.00" in dollars.text


@pytest.mark.parametrize(
    ("amount", "currency", "korean", "english"),
    [
        ("1234567", "KRW", "1,234,567원", "₩1,234,567"),
        ("999.5", "KRW", "999.5원", "₩999.5"),
        ("0.00001234", "KRW", "0.00001234원", "₩0.00001234"),
        ("-5000", "KRW", "-5,000원", "-₩5,000"),
        ("0", "KRW", "0원", "₩0"),
        ("1E+3", "KRW", "1,000원", "₩1,000"),
        ("1234.5", "USD", "$1,234.50", "$1,234.50"),
        ("0.1234", "USD", "$0.1234", "$0.1234"),
        ("-3", "USD", "-$3.00", "-$3.00"),
        ("1500", "JPY", "1,500 JPY", "1,500 JPY"),
    ],
)
def test_money_is_shown_in_its_own_currency(amount: str, currency: str, korean: str, english: str) -> None:
    assert KO.money(Decimal(amount), currency) == korean
    assert EN.money(Decimal(amount), currency) == english


def test_quantities_have_no_exponent() -> None:
    assert quantity(Decimal("1E-8")) == "0.00000001"
    assert quantity(Decimal("12345.500")) == "12,345.5"


def failure(**changes: object) -> Failure:
    made = Failure(
        error_type="TimedOut",
        error="upbit: KRW-BTC did not answer",
        at=AT,
        market="upbit",
        symbol="KRW-BTC",
        task="tasks.analysis.analyze_and_trade",
        task_id="0a1b",
        queue="upbit",
        worker="upbit@pi",
        trace_id=TRACE,
        stack='  File "client.py", line 7, in get\n    raise TimedOut\n',
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_error_says_what_where_and_in_which_trace() -> None:
    message = texts.error(KO, failure(), links=LINKS)
    lines = message.text.splitlines()
    assert lines[0] == "⚠️ ERROR: TimedOut"
    for line in (
        "🕒 2025-11-08 15:25:10 KST",
        "upbit: KRW-BTC did not answer",
        "  • 시장: upbit",
        "  • 종목: KRW-BTC",
        "  • 작업: tasks.analysis.analyze_and_trade",
        "  • 작업 ID: 0a1b",
        "  • 큐: upbit",
        "  • 워커: upbit@pi",
        f"  • 추적 ID: {TRACE}",
        f"  • SigNoz: http://signoz.local:8080/trace/{TRACE}",
        "  • Flower: http://flower.local:5555/task/0a1b",
        "    raise TimedOut",
    ):
        assert line in lines
    assert formatted(message, "pre") == [
        "upbit: KRW-BTC did not answer",
        '  File "client.py", line 7, in get\n    raise TimedOut',
    ]
    assert (message.chat, message.priority) == (Chat.ERROR, Priority.HIGH)


def test_a_critical_error_looks_and_ranks_so() -> None:
    message = texts.error(KO, failure(level="CRITICAL"))
    assert message.text.startswith("🔴 CRITICAL: TimedOut\n")
    assert message.priority is Priority.CRITICAL


def test_no_link_is_shown_where_none_is_configured() -> None:
    text = texts.error(KO, failure()).text
    assert "SigNoz" not in text
    assert "Flower" not in text


@pytest.mark.parametrize("text", ["x" * 100_000, "🔥👩‍👩‍👧‍👦" * 20_000, "가\n" * 50_000, "\ud800" * 1000, ""])
def test_an_error_of_any_size_fits_and_keeps_what_matters(text: str) -> None:
    many = failure(error=text, error_type=text[:500] or "E", task=text, queue=text, worker=text, stack=text)
    message = texts.with_count(KO, texts.error(KO, many, links=LINKS), 10_000_000, AT, AT)
    assert utf16_length(message.text) <= TELEGRAM_LIMIT
    assert message.text.encode()
    assert TRACE in message.text
    assert "KRW-BTC" in message.text
    assert message.text.endswith("×10,000,000, 마지막 15:25")
    for entity in message.entities:
        assert 0 <= entity.offset < entity.offset + entity.length <= utf16_length(message.text)
    assert formatted(message, "bold")[-1] == "×10,000,000, 마지막 15:25"


def test_the_end_of_a_long_stack_is_kept() -> None:
    stack = "".join(f'  File "a.py", line {n}, in f{n}\n' for n in range(200))
    text = texts.error(KO, failure(stack=stack)).text
    assert "in f199" in text
    assert "in f0\n" not in text


@pytest.mark.parametrize(
    ("words", "never", "seconds"), [(KO, "마지막 신호: 없음", "초"), (EN, "Last sign: none", " s")]
)
def test_of_a_process_that_never_gave_a_sign_no_seconds_are_told(words: Words, never: str, seconds: str) -> None:
    for silent in (
        life_texts.worker_silent(words, "upbit", last=0, silent=0, at=AT),
        life_texts.beat_silent(words, last=0, silent=0, at=AT),
    ):
        assert never in silent.text.splitlines()
        assert words.life.silent_for not in silent.text
    heard = life_texts.worker_silent(words, "upbit", last=AT.timestamp() - 127, silent=127, at=AT)
    assert f"{words.life.silent_for}: 127{seconds}" in heard.text.splitlines()


def test_the_count_says_the_day_when_it_is_another() -> None:
    message = texts.error(EN, failure())
    assert texts.with_count(EN, message, 1, AT, AT) is message
    later = texts.with_count(EN, message, 1137, AT, datetime(2025, 11, 8, 15, 5, tzinfo=UTC))
    assert later.text.endswith("×1,137, last 11-09 00:05")


@given(st.text(), st.integers(2, 50))
def test_a_cut_text_fits_and_is_a_start_or_an_end(text: str, limit: int) -> None:
    start, end = cut(text, limit), cut_start(text, limit)
    assert utf16_length(start) <= limit
    assert utf16_length(end) <= limit
    assert text.startswith(start.removesuffix("…"))
    assert text.endswith(end.removeprefix("…\n").removeprefix("…"))


def test_a_cut_does_not_tear_an_emoji() -> None:
    family = "👩‍👩‍👧"
    assert cut("a" * 8 + family, 13) == "a" * 8 + "…"
    assert cut("ab⚠️cd", 4) == "ab…"


@given(st.lists(st.tuples(st.text(max_size=600), st.sampled_from(["", "bold", "code", "pre"])), max_size=12))
def test_entities_cover_the_pieces_they_were_given_for(pieces: list[tuple[str, str]]) -> None:
    text = Text()
    for piece, entity in pieces:
        text.add(piece, entity)
    message = text.message(Priority.HIGH, Chat.ERROR)
    length = utf16_length(message.text)
    assert length <= TEXT_LIMIT
    assert all(e.length > 0 and e.offset + e.length <= length for e in message.entities)


def test_a_payload_comes_back_as_it_went() -> None:
    message = texts.error(KO, failure())
    alert = Alert("f", "error", message, AT, symbol="KRW-BTC", traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    contents = read_payload(alert.payload())
    assert (contents.message, contents.kind, contents.symbol) == (message, "error", "KRW-BTC")
    assert (contents.traceparent, contents.at) == (alert.traceparent, AT)


def test_a_secret_that_got_into_a_message_is_taken_out_of_it() -> None:
    message = texts.error(KO, failure(error="the value hunter22 is wrong"))
    clean = message.redacted(["hunter22"])
    assert "hunter22" not in clean.text
    assert clean.entities == ()
    assert message.redacted(["something-else"]) is message
