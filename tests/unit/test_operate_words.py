"""What an operator and the trade chat read of positions that a person wants closed, in both languages."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from notifications import exit_texts
from notifications.texts import Style
from notifications.words import EN as NOTIFY_EN
from notifications.words import KO as NOTIFY_KO
from operate import fault_words, view_words, words
from trading.exits import ExitKind, flatten
from trading.types import Instrument, Position

AT = datetime(2025, 11, 8, 6, 25, 10, tzinfo=UTC)
BITCOIN = Instrument(
    "upbit", "KRW-BTC", "비트코인", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
WANTED = flatten(Position(Decimal("0.5"), Decimal(100_000_000)), Decimal(95_000_000), "telegram:42 (kim)")


@pytest.mark.parametrize("module", [words, view_words, fault_words])
def test_both_languages_name_the_same_things(module: Any) -> None:
    for field in fields(module.KO):
        korean, english = getattr(module.KO, field.name), getattr(module.EN, field.name)
        if isinstance(korean, str):
            assert set(re.findall(r"{(\w+)}", korean)) == set(re.findall(r"{(\w+)}", english)), field.name
        else:
            assert korean.keys() == english.keys()


def test_a_flatten_is_a_persons_word_at_the_last_price() -> None:
    assert (WANTED.kind, WANTED.quantity, WANTED.rate) == (ExitKind.FLATTEN, Decimal("0.5"), Decimal("-0.05"))
    assert WANTED.price == WANTED.trigger == 95_000_000
    unknown = flatten(Position(Decimal(1), Decimal(0)), Decimal(1), "somebody")
    assert unknown.rate == 0


def test_a_flatten_names_who_asked_and_no_trigger() -> None:
    korean = exit_texts.exit_begun(Style(NOTIFY_KO), BITCOIN, WANTED, average_price=Decimal(100_000_000), at=AT).text
    assert korean.startswith("🧹 포지션 정리 요청, 매도 시작\n")
    assert "telegram:42 (kim)" in korean
    assert "수익률: -5.00%" in korean
    assert "기준가" not in korean
    english = exit_texts.exit_begun(Style(NOTIFY_EN), BITCOIN, WANTED, average_price=Decimal(100_000_000), at=AT).text
    assert english.startswith("🧹 Asked to close the position, selling\n")
    assert "Trigger" not in english


def test_the_end_of_a_flatten_and_one_that_is_not_armed_are_told() -> None:
    ended = exit_texts.exit_ended(
        Style(NOTIFY_KO),
        BITCOIN,
        ExitKind.FLATTEN,
        "sold_all",
        wanted=Decimal("0.5"),
        sold=Decimal("0.5"),
        proceeds=Decimal(47_000_000),
        reason="",
        at=AT,
    )
    assert ended.text.startswith("✅ 포지션 정리 완료: 전량 매도\n")
    waits = exit_texts.exit_not_armed(Style(NOTIFY_EN), BITCOIN, WANTED, average_price=Decimal(1), at=AT)
    assert waits.text.startswith("🔴 CRITICAL: Asked to close the position, but live trading is not armed\n")
