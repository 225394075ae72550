"""The words of what guards the money: exits, loss limits, permissions, and orders nobody can account for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trading.exits import ExitKind
from trading.state import State

ExitOutcome = Literal["sold_all", "sold_part", "given_up"]
"""How an exit ended: everything sold, a part of it, or nothing, where it was given up."""


@dataclass(frozen=True, slots=True)
class RiskWords:
    """One language. The titles hold `{kind}`, `{side}`, `{state}` or `{market}` where they name one."""

    exit_title: str
    flatten_title: str
    exit_ended_titles: Mapping[ExitOutcome, str]
    kinds: Mapping[ExitKind, str]
    kind: str
    price: str
    trigger: str
    average: str
    rate: str
    quantity: str
    sold: str
    left: str
    proceeds: str
    breaker_title: str
    breaker_effect: str
    scope: str
    everything: str
    loss: str
    limit: str
    until: str
    no_end: str
    state_title: str
    states: Mapping[State, str]
    by: str
    armed_title: str
    disarmed_title: str
    armed_effect: str
    disarmed_effect: str
    not_armed_title: str
    flatten_not_armed_title: str
    not_armed_effect: str
    unproven_title: str
    unproven_effect: str
    age: str
    seconds: str
    ambiguous_title: str
    ambiguous_effect: str
    adopted_title: str
    adopted_effect: str
    venue_order_id: str


RISK_KO = RiskWords(
    exit_title="{kind} 조건 도달, 매도 시작",
    flatten_title="포지션 정리 요청, 매도 시작",
    exit_ended_titles={
        "sold_all": "{kind} 완료: 전량 매도",
        "sold_part": "{kind} 종료: 일부만 매도",
        "given_up": "{kind} 중단: 매도하지 못함",
    },
    kinds={
        ExitKind.STOP_LOSS: "손절",
        ExitKind.TAKE_PROFIT: "익절",
        ExitKind.ATR_STOP: "ATR 손절",
        ExitKind.ATR_TARGET: "ATR 익절",
        ExitKind.TRAILING: "추적 손절",
        ExitKind.FLATTEN: "포지션 정리",
    },
    kind="구분",
    price="현재가",
    trigger="기준가",
    average="평균 단가",
    rate="수익률",
    quantity="수량",
    sold="매도",
    left="남은 수량",
    proceeds="매도 금액",
    breaker_title="손실 한도 도달: 신규 매수 중지",
    breaker_effect="매수는 멈추고, 매도와 손절은 계속합니다.",
    scope="범위",
    everything="전체 시장",
    loss="손실",
    limit="한도",
    until="기한",
    no_end="해제할 때까지",
    state_title="거래 상태 변경: {state}",
    states={State.ACTIVE: "정상", State.REDUCING: "매수 중지", State.HALTED: "전체 중지"},
    by="변경한 사람",
    armed_title="실거래 허용: {market}",
    disarmed_title="실거래 해제: {market}",
    armed_effect="기한까지 이 시장에 실제 주문을 보냅니다.",
    disarmed_effect="이 시장에는 실제 주문을 보내지 않습니다. 손절도 나가지 않습니다.",
    not_armed_title="{kind} 조건에 도달했으나 실거래가 허용되지 않았습니다",
    flatten_not_armed_title="포지션 정리를 요청받았으나 실거래가 허용되지 않았습니다",
    not_armed_effect="주문을 보내지 않았습니다. autotrader arm {market}으로 허용하거나 직접 매도하세요.",
    unproven_title="주문 결과를 확인하지 못했습니다",
    unproven_effect="이 종목의 신규 매수를 멈추고 거래소에 계속 확인합니다. 같은 주문을 다시 보내지 않습니다.",
    age="경과",
    seconds="{n}초",
    ambiguous_title="어느 주문이 우리 것인지 구분할 수 없습니다",
    ambiguous_effect="이 종목의 거래를 중지했습니다. 거래소에서 주문을 확인한 뒤 직접 재개하세요.",
    adopted_title="기록에 없는 {side} 주문을 발견했습니다",
    adopted_effect="자동매매가 보내지 않은 주문입니다. 기록에 넣고 체결을 함께 추적합니다.",
    venue_order_id="거래소 주문 ID",
)

RISK_EN = RiskWords(
    exit_title="{kind} reached, selling",
    flatten_title="Asked to close the position, selling",
    exit_ended_titles={
        "sold_all": "{kind} done: all sold",
        "sold_part": "{kind} ended: sold in part",
        "given_up": "{kind} given up: nothing sold",
    },
    kinds={
        ExitKind.STOP_LOSS: "Stop-loss",
        ExitKind.TAKE_PROFIT: "Take-profit",
        ExitKind.ATR_STOP: "ATR stop",
        ExitKind.ATR_TARGET: "ATR target",
        ExitKind.TRAILING: "Trailing stop",
        ExitKind.FLATTEN: "Flatten",
    },
    kind="Kind",
    price="Price",
    trigger="Trigger",
    average="Average price",
    rate="Return",
    quantity="Quantity",
    sold="Sold",
    left="Left",
    proceeds="Proceeds",
    breaker_title="Loss limit reached: buying stopped",
    breaker_effect="Buying stops; selling and exits go on.",
    scope="Scope",
    everything="all markets",
    loss="Loss",
    limit="Limit",
    until="Until",
    no_end="taken back",
    state_title="Trading state changed: {state}",
    states={State.ACTIVE: "active", State.REDUCING: "reducing", State.HALTED: "halted"},
    by="Set by",
    armed_title="Live trading armed: {market}",
    disarmed_title="Live trading disarmed: {market}",
    armed_effect="Real orders go to this market until then.",
    disarmed_effect="No real order goes to this market, no exit either.",
    not_armed_title="{kind} reached, but live trading is not armed",
    flatten_not_armed_title="Asked to close the position, but live trading is not armed",
    not_armed_effect="No order was sent. Arm it with autotrader arm {market}, or sell by hand.",
    unproven_title="An order could not be confirmed",
    unproven_effect="Buying in this symbol stops, the venue is asked on; the order is not sent again.",
    age="Age",
    seconds="{n} s",
    ambiguous_title="Two orders could be ours",
    ambiguous_effect="Trading in this symbol is halted. Look at the venue's orders, then resume it yourself.",
    adopted_title="A {side} order that is not in the journal was found",
    adopted_effect="It was not sent by this system. It is in the journal now, its fills are followed.",
    venue_order_id="Venue order ID",
)
