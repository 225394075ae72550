from __future__ import annotations

import pickle

import pytest

from notifications.fingerprint import error_name, in_app_frames, normalise, of_failure, subject
from workers.errors import Unproven


@pytest.mark.parametrize(
    ("message", "normal"),
    [
        (
            "order 6f1c2d3e-0a1b-4c2d-8e3f-001122334455 failed at 2025-11-06T03:02:15.1Z qty=0.5 id 0xdeadbeef BTC1 v2",
            "order <uuid> failed at <ts> qty=<n> id <hex> BTC1 v2",
        ),
        ("balance 5,000 needs 50,000.5", "balance <n> needs <n>"),
        ("trace 4bf92f3577b34da6a3ce929d0e0e4736 gone", "trace <hex> gone"),
        ("a deadbeefdeadbeefdead word", "a deadbeefdeadbeefdead word"),
        ("order_7 of KRW-BTC\n  took 10.2 s", "order_7 of KRW-BTC took <n> s"),
        ("잔고 부족: 보유 5,000원", "잔고 부족: 보유 <n>원"),
    ],
)
def test_what_changes_from_one_failure_to_the_next_is_taken_out(message: str, normal: str) -> None:
    assert normalise(message) == normal


def of(**changes: object) -> str:
    values: dict[str, object] = {
        "error_type": "TimedOut",
        "message": "upbit: KRW-BTC after 10.0 s",
        "frames": ("workers.upbit.client:get",),
        "task": "tasks.analysis.analyze_and_trade",
        "market": "upbit",
        "symbol": "KRW-BTC",
    }
    return of_failure(**(values | changes))  # type: ignore[arg-type]


def test_the_same_failure_has_the_same_fingerprint() -> None:
    assert of() == of(message="upbit: KRW-BTC after 12.7 s")
    assert len(of()) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"error_type": "Unreachable"},
        {"task": "tasks.analysis.sweep"},
        {"market": "kis"},
        {"symbol": "KRW-ETH"},
        {"frames": ("workers.upbit.client:post",)},
        {"message": "upbit: KRW-BTC was refused"},
        {"market": "", "symbol": "upbitKRW-BTC"},
        {"about": "an order"},
    ],
)
def test_another_failure_has_another_fingerprint(change: dict[str, object]) -> None:
    assert of(**change) != of()


def test_two_orders_that_fail_with_the_same_words_are_two_failures() -> None:
    words = "upbit KRW-BTC: the venue does not show order {}, which it had accepted"
    first, second = (Unproven(words.format(number), about=f"order-{number}") for number in (1, 2))
    assert normalise(str(first)) == normalise(str(second))
    assert of(message=str(first), about=subject(first)) != of(message=str(second), about=subject(second))
    # Celery pickles what a task raises
    assert subject(pickle.loads(pickle.dumps(first))) == "order-1"
    assert subject(Unproven("kis order: taken under no number")) == subject(ValueError("x")) == ""


def test_frames_name_our_functions_without_line_numbers() -> None:
    def raise_in(module: str, inner: object = None) -> None:
        source = "\n" * 7 + "def call(inner):\n    if inner: inner(None)\n    raise ValueError('x')\n"
        names: dict[str, object] = {"__name__": module}
        exec(source, names)  # a module of that name, as the traceback sees it
        names["call"](inner)  # type: ignore[operator]

    with pytest.raises(ValueError) as ours:
        raise_in("workers.upbit.client")
    with pytest.raises(ValueError) as theirs:
        raise_in("aiohttp.client")
    assert in_app_frames(ours.value.__traceback__) == ("workers.upbit.client:call",)
    assert in_app_frames(theirs.value.__traceback__) == ()


def test_an_exception_that_could_not_be_pickled_keeps_its_name() -> None:
    wrapper = Exception("wrapped")
    wrapper.exc_cls_name = "OddError"  # type: ignore[attr-defined]
    assert error_name(wrapper) == "OddError"
    assert error_name(ValueError()) == "ValueError"


def test_a_message_of_any_characters_has_a_fingerprint() -> None:
    assert of(message="\ud800 lone \x00") != of()
