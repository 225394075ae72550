"""The matrix as lines for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sandbox.faultmatrix.matrix import Row
from sandbox.faultmatrix.panels import Panels

_HEAD = ("fault", "detected by", "told after", "resolved", "also fired")


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line per fault, with those under it that say what is wrong."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    for number, line in enumerate(cells):
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        if number:
            yield from _faults_of(rows[number - 1])


def _cells(row: Row) -> tuple[str, ...]:
    told = ", ".join(f"{_by(seen.by, seen.name)} {seen.seconds:.1f} s" for seen in row.seen)
    first = "-" if row.detected is None else f"{row.detected:.1f} s"
    over = "-" if row.resolved is None else f"{row.resolved:.1f} s"
    return row.fault, told or "NOTHING", first, over, ", ".join(row.also) or "-"


def _by(by: str, name: str) -> str:
    return name if by == "alertmanager" else "message of the ledger"


def _faults_of(row: Row) -> Iterator[str]:
    if row.missing:
        yield f"    FAILED: never told by {', '.join(row.missing)}"
    for problem in row.problems:
        yield f"    FAILED: {problem}"


def panel_lines(panels: Panels | None) -> Iterator[str]:
    """What the dashboards showed."""
    if panels is None:
        return
    shown = panels.asked - len(panels.may_be_empty) - len(panels.empty)
    yield f"panels: {shown} of {panels.asked} queries show data, {len(panels.may_be_empty)} have nothing to show yet"
    yield from (f"  nothing yet: {line}" for line in panels.may_be_empty)
    yield from (f"  FAILED, no data: {line}" for line in panels.empty)


def as_json(rows: Sequence[Row], loud: Sequence[str], panels: Panels | None, seconds: float) -> str:
    """One object: what was told while nothing was wrong, a row per fault, how the queries of the panels fared."""
    return json.dumps(
        {
            "told_while_healthy": list(loud),
            "rows": [{**asdict(row), "detected": row.detected, "passed": row.passed} for row in rows],
            "panels": None if panels is None else asdict(panels),
            "seconds": round(seconds, 1),
        },
        ensure_ascii=False,
        indent=2,
    )
