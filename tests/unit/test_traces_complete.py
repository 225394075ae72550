"""A trace counts as complete only if an analysis can be followed from the beat to its Telegram message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.report import complete_traces, summary_lines

SQL = {"db.system": "postgresql"}
TOLD = {"alert.kind": "analysis_complete"}

# span id: (parent id, name, service, attributes)
WHOLE: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "beat": ("", "beat sweep-upbit", "autotrader-beat", {}),
    "send": ("beat", "apply_async/tasks.analysis.sweep", "autotrader-beat", {}),
    "sweep": ("send", "run/tasks.analysis.sweep", "autotrader-worker-upbit", {}),
    "publish": ("sweep", "apply_async/tasks.analysis.analyze_and_trade", "autotrader-worker-upbit", {}),
    "task": ("publish", "run/tasks.analysis.analyze_and_trade", "autotrader-worker-upbit", {}),
    "analysis": ("task", "analyze_coin: KRW-BTC", "autotrader-worker-upbit", {}),
    "collect": ("analysis", "collect_data", "autotrader-worker-upbit", {}),
    "insert": ("analysis", "INSERT autotrader", "autotrader-worker-upbit", SQL),
    "told": ("task", "telegram.send", "autotrader-notifier", TOLD),
}


def spans(tree: dict[str, tuple[str, str, str, dict[str, Any]]], trace: str = "t1") -> list[dict[str, Any]]:
    """The tree as the sandbox lists spans."""
    return [
        {"trace_id": trace, "span_id": key, "parent_id": parent, "name": name, "service": service, "attributes": given}
        for key, (parent, name, service, given) in tree.items()
    ]


def changed(**spans: tuple[str, str, str, dict[str, Any]]) -> dict[str, tuple[str, str, str, dict[str, Any]]]:
    return {**WHOLE, **spans}


def test_an_analysis_from_beat_to_message_counts() -> None:
    assert complete_traces(spans(WHOLE)) == 1


@given(st.permutations(spans(WHOLE)))
def test_the_order_of_arrival_does_not_matter(shuffled: list[dict[str, Any]]) -> None:
    assert complete_traces(shuffled) == 1


@pytest.mark.parametrize("lost", ["publish", "task", "analysis", "collect", "insert", "told"])
def test_a_lost_span_breaks_the_trace(lost: str) -> None:
    assert complete_traces(spans({key: span for key, span in WHOLE.items() if key != lost})) == 0


def test_a_sweep_started_by_hand_counts_without_a_beat() -> None:
    tree = {key: span for key, span in WHOLE.items() if key not in ("beat", "send")}
    assert complete_traces(spans(tree)) == 1


def test_a_beat_counts_where_the_sweep_is_lost_but_not_without_either() -> None:
    from_beat = changed(publish=("send", *WHOLE["publish"][1:]))
    del from_beat["sweep"]
    assert complete_traces(spans(from_beat)) == 1
    orphan = {key: span for key, span in WHOLE.items() if key not in ("beat", "send", "sweep")}
    assert complete_traces(spans(orphan)) == 0


@pytest.mark.parametrize("kind", ["order", "error", None])
def test_a_message_about_something_else_does_not_count(kind: str | None) -> None:
    attributes = {"alert.kind": kind} if kind else {}
    assert complete_traces(spans(changed(told=(*WHOLE["told"][:3], attributes)))) == 0


def test_a_message_in_another_trace_does_not_count() -> None:
    apart = {key: span for key, span in WHOLE.items() if key != "told"}
    assert complete_traces([*spans(apart), *spans({"told": WHOLE["told"]}, trace="t2")]) == 0


def test_steps_beside_the_task_do_not_count() -> None:
    assert complete_traces(spans(changed(collect=("sweep", *WHOLE["collect"][1:])))) == 0


def test_redis_is_not_sql_and_the_newer_attribute_is() -> None:
    assert complete_traces(spans(changed(insert=(*WHOLE["insert"][:3], {"db.system": "redis"})))) == 0
    assert complete_traces(spans(changed(insert=(*WHOLE["insert"][:3], {"db.system.name": "postgresql"})))) == 1


def test_a_task_delivered_twice_is_one_analysis() -> None:
    again = {
        f"{key}-2": (f"{parent}-2" if parent != "publish" else parent, *rest)
        for key, (parent, *rest) in WHOLE.items()
        if key in ("task", "analysis", "collect", "insert", "told")
    }
    assert complete_traces(spans({**WHOLE, **again})) == 1  # type: ignore[dict-item]


def test_two_symbols_of_one_sweep_are_two_analyses() -> None:
    other = {
        f"{key}-2": (f"{parent}-2" if parent != "sweep" else parent, *rest)
        for key, (parent, *rest) in WHOLE.items()
        if key in ("publish", "task", "analysis", "collect", "insert", "told")
    }
    assert complete_traces(spans({**WHOLE, **other})) == 2  # type: ignore[dict-item]


def test_spans_that_are_each_others_parents_end_the_search() -> None:
    ring = changed(sweep=("publish", "ring", "autotrader-worker-upbit", {}))
    assert complete_traces(spans(ring)) == 0


def test_the_summary_says_how_many_analyses_are_traced() -> None:
    counts = {"symbols": 2, "analyses": 2, "orders": 1, "fills": 1, "failed": 0}
    lines = summary_lines(
        {
            "feed": "simulated",
            "markets": {"upbit": counts, "kis": counts},  # type: ignore[dict-item]
            "telegram_messages": 6,
            "spans": 321,
            "traces_complete": 4,
            "metrics": 30,
            "seconds": 12.3,
        }
    )
    assert "upbit: 2 symbols, 2 analyses, 1 orders, 1 fills, 0 failed" in lines
    assert "4 of 4 analyses traced from beat to message" in "\n".join(lines)
