"""What the bot says, in Korean and English: one catalogue, so that a missing twin does not compile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notifications.words import Language


@dataclass(frozen=True, slots=True)
class BotWords:
    """One language. `menu` describes each command; the others hold what they name."""

    menu: Mapping[str, str]
    help_title: str
    help_end: str
    unknown: str
    usage: str
    bad_argument: str
    too_old: str
    held: str
    failed: str
    timed_out: str
    stopped: str
    interrupted: str
    redis_away: str
    working: str
    already_working: str
    ask_halt: str
    ask_flatten: str
    everywhere: str
    confirm: str
    cancel: str
    cancelled: str
    expired: str
    confirmed: str
    asked: str
    reason_pause: str
    reason_halt: str
    muted: str
    unmuted: str
    mutes_title: str
    no_mutes: str
    mute_names: str
    health_title: str
    up: str
    away: str
    never: str
    seconds_ago: str
    alerts: str
    heartbeat: str
    beat: str
    database: str


def bot_words(language: Language) -> BotWords:
    """The catalogue of a language."""
    return EN if language == "en" else KO


KO = BotWords(
    menu={
        "status": "거래 상태, 하트비트, 최근 실행",
        "positions": "현금과 보유 종목",
        "orders": "최근 주문",
        "pnl": "손익",
        "daily": "오늘의 요약",
        "why": "분석의 근거와 결과",
        "analyze": "지금 한 종목을 분석하고 거래",
        "pause": "새 매수 중지 (보유분 매도는 계속)",
        "resume": "중지를 해제",
        "halt": "모든 주문 중지 (확인 필요)",
        "flatten": "보유분 전량 정리 (확인 필요)",
        "locks": "거래를 막고 있는 것",
        "unlock": "막힌 것 하나를 해제",
        "mute": "알림을 잠시 끄기, 목록, 해제",
        "health": "시스템 각 부분의 상태",
        "help": "명령 목록",
    },
    help_title="명령",
    help_end="시장: {markets}. 확인 버튼은 60초 안에, 요청한 사람만 누를 수 있습니다.",
    unknown="모르는 명령입니다: /{command}. 목록은 /help",
    usage="사용법: /{command} {arguments}",
    bad_argument="알 수 없는 값: {value}",
    too_old="/{command} 명령은 {minutes}분 전에 보낸 것이라 실행하지 않았습니다. 필요하면 다시 보내세요.",
    held="데이터베이스가 응답하지 않아 /{command} 명령을 아직 실행하지 않았습니다. {minutes}분 안에 돌아오면 실행하고, "
    "그 뒤에는 실행하지 않습니다.",
    failed="/{command} 실패: {reason}",
    timed_out="{seconds}초 안에 끝나지 않았습니다",
    stopped="알림 프로세스가 종료되어 중단되었습니다",
    interrupted="/{command} 명령이 끝나기 전에 알림 프로세스가 멈췄습니다. 실행되었는지 알 수 없습니다. "
    "/status 로 확인하세요.",
    redis_away="Redis가 응답하지 않습니다 ({error})",
    working="⏳ {what} 분석을 요청했습니다. 끝나면 알려 드립니다.",
    already_working="{what} 분석이 이미 진행 중입니다.",
    ask_halt="{where} 모든 주문을 중지할까요? 손절·익절 주문도 나가지 않습니다.",
    ask_flatten="{where} 보유분을 모두 정리할까요? 대기 주문을 취소하고 전량을 매도합니다.",
    everywhere="모든 시장의",
    confirm="✅ 확인",
    cancel="✖️ 취소",
    cancelled="취소했습니다.",
    expired="만료된 버튼입니다. 아무것도 하지 않았습니다.",
    confirmed="확인했습니다",
    asked="분석을 요청했습니다",
    reason_pause="텔레그램에서 일시 중지",
    reason_halt="텔레그램에서 주문 중지",
    muted="🔕 {name}: {until} 까지 알리지 않습니다. 횟수는 계속 세고 끝나면 알립니다. CRITICAL은 항상 알립니다.",
    unmuted="🔔 {name}: 다시 알립니다.",
    mutes_title="🔕 꺼진 알림",
    no_mutes="꺼진 알림이 없습니다.",
    mute_names="종류: {names}",
    health_title="상태",
    up="정상",
    away="응답 없음 ({error})",
    never="신호 없음",
    seconds_ago="{n}초 전",
    alerts="알림 큐: 대기 {depth}건, 가장 오래된 것 {age}초, 포기 {dead}건",
    heartbeat="워커 {market}: {sign}",
    beat="beat: {sign}",
    database="데이터베이스: {state}",
)

EN = BotWords(
    menu={
        "status": "trading states, heartbeats, the last runs",
        "positions": "cash and positions",
        "orders": "the orders changed last",
        "pnl": "profit and loss",
        "daily": "today in short",
        "why": "what an analysis was made from, and what came of it",
        "analyze": "analyse and trade one symbol now",
        "pause": "no new exposure; selling what is held goes on",
        "resume": "take a pause or halt back",
        "halt": "stop all orders (asks first)",
        "flatten": "close all positions (asks first)",
        "locks": "what keeps from trading",
        "unlock": "take one of them away",
        "mute": "switch alerts off for a while, list, switch on",
        "health": "the state of each part",
        "help": "this list",
    },
    help_title="Commands",
    help_end="Markets: {markets}. A button asks for its press within 60 s, by the person who asked.",
    unknown="There is no command /{command}; /help lists them",
    usage="Usage: /{command} {arguments}",
    bad_argument="not understood: {value}",
    too_old="/{command} was sent {minutes} minutes ago, so it was not done. Send it again if it is still wanted.",
    held="The database does not answer, so /{command} is not done yet. It will be if the database is back within "
    "{minutes} minutes, and not after that.",
    failed="/{command} failed: {reason}",
    timed_out="not finished within {seconds} s",
    stopped="the notifier was stopped meanwhile",
    interrupted="The notifier ended before /{command} did. Whether it was done is not known: look at /status.",
    redis_away="Redis does not answer ({error})",
    working="⏳ The analysis of {what} is asked for; its result follows.",
    already_working="{what} is being analysed already.",
    ask_halt="Stop all orders of {where}? Stops and targets send none either.",
    ask_flatten="Close all positions of {where}? Resting orders are cancelled and everything held is sold.",
    everywhere="all markets",
    confirm="✅ Confirm",
    cancel="✖️ Cancel",
    cancelled="Cancelled.",
    expired="This button has expired. Nothing was done.",
    confirmed="confirmed",
    asked="the analysis is asked for",
    reason_pause="paused over Telegram",
    reason_halt="halted over Telegram",
    muted="🔕 {name}: not told until {until}. It is counted on, and told afterwards; CRITICAL is told always.",
    unmuted="🔔 {name}: told again.",
    mutes_title="🔕 Muted",
    no_mutes="Nothing is muted.",
    mute_names="Kinds: {names}",
    health_title="Health",
    up="up",
    away="does not answer ({error})",
    never="no sign",
    seconds_ago="{n} s ago",
    alerts="alert queue: {depth} waiting, the oldest for {age} s, {dead} given up",
    heartbeat="worker {market}: {sign}",
    beat="beat: {sign}",
    database="database: {state}",
)
