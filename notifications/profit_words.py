"""The words of profit reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trading.reports import Period


@dataclass(frozen=True, slots=True)
class ProfitWords:
    """One language. `titles` hold `{days}`, the others what they name."""

    titles: Mapping[Period, str]
    realised: str
    fees: str
    taxes: str
    equity: str
    trades: str
    volume: str
    count: str
    symbols: str
    sales: str
    more: str
    unbooked: str
    nothing: str


PROFIT_KO = ProfitWords(
    titles={"day": "일간 손익 {days}", "week": "주간 손익 {days}"},
    realised="실현 손익",
    fees="수수료",
    taxes="세금",
    equity="평가 금액",
    trades="체결",
    volume="거래 금액",
    count="{n}건",
    symbols="종목별",
    sales="매도 {n}건",
    more="외 {n}종목",
    unbooked="매수 기록이 없어 손익에서 제외",
    nothing="계좌와 거래 기록이 없습니다.",
)

PROFIT_EN = ProfitWords(
    titles={"day": "Profit of the day {days}", "week": "Profit of the week {days}"},
    realised="Realised",
    fees="Fees",
    taxes="Taxes",
    equity="Equity",
    trades="Fills",
    volume="Volume",
    count="{n}",
    symbols="By symbol",
    sales="sales: {n}",
    more="and {n} more",
    unbooked="Not counted, cost unknown",
    nothing="There is no account and no trade.",
)
