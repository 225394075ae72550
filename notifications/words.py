"""The words of the messages, in Korean and English: one catalogue, so that a missing twin does not compile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from notifications.life_words import LIFE_EN, LIFE_KO, LifeWords
from notifications.quiet_words import QUIET_EN, QUIET_KO, QuietWords
from notifications.report_words import REPORT_EN, REPORT_KO, ReportWords
from notifications.risk_words import RISK_EN, RISK_KO, RiskWords
from notifications.run_words import RUN_EN, RUN_KO, RunWords
from trading.types import Decision, OrderState, Side

Language = Literal["ko", "en"]
Mode = Literal["paper", "live"]


@dataclass(frozen=True, slots=True)
class Words:
    """One language. `titles` and `insufficient_title` hold `{side}`, `repeated` `{n}` and `{at}`."""

    analysis_title: str
    name: str
    market: str
    model: str
    price: str
    decision: str
    confidence: str
    reasons: str
    buy_range: str
    sell_range: str
    analysis_id: str
    trace: str
    order: str
    filled: str
    total: str
    fee: str
    unfilled: str
    resting: str
    expected_fee: str
    rungs_title: str
    cancelled_part_title: str
    cancelled_orders_title: str
    cancelled_orders_reason: str
    reason: str
    order_id: str
    fill_line: str
    more_fills: str
    insufficient_title: str
    insufficient_reason: str
    cash: str
    needed: str
    message: str
    context: str
    stack: str
    symbol: str
    task: str
    task_id: str
    queue: str
    worker: str
    repeated: str
    fallback: str
    won: str
    markets: Mapping[str, str]
    modes: Mapping[Mode, str]
    sides: Mapping[Side, str]
    decisions: Mapping[Decision, str]
    grades: tuple[str, str, str]
    titles: Mapping[OrderState, str]
    risk: RiskWords
    report: ReportWords
    life: LifeWords
    quiet: QuietWords
    run: RunWords

    def money(self, amount: Decimal, currency: str) -> str:
        """An amount in its own currency: whole won, dollars with cents, more digits below 1,000 won or a dollar."""
        sign, size = ("-" if amount < 0 else ""), abs(amount)
        if currency == "KRW":
            return sign + self.won.format(amount=_figure(size, 0 if size >= 1000 else 2 if size >= 1 else 8))
        if currency == "USD":
            return f"{sign}${size:,.2f}" if size >= 1 or not size else f"{sign}${_figure(size, 6)}"
        return f"{sign}{_figure(size, 8)} {currency}"

    def amount(self, value: Decimal, currency: str, *, signed: bool = False) -> str:
        """A sum of money as accounts show it: whole won, dollars with cents. `signed` marks a gain with "+"."""
        places = {"KRW": 0, "USD": 2}.get(currency, 8)
        rounded = round(value, places)
        size = f"{abs(rounded):,.{places}f}"
        sign = "-" if rounded < 0 else "+" if signed and rounded > 0 else ""
        if currency == "KRW":
            return sign + self.won.format(amount=size)
        return f"{sign}${size}" if currency == "USD" else f"{sign}{_figure(abs(rounded), places)} {currency}"


def quantity(amount: Decimal) -> str:
    """A quantity with thousands separators, without trailing zeros or an exponent."""
    return _figure(amount, 12)


def words(language: Language) -> Words:
    """The catalogue of a language."""
    return EN if language == "en" else KO


def _figure(amount: Decimal, places: int) -> str:
    text = f"{amount:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


KO = Words(
    analysis_title="AI 분석 완료",
    name="종목",
    market="시장",
    model="모델",
    price="현재가",
    decision="투자 판단",
    confidence="신뢰도",
    reasons="판단 근거",
    buy_range="매수 구간",
    sell_range="매도 구간",
    analysis_id="분석 ID",
    trace="추적 ID",
    order="주문",
    filled="체결",
    total="총 금액",
    fee="수수료",
    unfilled="미체결",
    resting="대기 수량",
    expected_fee="예상 수수료",
    rungs_title="{side} 주문 접수: {n}건, 합계 {total}",
    cancelled_part_title="{side} 주문 일부 체결 후 취소",
    cancelled_orders_title="{side} 주문 취소: {n}건",
    cancelled_orders_reason="새 분석에 따라 대기 주문을 거두었습니다",
    reason="이유",
    order_id="주문 ID",
    fill_line="가격: {price} × 수량: {quantity}",
    more_fills="외 {n}건",
    insufficient_title="{side} 주문 실패",
    insufficient_reason="잔고 부족",
    cash="잔액",
    needed="필요",
    message="메시지",
    context="컨텍스트",
    stack="스택 추적",
    symbol="종목",
    task="작업",
    task_id="작업 ID",
    queue="큐",
    worker="워커",
    repeated="×{n}, 마지막 {at}",
    fallback="알림을 원문대로 보낼 수 없었습니다. 지문: {fingerprint}",
    won="{amount}원",
    markets={"crypto": "암호화폐", "equity_kr": "국내 주식", "equity_us": "해외 주식"},
    modes={"paper": "모의 투자", "live": "실거래"},
    sides={Side.BUY: "매수", Side.SELL: "매도"},
    decisions={Decision.BUY: "매수", Decision.HOLD: "관망", Decision.SELL: "매도"},
    grades=("높음 🔥", "보통 💡", "낮음 ⚠️"),
    titles={
        OrderState.PLANNED: "{side} 주문 예정",
        OrderState.SENDING: "{side} 주문 전송 중",
        OrderState.ACCEPTED: "{side} 주문 접수",
        OrderState.REJECTED: "{side} 주문 거부",
        OrderState.THROTTLED: "{side} 주문 보류 (요청 한도)",
        OrderState.UNKNOWN: "{side} 주문 확인 필요",
        OrderState.PARTLY_FILLED: "{side} 주문 일부 체결",
        OrderState.FILLED: "{side} 주문 체결",
        OrderState.CANCELLED: "{side} 주문 취소",
        OrderState.NOT_CREATED: "{side} 주문 미생성",
    },
    risk=RISK_KO,
    report=REPORT_KO,
    life=LIFE_KO,
    quiet=QUIET_KO,
    run=RUN_KO,
)

EN = Words(
    analysis_title="AI analysis complete",
    name="Instrument",
    market="Market",
    model="Model",
    price="Price",
    decision="Decision",
    confidence="Confidence",
    reasons="Reasons",
    buy_range="Buy range",
    sell_range="Sell range",
    analysis_id="Analysis ID",
    trace="Trace ID",
    order="Order",
    filled="Filled",
    total="Total",
    fee="Fee",
    unfilled="Not filled",
    resting="Still resting",
    expected_fee="Expected fee",
    rungs_title="{side} orders accepted: {n}, total {total}",
    cancelled_part_title="{side} order cancelled after a part was filled",
    cancelled_orders_title="{side} orders cancelled: {n}",
    cancelled_orders_reason="resting orders make way for a new analysis",
    reason="Reason",
    order_id="Order ID",
    fill_line="price {price} × quantity {quantity}",
    more_fills="and {n} more",
    insufficient_title="{side} order failed",
    insufficient_reason="insufficient balance",
    cash="Balance",
    needed="Needed",
    message="Message",
    context="Context",
    stack="Stack trace",
    symbol="Symbol",
    task="Task",
    task_id="Task ID",
    queue="Queue",
    worker="Worker",
    repeated="×{n}, last {at}",
    fallback="An alert could not be sent as it is. Fingerprint: {fingerprint}",
    won="₩{amount}",
    markets={"crypto": "Crypto", "equity_kr": "Korean stocks", "equity_us": "US stocks"},
    modes={"paper": "paper", "live": "live"},
    sides={Side.BUY: "Buy", Side.SELL: "Sell"},
    decisions={Decision.BUY: "Buy", Decision.HOLD: "Hold", Decision.SELL: "Sell"},
    grades=("high 🔥", "medium 💡", "low ⚠️"),
    titles={
        OrderState.PLANNED: "{side} order planned",
        OrderState.SENDING: "{side} order being sent",
        OrderState.ACCEPTED: "{side} order accepted",
        OrderState.REJECTED: "{side} order rejected",
        OrderState.THROTTLED: "{side} order held back (rate limit)",
        OrderState.UNKNOWN: "{side} order needs checking",
        OrderState.PARTLY_FILLED: "{side} order partly filled",
        OrderState.FILLED: "{side} order filled",
        OrderState.CANCELLED: "{side} order cancelled",
        OrderState.NOT_CREATED: "{side} order not created",
    },
    risk=RISK_EN,
    report=REPORT_EN,
    life=LIFE_EN,
    quiet=QUIET_EN,
    run=RUN_EN,
)
