"""The words of daily and weekly reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trading.reports import Period


@dataclass(frozen=True, slots=True)
class ReportWords:
    """One language. `titles` hold `{since}` and `{until}`, the others what they name."""

    titles: Mapping[Period, str]
    decisions: str
    overruled: str
    trades: str
    fills: str
    bought: str
    sold: str
    fees: str
    taxes: str
    realised: str
    sales: str
    best: str
    worst: str
    round_trips: str
    trips: str
    drawdown: str
    held: str
    cash: str
    total: str
    change: str
    more: str
    unbooked: str
    sweeps: str
    swept: str
    closed: str
    errors: str
    failed: str
    no_errors: str
    alerts: str
    sent: str
    not_sent: str
    uptime: str
    no_sweep_due: str
    gap: str
    models: str
    calls: str
    hours: str
    minutes: str
    nothing: str


REPORT_KO = ReportWords(
    titles={"day": "일일 리포트 {since} ~ {until}", "week": "주간 리포트 {since} ~ {until}"},
    decisions="판단",
    overruled="검증에서 관망으로 바뀜 {n}",
    trades="체결",
    fills="{n}건",
    bought="매수 {amount}",
    sold="매도 {amount}",
    fees="수수료 {amount}",
    taxes="세금 {amount}",
    realised="실현 손익",
    sales="매도 {n}건",
    best="최고 종목",
    worst="최저 종목",
    round_trips="왕복 거래",
    trips="{n}회, 승률 {rate} ({won}승)",
    drawdown="최대 낙폭",
    held="보유 종목",
    cash="현금",
    total="평가 금액",
    change="변동",
    more="외 {n}종목",
    unbooked="매수 기록이 없어 손익에서 제외",
    sweeps="예약 실행",
    swept="{expected}회 중 {n}회",
    closed="휴장 {n}회",
    errors="오류",
    failed="분석 실패 {n}건",
    no_errors="없음",
    alerts="알림",
    sent="전송 {n}건",
    not_sent="전송 포기 {n}건",
    uptime="가동",
    no_sweep_due="예약된 실행 없음",
    gap="가장 긴 공백 {length} ({since} ~ {until})",
    models="모델 비용",
    calls="{n}회",
    hours="{hours}시간 {minutes}분",
    minutes="{minutes}분",
    nothing="실행과 거래 기록이 없습니다.",
)

REPORT_EN = ReportWords(
    titles={"day": "Daily report {since} to {until}", "week": "Weekly report {since} to {until}"},
    decisions="Decisions",
    overruled="overruled by the validator: {n}",
    trades="Trades",
    fills="fills: {n}",
    bought="bought {amount}",
    sold="sold {amount}",
    fees="fees {amount}",
    taxes="taxes {amount}",
    realised="Realised",
    sales="sales: {n}",
    best="Best",
    worst="Worst",
    round_trips="Round trips",
    trips="{n}, won {rate} ({won})",
    drawdown="Largest drawdown",
    held="Held",
    cash="Cash",
    total="Account",
    change="Change",
    more="and {n} more",
    unbooked="Not counted, cost unknown",
    sweeps="Scheduled runs",
    swept="{n} of {expected}",
    closed="market closed: {n}",
    errors="Errors",
    failed="failed analyses: {n}",
    no_errors="none",
    alerts="Alerts",
    sent="sent {n}",
    not_sent="given up {n}",
    uptime="Uptime",
    no_sweep_due="no run was scheduled",
    gap="longest gap {length} ({since} to {until})",
    models="Cost of models",
    calls="calls: {n}",
    hours="{hours} h {minutes} min",
    minutes="{minutes} min",
    nothing="There was no run and no trade.",
)
