"""What the fault matrix reads out of messages and dashboards, and when a row of it has passed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.faultmatrix.fault import fault
from sandbox.faultmatrix.matrix import Row, Seen
from sandbox.faultmatrix.messages import notices
from sandbox.faultmatrix.panels import filled_in, queries
from sandbox.faultmatrix.report import as_json, table


def message(text: str, at: float = 1.0) -> dict[str, object]:
    return {"original_text": text, "at": at}


def row(**changes: object) -> Row:
    seen = [Seen("alertmanager", "RedisDown", 4.5)]
    values = {"seen": seen, "resolved": 30.0, **changes}
    return Row("redis-down", "Redis is killed", **values)  # type: ignore[arg-type]


def test_a_message_of_alertmanager_names_its_alert_and_whether_it_is_over() -> None:
    told = notices(
        [
            message("🚨 긴급 · RedisDown\n• Redis 연결 실패", 1.0),
            message("⚠️ 경고 · QueueBacklog\n• 큐 적체", 2.0),
            message("✅ 해소 · RedisDown\n✔ 해소: Redis 연결 실패", 3.0),
        ]
    )
    assert [(notice.alert, notice.resolved, notice.at) for notice in told] == [
        ("RedisDown", False, 1.0),
        ("QueueBacklog", False, 2.0),
        ("RedisDown", True, 3.0),
    ]


def test_a_message_that_is_not_as_the_template_writes_it_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="deploy/alertmanager"):
        notices([message("Firing: RedisDown")])


def test_a_query_is_asked_without_grafanas_variables() -> None:
    asked = filled_in('rate(x_total{market="$market", job=~"${job:regex}"}[$__rate_interval])')
    assert asked == 'rate(x_total{market=".*", job=~".*"}[2m])'
    assert filled_in('up{job!~"a.*|"} and increase(x[$__range])') == 'up{job!~"a.*|"} and increase(x[2m])'


def test_the_queries_of_panels_inside_rows_are_found_and_sql_is_not(tmp_path: Path) -> None:
    panel = {"title": "inner", "targets": [{"expr": "up"}, {"rawSql": "SELECT 1"}]}
    dashboard = {"panels": [{"title": "row", "panels": [panel]}, {"title": "outer", "targets": [{"expr": "pg_up"}]}]}
    (tmp_path / "one.json").write_text(json.dumps(dashboard), encoding="utf-8")
    assert [(query.panel, query.expression) for query in queries(tmp_path)] == [("inner", "up"), ("outer", "pg_up")]


@pytest.mark.parametrize(
    "changes",
    [{"seen": []}, {"missing": ["event"]}, {"resolved": None}, {"problems": ["false alarm: ClockOff"]}],
)
def test_a_row_passes_only_when_it_was_told_by_all_and_is_over(changes: dict[str, object]) -> None:
    assert row().passed
    assert not row(**changes).passed
    shown = json.loads(as_json([row(), row(**changes)], [], None, 1.0))
    assert [entry["passed"] for entry in shown["rows"]] == [True, False]


def test_the_table_says_what_failed() -> None:
    text = "\n".join(table([row(missing=["event"], problems=["2 of 8 failures never arrived"])]))
    assert "RedisDown 4.5 s" in text
    assert "FAILED: never told by event" in text
    assert "FAILED: 2 of 8 failures never arrived" in text


def test_a_fault_that_nobody_has_to_tell_of_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="nobody has to tell"):
        fault("silent", "nothing")
