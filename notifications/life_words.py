"""The words for processes that start, stop, fall silent and come back, and for many messages in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notifications.kinds import Topic


@dataclass(frozen=True, slots=True)
class LifeWords:
    """One language. Titles and effects hold `{process}`, cures `{setting}`, the others what they name."""

    started: str
    stopped: str
    version: str
    mode: str
    markets: str
    silent: str
    back: str
    last_sign: str
    never: str
    silent_for: str
    seconds: str
    worker_effect: str
    worker_cure: str
    beat_effect: str
    beat_cure: str
    digests: Mapping[Topic, str]
    digest_more: str
    diverted: str
    chat_moved: str
    chat_moved_cure: str
    chat_moved_from: str
    backup_old: Mapping[str, str]
    backup_last: str
    backup_effect: str
    backup_cure: Mapping[str, str]


LIFE_KO = LifeWords(
    started="봇 시작",
    stopped="봇 종료",
    version="버전",
    mode="모드",
    markets="시장",
    silent="{process} 응답 없음",
    back="{process} 복구됨",
    last_sign="마지막 신호",
    never="없음",
    silent_for="무응답 시간",
    seconds="{n}초",
    worker_effect="이 시장의 분석, 주문 확인, 손절·익절이 멈춰 있을 수 있습니다.",
    worker_cure="프로세스와 로그를 확인하고 다시 시작하세요: autotrader worker {market}",
    beat_effect="새 작업이 예약되지 않습니다. 모든 시장의 분석과 손절·익절이 멈춰 있을 수 있습니다.",
    beat_cure="프로세스와 로그를 확인하고 다시 시작하세요: autotrader beat",
    digests={
        Topic.ERRORS: "오류 모음: {kinds}종 {n}건",
        Topic.TRADES: "거래 알림 모음: {kinds}종 {n}건",
        Topic.NOTICES: "알림 모음: {kinds}종 {n}건",
    },
    digest_more="그 밖에 {kinds}종 {n}건",
    diverted="이 알림의 채팅방을 쓸 수 없어 여기로 보냅니다. 확인할 설정: {setting}",
    chat_moved="채팅방 ID 변경됨 (슈퍼그룹 전환)",
    chat_moved_cure="새 ID로 계속 보냅니다. .env의 {setting} 값을 바꾸세요:",
    chat_moved_from="이전 ID",
    backup_old={"local": "백업이 오래되었습니다", "away": "기기 밖 백업 사본이 오래되었습니다"},
    backup_last="마지막 백업",
    backup_effect="지금 디스크가 고장 나면 그 뒤의 주문·체결 기록을 잃습니다.",
    backup_cure={
        "local": "make backup으로 지금 백업하고, autotrader-backup 타이머를 확인하세요 (docs/backups.md).",
        "away": "네트워크와 RESTIC_REPOSITORY를 확인하고 make backup을 다시 실행하세요 (docs/backups.md).",
    },
)

LIFE_EN = LifeWords(
    started="Bot started",
    stopped="Bot stopped",
    version="Version",
    mode="Mode",
    markets="Markets",
    silent="{process} is silent",
    back="{process} is back",
    last_sign="Last sign",
    never="none",
    silent_for="Silent for",
    seconds="{n} s",
    worker_effect="Analyses, order checks, stops and targets of this market may be at a standstill.",
    worker_cure="Look at the process and its log, and start it again: autotrader worker {market}",
    beat_effect="No task is scheduled: analyses, stops and targets of all markets may be at a standstill.",
    beat_cure="Look at the process and its log, and start it again: autotrader beat",
    digests={
        Topic.ERRORS: "Errors: {kinds} kinds, {n} in all",
        Topic.TRADES: "Trades: {kinds} messages, {n} in all",
        Topic.NOTICES: "Messages: {kinds} kinds, {n} in all",
    },
    digest_more="and {kinds} more kinds, {n} in all",
    diverted="The chat of this alert cannot be used, so it comes here. Check {setting}",
    chat_moved="The chat has a new id (it became a supergroup)",
    chat_moved_cure="Messages go to the new id. Set {setting} in .env to it:",
    chat_moved_from="Old id",
    backup_old={"local": "The last backup is old", "away": "The last copy off this device is old"},
    backup_last="Last backup",
    backup_effect="If the disk fails now, the orders and fills recorded since then are lost.",
    backup_cure={
        "local": "Back up now with make backup, and look at the timer autotrader-backup (docs/backups.md).",
        "away": "Check the network and RESTIC_REPOSITORY, and run make backup again (docs/backups.md).",
    },
)
