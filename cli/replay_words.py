"""What a replay says, in both languages."""

from __future__ import annotations

from dataclasses import dataclass

from notifications.words import Language


@dataclass(frozen=True, slots=True)
class ReplayWords:
    """One language. Sentences hold what they name in braces."""

    title: str
    headings: tuple[str, ...]
    together: str
    none: str
    source: str
    sources: dict[str, str]
    local: str
    local_because: str
    asking_venue: str
    took: str
    taxes: str
    kept: str
    picture: str
    stopped: str
    following: str


KO = ReplayWords(
    title="{market} 리플레이 {start} ~ {end}, 시작 금액 {cash} {currency} (종목당 {share}), 모의 주문",
    headings=("종목", "일수", "수익률", "보유 수익률", "최대 낙폭", "보유 낙폭", "체결", "승률", "수수료"),
    together="전체",
    none="-",
    source="{symbol}: 일봉 {days}개 ({first} ~ {last}), {source}",
    sources={"recorded": "기록된 캔들", "venue": "거래소", "simulated": "모의 캔들"},
    local="이 컴퓨터에서 Redis, PostgreSQL, 워커 {workers}개를 잠시 실행합니다",
    local_because="REDIS_URL이 설정되지 않아 ",
    asking_venue="{market}에서 일봉을 가져옵니다",
    took="{days}일을 {seconds:.1f}초에 처리 (초당 {rate:.1f}일): {workers}",
    taxes="매도 거래세 {tax} {currency}는 모의 계좌가 내지 않으므로 수익률에서 빠지지 않았습니다",
    kept="데이터베이스 스키마를 남겼습니다: {schemas}",
    picture="그림: {path}",
    stopped="리플레이를 멈췄습니다",
    following="{market} 리플레이",
)

EN = ReplayWords(
    title="replay of {market}, {start} to {end}, begun with {cash} {currency} ({share} per symbol), on paper",
    headings=("symbol", "days", "return", "hold", "drawdown", "hold's", "fills", "wins", "fees"),
    together="together",
    none="-",
    source="{symbol}: {days} daily candles ({first} to {last}), {source}",
    sources={"recorded": "recorded", "venue": "of the venue", "simulated": "simulated"},
    local="starting Redis, PostgreSQL and {workers} workers on this machine for it",
    local_because="no REDIS_URL is configured: ",
    asking_venue="asking {market} for daily candles",
    took="{days} days in {seconds:.1f} s ({rate:.1f} a second): {workers}",
    taxes="the tax of {tax} {currency} on sales is not taken off: the paper account does not pay it",
    kept="kept in the database, as schemas: {schemas}",
    picture="picture: {path}",
    stopped="the replay was stopped",
    following="replay of {market}",
)


def replay_words(language: Language) -> ReplayWords:
    return EN if language == "en" else KO
