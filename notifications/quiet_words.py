"""The words for what waited for the end of the quiet hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QuietWords:
    """One language. The title holds `{hours}` and `{n}`, `more` holds `{n}`."""

    title: str
    kinds: Mapping[str, str]
    more: str
    count: str


QUIET_KO = QuietWords(
    title="조용한 시간 {hours} 요약: {n}건",
    kinds={"analysis_complete": "AI 분석 완료", "run_summary": "실행 요약", "bot_started": "봇 시작"},
    more="그 밖에 {n}건",
    count="{n}건",
)

QUIET_EN = QuietWords(
    title="Quiet hours {hours}: {n} messages",
    kinds={"analysis_complete": "AI analyses", "run_summary": "Run summaries", "bot_started": "Bot started"},
    more="and {n} more",
    count="{n}",
)
