"""The words of what is followed, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notifications.words import Language


@dataclass(frozen=True, slots=True)
class FollowWords:
    """One language. Sentences hold what they name in braces."""

    steps: Mapping[str, str]
    waiting: str
    failed: str
    count: str
    away: str
    goes_on: str
    publishing: str
    sweep: str
    closed: str
    swept_before: str
    summary: str
    not_ended: str

    def step(self, told: str) -> str:
        """A step as it is called; one that has no other name as it was told."""
        return self.steps.get(told, told)


KO = FollowWords(
    steps={
        "preparing": "준비",
        "publishing": "작업 등록",
        "collecting": "데이터 수집",
        "analysing": "분석",
        "trading": "주문",
    },
    waiting="워커를 기다리는 중",
    failed="실패",
    count="{ended}/{total} 완료, 실패 {failed}",
    away="{error}: 응답을 기다립니다",
    goes_on="작업은 워커에서 계속됩니다. 여기서 보는 것만 멈췄습니다.",
    publishing="{market} 일괄 분석 시작",
    sweep="{market} 일괄 분석",
    closed="{market}: 장이 열려 있지 않아 분석하지 않았습니다 ({reason})",
    swept_before="{market}: 이 시간대는 이미 분석했습니다 (실행 {run})",
    summary="{market}: 종목 {total}개, 완료 {done}, 실패 {failed} (실행 {run})",
    not_ended="아직 끝나지 않았습니다: {left}. 워커가 실행 중인가요? (autotrader worker {market})",
)

EN = FollowWords(
    steps={},
    waiting="waiting for a worker",
    failed="failed",
    count="{ended}/{total} ended, {failed} failed",
    away="{error}: waiting for an answer",
    goes_on="the tasks go on in their workers; only the watching has stopped",
    publishing="starting the sweep of {market}",
    sweep="sweep of {market}",
    closed="{market}: nothing was analysed, the market is closed ({reason})",
    swept_before="{market}: this slot was swept before (run {run})",
    summary="{market}: {total} symbols, {done} done, {failed} failed (run {run})",
    not_ended="not ended yet: {left}: is the worker running? (autotrader worker {market})",
)


def follow_words(language: Language) -> FollowWords:
    """The words of that language."""
    return KO if language == "ko" else EN
