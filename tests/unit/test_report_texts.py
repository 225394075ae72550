"""What a day and a week came to, as it is shown: every figure in its market's currency, and never too long to send."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.message import TEXT_LIMIT, Chat, Priority, utf16_length
from notifications.report_texts import report as told
from notifications.texts import Links, Style
from notifications.words import EN, KO
from trading.reports import (
    Decisions,
    Failure,
    Gap,
    Holding,
    MarketReport,
    ModelUse,
    Period,
    Profit,
    Report,
    Sweeps,
    SymbolProfit,
    Worth,
    bounds,
)

AT = datetime(2025, 11, 8, 0, 1, 10, tzinfo=UTC)
START = datetime(2025, 11, 7, tzinfo=UTC)
PROFIT = Profit(
    fills=5,
    bought=Decimal(1_468_000),
    sold=Decimal(1_000_000),
    fees=Decimal("1234.4"),
    taxes=Decimal(0),
    realised=Decimal("12345.6"),
    rate=Decimal("0.0125"),
    symbols=(
        SymbolProfit("KRW-BTC", Decimal(20_000), Decimal("0.031"), 1),
        SymbolProfit("KRW-ETH", Decimal("-7654.4"), Decimal("-0.02"), 2),
    ),
    unbooked=(),
    round_trips=3,
    won=2,
)
UPBIT = MarketReport(
    market="upbit",
    asset_type="crypto",
    currency="KRW",
    decisions=Decisions(3, 2, 19, 1),
    sweeps=Sweeps(24, 23, 0),
    profit=PROFIT,
    worth=Worth(
        AT,
        Decimal(9_000_000),
        Decimal(1_123_000),
        Decimal(10_123_000),
        Decimal(10_000_000),
        Decimal("0.0123"),
        Decimal("0.021"),
    ),
    holdings=(
        Holding("KRW-BTC", Decimal("0.01"), Decimal(1), Decimal(112_300_000), Decimal(1_123_000), Decimal("0.1")),
    ),
)
APPLE = MarketReport(
    market="yfinance",
    asset_type="equity_us",
    currency="USD",
    decisions=Decisions(),
    sweeps=Sweeps(None, 0, 0),
    profit=replace(
        PROFIT,
        fills=1,
        bought=Decimal(0),
        sold=Decimal("469.25"),
        fees=Decimal("0.5"),
        taxes=Decimal("0.25"),
        realised=Decimal("-3.456"),
        rate=None,
        symbols=(),
        unbooked=("AAPL",),
        round_trips=0,
        won=0,
    ),
    worth=None,
    holdings=(),
)
WHOLE = Report(
    "day",
    *bounds("day", START),
    (UPBIT, APPLE),
    (Failure("upbit", "Throttled", 2), Failure("kis", "Throttled", 1), Failure("upbit", "Stale", 1)),
    12,
    1,
    Gap(START, START + timedelta(hours=2, minutes=5)),
    (ModelUse("gemini-2.5-pro", 40, 1, 1, Decimal("0.12")), ModelUse("other", 2, 1, 1, Decimal("0.0025"))),
)


def test_a_day_shows_each_market_in_its_own_currency() -> None:
    message = told(Style(KO), WHOLE, at=AT, picture="abc")
    assert message.text == (
        "📊 일일 리포트 2025-11-07 09:00 ~ 11-08 09:00 (모의 투자)\n"
        "🕒 2025-11-08 09:01:10 KST\n"
        "\n"
        "암호화폐 (upbit)\n"
        "판단: 매수 3 · 매도 2 · 관망 19 (검증에서 관망으로 바뀜 1)\n"
        "체결: 5건 · 매수 1,468,000원 · 매도 1,000,000원 · 수수료 1,234원\n"
        "실현 손익: +12,346원 (+1.25%)\n"
        "  KRW-BTC +20,000원 (+3.10%), 매도 1건\n"
        "  KRW-ETH -7,654원 (-2.00%), 매도 2건\n"
        "평가 금액: 10,123,000원 (현금 9,000,000원)\n"
        "변동: +123,000원 (+1.23%)\n"
        "보유 종목:\n"
        "  KRW-BTC 0.01 × 112,300,000원 = 1,123,000원 (+10.00%)\n"
        "\n"
        "해외 주식 (yfinance)\n"
        "판단: 매수 0 · 매도 0 · 관망 0\n"
        "체결: 1건 · 매수 $0.00 · 매도 $469.25 · 수수료 $0.50 · 세금 $0.25\n"
        "실현 손익: -$3.46\n"
        "⚠️ 매수 기록이 없어 손익에서 제외: AAPL\n"
        "\n"
        "오류: 분석 실패 4건 (Throttled 3, Stale 1)\n"
        "알림: 전송 12건 · 전송 포기 1건\n"
        "가동: 예약 실행 24회 중 23회 (95.8%), 가장 긴 공백 2시간 5분 (11-07 09:00 ~ 11-07 11:05)\n"
        "  upbit: 24회 중 23회\n"
        "모델 비용: $0.1225 (42회)"
    )
    assert (message.chat, message.priority, message.picture) == (Chat.TRADE, Priority.NORMAL, "abc")


def test_a_week_adds_what_only_a_week_can_tell() -> None:
    report = replace(WHOLE, period="week", starts_at=START - timedelta(days=6))
    text = told(Style(EN, "live"), report, at=AT).text
    assert text.startswith("📊 Weekly report 2025-11-01 09:00 to 11-08 09:00 (live)\n")
    for line in (
        "Best: KRW-BTC +₩20,000 (+3.10%)",
        "Worst: KRW-ETH -₩7,654 (-2.00%)",
        "Round trips: 3, won 67% (2)",
        "Largest drawdown: -2.10%",
        "Cost of models: $0.1225 (calls: 42)",
        "  gemini-2.5-pro $0.12 (calls: 40)",
        "Round trips: 0",
    ):
        assert line in text.splitlines()


def test_a_report_of_nothing_says_so() -> None:
    text = told(Style(KO), Report("day", *bounds("day", START), (), (), None, 0, None, ()), at=AT).text
    assert "실행과 거래 기록이 없습니다." in text
    assert "오류: 없음\n알림: 전송 포기 0건\n가동: 예약된 실행 없음" in text


@pytest.mark.parametrize(("carried_out", "share"), [(120, "100.0%"), (119, "99.1%"), (0, "0.0%")])
def test_a_hundred_percent_is_all_of_them(carried_out: int, share: str) -> None:
    market = replace(UPBIT, sweeps=Sweeps(120, carried_out, 0))
    assert f"({share})" in told(Style(EN), replace(WHOLE, markets=(market,)), at=AT).text


def test_of_many_symbols_the_largest_are_shown_and_the_rest_counted() -> None:
    symbols = tuple(SymbolProfit(f"S{n}", Decimal(n), None, 1) for n in (9, 5, 4, 3, 1, -2, -8))
    holdings = tuple(replace(UPBIT.holdings[0], symbol=f"H{n}", worth=Decimal(n)) for n in range(40, 0, -1))
    market = replace(UPBIT, profit=replace(PROFIT, symbols=symbols), holdings=holdings)
    lines = told(Style(KO), replace(WHOLE, markets=(market,)), at=AT).text.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  S")] == ["S9", "S5", "S4", "S3", "S-8"]
    assert [line.split()[0] for line in lines if line.startswith("  H")] == ["H40", "H39", "H38", "H37", "H36"]
    assert [line for line in lines if "외" in line] == ["  외 2종목", "  외 35종목"]


@pytest.mark.parametrize("words", [KO, EN])
@pytest.mark.parametrize("period", ["day", "week"])
def test_a_full_report_of_all_markets_is_sent_whole(words: object, period: Period) -> None:
    name = "KRW-1000SHIBAINUCOIN"
    symbol = SymbolProfit(name, Decimal("-123456789"), Decimal("-0.1234"), 100)
    holding = replace(UPBIT.holdings[0], symbol=name, quantity=Decimal("123456.12345678"))
    market = replace(
        UPBIT,
        profit=replace(PROFIT, symbols=(symbol,) * 200, unbooked=(name,) * 200, taxes=Decimal(1)),
        holdings=(holding,) * 200,
    )
    failures = tuple(Failure("upbit", f"AnErrorWithALongName{n}", 100) for n in range(30))
    report = replace(WHOLE, period=period, markets=(market,) * 3, failures=failures, models=WHOLE.models * 9)
    style = Style(words, "live", Links("http://signoz.local"), "4bf92f3577b34da6a3ce929d0e0e4736")  # type: ignore[arg-type]
    text = told(style, report, at=AT).text
    assert utf16_length(text) < TEXT_LIMIT
    assert text.endswith("4bf92f3577b34da6a3ce929d0e0e4736")
    assert told(style, report, at=AT).redacted(()).text == text


AMOUNTS = st.decimals("-1e15", "1e15", allow_nan=False, places=8)
TEXTS = st.one_of(
    st.text(max_size=60), st.sampled_from(["🔥👩‍👩‍👧" * 500, "x" * 9_000, "<b>&*_`[", "\ud800", "가\n" * 900])
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_its_fields_hold_a_report_can_be_sent(data: st.DataObject) -> None:
    name, symbol, kind = (data.draw(TEXTS) for _ in range(3))
    amount, rate = data.draw(AMOUNTS), data.draw(AMOUNTS)
    profit = replace(
        PROFIT,
        realised=amount,
        rate=rate,
        symbols=(SymbolProfit(symbol, amount, rate, 1),) * data.draw(st.integers(0, 9)),
        unbooked=(symbol,) * data.draw(st.integers(0, 50)),
    )
    market = replace(
        UPBIT,
        market=name,
        asset_type=kind,
        currency=data.draw(st.sampled_from(["KRW", "USD", "JPY", ""])),
        profit=data.draw(st.sampled_from([profit, None])),
        holdings=(Holding(symbol, amount, amount, amount, amount, rate),) * data.draw(st.integers(0, 9)),
    )
    period = data.draw(st.sampled_from(["day", "week"]))
    report = replace(
        WHOLE,
        period=period,
        markets=(market,) * data.draw(st.integers(0, 6)),
        failures=(Failure(name, kind, 1),) * data.draw(st.integers(0, 9)),
    )
    message = told(Style(data.draw(st.sampled_from([KO, EN]))), report, at=AT)
    length = utf16_length(message.text)
    assert 0 < length <= TEXT_LIMIT
    assert message.text.encode()
    for entity in message.entities:
        assert 0 <= entity.offset < entity.offset + entity.length <= length
