"""The words of what is shown: status, orders, positions, analyses, models, alerts and permissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notifications import words as notified
from notifications.words import Language, Mode
from trading.state import State
from trading.types import Decision, OrderState, Side


@dataclass(frozen=True, slots=True)
class ViewWords:
    """One language. Sentences hold what they name in braces."""

    mode: str
    modes: Mapping[Mode, str]
    paper: str
    armed: str
    unarmed: str
    unproven: str
    state: str
    states: Mapping[State, str]
    everything: str
    until: str
    active: str
    heartbeat: str
    backup: str
    backup_away: str
    hours_ago: str
    ago: str
    never: str
    run: str
    runs: Mapping[str, str]
    order: str
    sides: Mapping[Side, str]
    order_states: Mapping[OrderState, str]
    no_orders: str
    cash: str
    difference: str
    never_analysed: str
    position: str
    no_accounts: str
    analysis: str
    decisions: Mapping[Decision, str]
    ranges: Mapping[str, str]
    bounds: str
    indicators: str
    outcome: str
    order_of: str
    asked: str
    answered: str
    ids: str
    no_trace: str
    opened: str
    closed: str
    all_open: str
    dead: str
    no_reason: str
    new: str
    no_dead: str
    sent: str
    no_sent: str
    of_all: str
    armed_now: str
    disarmed_now: str
    new_account: str
    kept_account: str


KO = ViewWords(
    mode="거래 모드: {mode}",
    modes={"paper": "모의 투자", "live": "실거래"},
    paper="{market}: 모의 투자",
    armed="{market}: 실거래, {at}까지 허용",
    unarmed="{market}: 실거래, 허용되지 않아 주문을 보내지 않음",
    unproven="주문 {order}: {seconds}초째 결과를 확인하지 못함",
    state="{scope} 거래 {state}{until}: {reason}",
    states=notified.KO.risk.states,
    everything=notified.KO.risk.everything,
    until=" ({at}까지)",
    active="거래 정상",
    heartbeat="{market}: 워커 신호 {age}, 대기 {waiting}건",
    backup="백업: {age}",
    backup_away="기기 밖 백업 사본: {age}",
    hours_ago="{hours}시간 전",
    ago="{seconds}초 전",
    never="없음",
    run="실행 {at} {market}: {status}{reason}, 완료 {done}, 실패 {failed}, 대기 {pending}",
    runs={"opened": "준비", "published": "진행 중", "finished": "완료", "skipped": "건너뜀"},
    order="{at} {market} {symbol} {side} {filled}/{quantity}, 가격 {price} {currency}: {state}{reason}",
    sides=notified.KO.sides,
    order_states={
        OrderState.PLANNED: "예정",
        OrderState.SENDING: "전송 중",
        OrderState.ACCEPTED: "접수",
        OrderState.REJECTED: "거부",
        OrderState.THROTTLED: "보류 (요청 한도)",
        OrderState.UNKNOWN: "결과 미확인",
        OrderState.PARTLY_FILLED: "일부 체결",
        OrderState.FILLED: "체결",
        OrderState.CANCELLED: "취소",
        OrderState.NOT_CREATED: "미생성",
    },
    no_orders="아직 주문이 없습니다",
    cash="{market} ({mode}): 현금 {cash} {currency}",
    difference="  {symbol}: 계좌 보유 {held}, 자동매매 체결 합계 {filled}",
    never_analysed="  {symbol}: {quantity}, 분석한 적 없음",
    position="  {symbol}: {quantity}, 평균 단가 {average}, 평가 금액 {worth} ({profit} {currency})",
    no_accounts="아직 계좌가 없습니다. 첫 분석 때 열립니다",
    analysis="{market} {symbol}: {decision}, 신뢰도 {confidence}, 현재가 {price}, {model}, {at}",
    decisions=notified.KO.decisions,
    ranges={
        "appropriate_buy": "매수 적정 구간",
        "appropriate_sell": "매도 적정 구간",
        "buy_hope": "매수 희망 구간",
        "sell_target": "매도 목표 구간",
    },
    bounds="  {name}: {low} ~ {high}",
    indicators="  지표: {values}",
    outcome="결과: {outcome}",
    order_of="주문 {order}: {side} {quantity}, 가격 {price} {currency}, {state}{reason}",
    asked="질문:",
    answered="{model}: {outcome}, {seconds}초, 입력 {read} 토큰, 출력 {written} 토큰, {cost} USD",
    ids="분석 {analysis}, 실행 {run}, 추적 {trace}",
    no_trace="없음",
    opened="{n}개 해제",
    closed="{model} (키 {key}): {reason}, {seconds}초 남음",
    all_open="모든 모델을 쓸 수 있습니다",
    dead="{at} {kind} ×{n} (시도 {attempts}회) {fingerprint}: {reason}{new}\n    {line}",
    no_reason="이유 없음",
    new=" [새 알림]",
    no_dead="포기한 알림이 없습니다",
    sent="{at} {kind} ×{n} {fingerprint}\n    {line}",
    no_sent="여기까지 보낸 알림이 없습니다",
    of_all="{n}건 중 {first}~{last}번째",
    armed_now="{market} {at}까지 실거래를 허용했습니다: 실제 돈으로 주문합니다",
    disarmed_now="{market} 실거래를 해제했습니다: 실제 주문을 보내지 않으며, 거래소에 걸린 주문은 그대로 있습니다",
    new_account="{market}에는 아직 기록이 없습니다. 첫 워커가 시작합니다",
    kept_account="{market}의 기록은 {before}의 것이었고, 이제 {account}의 것입니다",
)

EN = ViewWords(
    mode="mode {mode}",
    modes={"paper": "paper", "live": "live"},
    paper="{market}: paper",
    armed="{market}: LIVE, armed until {at}",
    unarmed="{market}: live, not armed: no order is sent",
    unproven="order {order} is not proven for {seconds} s",
    state="trading of {scope} is {state}{until}: {reason}",
    states=notified.EN.risk.states,
    everything="everything",
    until=" until {at}",
    active="trading is active",
    heartbeat="{market}: heartbeat {age}, {waiting} waiting",
    backup="backup: {age}",
    backup_away="backup off this device: {age}",
    hours_ago="{hours} h ago",
    ago="{seconds} s ago",
    never="never",
    run="run {at} {market}: {status}{reason}, {done} done, {failed} failed, {pending} pending",
    runs={"opened": "opened", "published": "published", "finished": "finished", "skipped": "skipped"},
    order="{at} {market} {symbol} {side} {filled}/{quantity} at {price} {currency}: {state}{reason}",
    sides={side: side.value for side in Side},
    order_states={state: state.value for state in OrderState},
    no_orders="no orders yet",
    cash="{market} ({mode}): {cash} {currency} in cash",
    difference="  {symbol}: the account holds {held}, our own fills come to {filled}",
    never_analysed="  {symbol}: {quantity}, never analysed",
    position="  {symbol}: {quantity} at {average} on average, worth {worth} ({profit} {currency})",
    no_accounts="no accounts yet: they open with the first analysis",
    analysis="{market} {symbol}: {decision} with confidence {confidence} at {price}, by {model}, {at}",
    decisions={decision: decision.value for decision in Decision},
    ranges={name: name for name in KO.ranges},
    bounds="  {name}: {low} to {high}",
    indicators="  indicators: {values}",
    outcome="outcome: {outcome}",
    order_of="order {order}: {side} {quantity} at {price} {currency}, {state}{reason}",
    asked="asked:",
    answered="{model}: {outcome} after {seconds} s, {read} tokens in, {written} out, {cost} USD",
    ids="analysis {analysis}, run {run}, trace {trace}",
    no_trace="none",
    opened="{n} opened",
    closed="{model} with key {key}: {reason}, {seconds} s left",
    all_open="every model may be asked",
    dead="{at} {kind} ×{n} ({attempts} attempts) {fingerprint}: {reason}{new}\n    {line}",
    no_reason="no reason given",
    new=" [new]",
    no_dead="no alert was ever given up",
    sent="{at} {kind} ×{n} {fingerprint}\n    {line}",
    no_sent="no alert was sent here",
    of_all="{first} to {last} of {n}",
    armed_now="{market} is armed until {at}: orders are sent with real money",
    disarmed_now="{market} is not armed: no real order is sent; orders that rest at the venue stay there",
    new_account="{market} has no journal yet; the first worker begins it",
    kept_account="the journal of {market} was of {before} and is of {account} now",
)


def view_words(language: Language) -> ViewWords:
    """The words of a language."""
    return EN if language == "en" else KO
