"""The words for a run that has ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunWords:
    """One language. The title holds `{market}`, `seconds` and `more` hold `{n}`."""

    title: str
    slot: str
    analysed: str
    decided: str
    orders: str
    failed: str
    more: str
    took: str
    seconds: str


RUN_KO = RunWords(
    title="자동 거래 실행 완료: {market}",
    slot="실행 시각",
    analysed="분석",
    decided="판단",
    orders="접수된 주문",
    failed="실패",
    more="외 {n}종목",
    took="소요 시간",
    seconds="{n}초",
)

RUN_EN = RunWords(
    title="Run complete: {market}",
    slot="Run of",
    analysed="Analysed",
    decided="Decisions",
    orders="Orders accepted",
    failed="Failed",
    more="and {n} more",
    took="Took",
    seconds="{n} s",
)
