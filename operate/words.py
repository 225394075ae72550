"""The words of the answers, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notifications import words as notified
from notifications.words import Language
from trading.state import State


@dataclass(frozen=True, slots=True)
class OperateWords:
    """One language. Sentences hold what they name in braces."""

    everything: str
    no_end: str
    until: str
    # profit
    pnl_title: str
    realised: str
    fees_and_taxes: str
    unrealised: str
    not_bought_here: str
    total: str
    nothing_traded: str
    # what keeps from trading
    no_locks: str
    states: Mapping[State, str]
    breaker: str
    written: str
    unproven: str
    open_exit: str
    not_armed: str
    closed: str
    switched_off: str
    min_interval: str
    trades_per_day: str
    model: str
    unlockable: str
    # lifting it
    unlocked: str
    no_such_lock: str
    unproven_stays: str
    exit_stays: str
    arm_instead: str
    waits_instead: str
    settings_instead: str
    # pausing
    paused: str
    stricter: str
    resumed: str
    nothing_to_resume: str
    # closing positions
    flatten_title: str
    flatten_not_armed: str
    nothing_held: str
    sale_begun: str
    buys_open: str
    sale_open: str
    held_back: str
    sold_when_open: str
    guard_called: str
    guard_not_called: str
    no_beat: str
    buys_stop: str


KO = OperateWords(
    everything=notified.KO.risk.everything,
    no_end=notified.KO.risk.no_end,
    until="{at}까지",
    pnl_title="손익, 최근 {days}일 ({first} ~ {last} KST)",
    realised="실현 손익: {amount}{rate} (체결 {fills}건)",
    fees_and_taxes="수수료: {fees}, 세금: {taxes}",
    unrealised="평가 손익: {amount}{rate} (보유 {symbols}종목, 평가 금액 {worth})",
    not_bought_here="매수 기록이 없어 손익에서 제외: {symbols}",
    total="{currency} 합계: 실현 {realised}, 평가 {unrealised}",
    nothing_traded="거래와 보유 종목이 없습니다",
    no_locks="거래를 막는 것이 없습니다",
    states=notified.KO.risk.states,
    breaker="{scope} 손실 한도 도달, 매수 중지 {until}: {reason}",
    written="{scope} {state} {until}: {reason} ({by}, {at})",
    unproven="{symbol} {side} 주문 {order}의 결과를 {age} 동안 확인하지 못해 신규 주문을 막고 있습니다",
    open_exit="{symbol} {kind} 매도 진행 중 ({at}부터): {reason}",
    not_armed="{market} 실거래가 허용되지 않아 주문을 보내지 않습니다",
    closed="{market} 휴장: {reason}",
    switched_off="{symbol} 설정에서 꺼져 있습니다",
    min_interval="{symbol} 매수 간격 제한, {until}",
    trades_per_day="{symbol} 오늘 거래 {have}건, 하루 한도 {most}건",
    model="모델 {model} (키 {key}) 차단, {seconds}초 남음: {reason}",
    unlockable="[해제 가능]",
    unlocked="{name} 해제했습니다",
    no_such_lock="{name}: 그런 잠금이 없습니다. autotrader locks로 이름을 확인하세요",
    unproven_stays="{name}: 사람이 풀 수 없습니다. 거래소가 확인해 준 증거로만 정리됩니다",
    exit_stays="{name}: 시작한 매도는 끝까지 진행합니다. 멈추려면 autotrader halt로 중지하세요",
    arm_instead="{name}: autotrader arm {market} --for 8h로 허용하세요",
    waits_instead="{name}: 시간이 지나면 스스로 풀립니다",
    settings_instead="{name}: 설정 파일에서 켜세요",
    paused="{scope} 매수를 멈췄습니다 {until}. 손절과 매도는 계속합니다",
    stricter="{scope}에는 이미 더 강한 제한이 있어 그대로 둡니다: {state} {until}, {reason}",
    resumed="{scope} 거래를 재개했습니다",
    nothing_to_resume="{scope}에 걸린 중지가 없습니다",
    flatten_title="{scope} 포지션 정리",
    flatten_not_armed=(
        "{market}: 실거래가 허용되지 않아 매도하지 않습니다. autotrader arm {market} --for 1h 뒤에 다시 요청하세요"
    ),
    nothing_held="{market}: 자동매매가 보유한 포지션이 없습니다",
    sale_begun="{market} {symbol}: {quantity} 매도 시작",
    buys_open="{market} {symbol}: 미체결 매수를 거두고, 그 사이 체결된 것은 매도합니다",
    sale_open="{market} {symbol}: 이미 매도 중입니다 ({kind}, {at}부터)",
    held_back="{market} {symbol}: {state} 상태라 매도가 기다립니다: {reason}",
    sold_when_open="{market}: 지금은 휴장이라 개장하면 매도합니다 ({reason})",
    guard_called="{market}: 워커에 바로 매도하도록 알렸습니다. 체결은 텔레그램으로 알립니다",
    guard_not_called="{market}: 워커에 알리지 못했습니다 ({error}). 다음 점검에서 매도합니다",
    no_beat="{market}: 켜진 종목이 없어 점검이 반복되지 않습니다. 남은 것이 없을 때까지 다시 요청하세요",
    buys_stop="매수는 해제할 때까지 멈춥니다 (autotrader resume)",
)

EN = OperateWords(
    everything="everything",
    no_end="until it is taken back",
    until="until {at}",
    pnl_title="profit of {days} days ({first} to {last} KST)",
    realised="realised: {amount}{rate} ({fills} fills)",
    fees_and_taxes="fees: {fees}, taxes: {taxes}",
    unrealised="unrealised: {amount}{rate} ({symbols} symbols held, worth {worth})",
    not_bought_here="not counted, cost unknown: {symbols}",
    total="{currency} in all: realised {realised}, unrealised {unrealised}",
    nothing_traded="nothing was traded and nothing is held",
    no_locks="nothing keeps from trading",
    states=notified.EN.risk.states,
    breaker="{scope}: loss limit reached, nothing is bought {until}: {reason}",
    written="{scope} is {state} {until}: {reason} ({by}, {at})",
    unproven="{symbol}: nothing new is sent while {side} order {order} is not proven, for {age}",
    open_exit="{symbol}: {kind} is being sold since {at}: {reason}",
    not_armed="{market} is live and not armed: no order is sent",
    closed="{market} is closed: {reason}",
    switched_off="{symbol} is switched off in its settings",
    min_interval="{symbol}: too soon after its last trade to buy, {until}",
    trades_per_day="{symbol}: {have} trades today, {most} at most",
    model="model {model} with key {key} is closed for {seconds} s: {reason}",
    unlockable="[can be lifted]",
    unlocked="{name} is lifted",
    no_such_lock="{name}: there is no such lock; autotrader locks shows their names",
    unproven_stays="{name}: nobody can lift it; it is settled only by evidence from the venue",
    exit_stays="{name}: a sale that has begun is finished; autotrader halt holds it back",
    arm_instead="{name}: allow it with autotrader arm {market} --for 8h",
    waits_instead="{name}: it ends by itself",
    settings_instead="{name}: switch it on in the settings",
    paused="buying in {scope} is paused {until}; stops and sales go on",
    stricter="{scope} is under a stricter state, which stays: {state} {until}, {reason}",
    resumed="trading of {scope} goes on",
    nothing_to_resume="no state is in force for {scope}",
    flatten_title="closing the positions of {scope}",
    flatten_not_armed="{market}: live and not armed, nothing is sold; autotrader arm {market} --for 1h, then ask again",
    nothing_held="{market}: our own fills hold nothing",
    sale_begun="{market} {symbol}: selling {quantity}",
    buys_open="{market} {symbol}: open buys are taken back, and what they bring in is sold",
    sale_open="{market} {symbol}: is being sold already ({kind}, since {at})",
    held_back="{market} {symbol}: the sale waits, trading is {state}: {reason}",
    sold_when_open="{market}: closed now, sold when it opens ({reason})",
    guard_called="{market}: the worker was told to sell at once; fills are told on Telegram",
    guard_not_called="{market}: the worker could not be told ({error}); the next look sells",
    no_beat="{market}: no symbol is enabled, so nothing repeats the look; ask again until nothing is left",
    buys_stop="buying stays stopped until autotrader resume",
)


def words(language: Language) -> OperateWords:
    """The words of a language."""
    return EN if language == "en" else KO
