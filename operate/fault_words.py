"""Why a question has no answer, in both languages: one sentence each, with the cure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notifications.words import Language
from storage import faults


@dataclass(frozen=True, slots=True)
class FaultWords:
    """One language. Sentences hold what they name in braces."""

    # what was asked for
    hours: str
    days: str
    duration: str
    arming_length: str
    paper: str
    no_id: str
    no_symbol: str
    no_analysis: str
    strategy: str
    # whoever should answer
    no_result: str
    task_failed: str
    redis: str
    database: str
    databases: Mapping[str, str]
    contradiction: str
    dead_letters: str
    not_migrated: str
    venue: str
    venues: Mapping[str, str]


KO = FaultWords(
    hours="{hours}시간: 0(해제할 때까지)부터 {most}까지여야 합니다",
    days="{days}일: 1부터 {most}까지여야 합니다",
    duration="기간 {value!r}: 90s, 10m, 4h, 1d처럼 쓰세요",
    arming_length="--for 값 {value}: 0보다 길고 {days}d 이하여야 합니다",
    paper="{market}: 모의 투자 중입니다. 먼저 TRADING_MODE=live와 그 계좌의 키를 설정하세요",
    no_id="{value!r}: 분석 번호가 아닙니다. 분석 메시지 끝의 번호를 복사하세요",
    no_symbol="{market}에 {symbol!r} 종목이 없습니다. 거래하거나 분석한 종목만 됩니다: {known}",
    no_analysis="{id}: 그런 분석이 없습니다",
    strategy="매매 설정을 고치세요: {reason}",
    no_result="{seconds}초 안에 결과가 없습니다. 워커가 실행 중인지 확인하세요 (autotrader worker {market})",
    task_failed="작업 실패: {reason}",
    redis="{where}의 Redis에 연결할 수 없습니다 ({reason}). Redis를 시작하거나 REDIS_URL을 고치세요",
    database="{where}: {reason}",
    databases={
        "no_database": "그런 데이터베이스가 없습니다. 만들거나 DATABASE_URL을 고치세요",
        "no_role": "그 사용자가 없거나 로그인할 수 없습니다. 만들거나 DATABASE_URL을 고치세요",
        "wrong_password": "비밀번호가 틀립니다. DATABASE_URL을 고치세요",
        "no_rights": "그 사용자에게 이 데이터베이스의 권한이 없습니다. 권한을 주세요",
        "full": "남은 연결이 없습니다. max_connections를 늘리거나 워커를 줄이세요",
        "starting": "시작 중이거나 종료 중입니다. 잠시 뒤 다시 시도하세요",
        "silent": "{seconds}초 안에 응답이 없습니다. 호스트, 포트, 방화벽을 확인하세요",
        "refused": "연결을 거부합니다. PostgreSQL을 시작하거나 DATABASE_URL을 고치세요",
        "unreachable": "연결할 수 없습니다 ({reason}). DATABASE_URL의 호스트를 고치세요",
        "unusable": "사용할 수 없습니다 ({reason}). 서버의 로그를 확인하세요",
        "unmigrated": "아직 마이그레이션하지 않았습니다. autotrader migrate를 실행하세요",
        "behind": "마이그레이션 {at}이고 이 버전에는 {needed}이 필요합니다. autotrader migrate를 실행하세요",
        "ahead": "마이그레이션 {at}은 이 버전의 {needed}보다 새것입니다. 마이그레이션한 버전을 배포하세요",
    },
    contradiction="저장된 기록이 서로 맞지 않아 사람이 확인해야 합니다: {reason}",
    dead_letters="포기한 알림을 읽을 수 없습니다: {reason}",
    not_migrated="데이터베이스를 아직 마이그레이션하지 않았습니다. autotrader migrate를 실행하세요",
    venue="{market} 계좌를 조회하지 못했습니다, {why}: {reason}",
    venues={
        "TimedOut": "시간 안에 응답이 없음",
        "Unreachable": "연결할 수 없음",
        "Throttled": "요청 한도 초과",
        "UnknownSymbol": "없는 종목",
        "BadReply": "알 수 없는 응답",
        "BadCredentials": "키가 거부됨",
        "Rejected": "요청이 거부됨",
        "NoData": "데이터 없음",
        "Stale": "오래된 데이터",
        "Unproven": "결과를 확인하지 못함",
        "Ambiguous": "주문을 구별할 수 없음",
        "VenueError": "사용할 수 없음",
    },
)

EN = FaultWords(
    hours="{hours} hours: must be from 0, which is until it is taken back, to {most}",
    days="{days} days: must be from 1 to {most}",
    duration="--for is {value!r}: must be a duration such as 90s, 10m, 4h or 1d",
    arming_length="--for is {value}: must be above 0 and at most {days}d",
    paper="{market} trades on paper: set TRADING_MODE=live and the keys of its account first",
    no_id="{value!r} is no analysis id: copy it from the end of an analysis message",
    no_symbol="{market} has no symbol {symbol!r} that is traded or was analysed; there are {known}",
    no_analysis="there is no analysis {id}",
    strategy="the strategy has to be corrected: {reason}",
    no_result="no answer within {seconds} s: is the worker running? (autotrader worker {market})",
    task_failed="the task failed: {reason}",
    redis="Redis at {where} is not reachable ({reason}): start it, or set REDIS_URL to where it runs",
    database="{where}: {reason}",
    databases=faults.SENTENCES,
    contradiction="what is stored contradicts itself, a person has to look: {reason}",
    dead_letters="the dead letters cannot be read: {reason}",
    not_migrated="the database was not migrated; run: autotrader migrate",
    venue="the account of {market} cannot be asked, {why}: {reason}",
    venues={
        "TimedOut": "no answer in time",
        "Unreachable": "no connection",
        "Throttled": "too many requests",
        "UnknownSymbol": "unknown symbol",
        "BadReply": "a reply that is none",
        "BadCredentials": "the keys are refused",
        "Rejected": "the request is refused",
        "NoData": "no data",
        "Stale": "old data",
        "Unproven": "not proven",
        "Ambiguous": "not to be told apart",
        "VenueError": "cannot be used",
    },
)


def fault_words(language: Language) -> FaultWords:
    """The words of a language."""
    return EN if language == "en" else KO
