"""Whether the dashboards show anything: every query of every Grafana dashboard, asked of the live Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.faultmatrix.ask import NoAnswer
from sandbox.faultmatrix.monitoring import DEPLOY, Monitoring

DASHBOARDS = DEPLOY / "grafana" / "dashboards"

# what Grafana would put there: a window of some scrapes, and every value of a variable
_WINDOW = re.compile(r"\$__(?:rate_interval|interval|range)|\$\{__(?:rate_interval|interval|range)\}")
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


# What there is nothing of while nothing goes wrong, nothing is traded or no account is connected: a panel of these
# may be empty, every other must show something.
MAY_BE_EMPTY = {
    "ai_validation_rejected_total": "an analysis that the validator refused",
    "autotrader_armed": "live trading",
    "autotrader_credentials_expiry_seconds": "keys of an account",
    "autotrader_limiter_refused_total": "a request that found no slot",
    "autotrader_refusals_total": "an order that a rule decided against",
    "autotrader_telemetry_export_failures_total": "an export that failed",
    "autotrader_venue_throttled_total": "a refusal for rate",
    "bot_errors_total": "an error",
    "celery_task_failed_total": "a task that failed",
    "pg_locks_count": "a lock that is held while it is asked",
    "pg_stat_activity_max_tx_duration": "a transaction that is open while it is asked",
}


@dataclass(frozen=True, slots=True)
class Query:
    """One query of one panel."""

    dashboard: str
    panel: str
    expression: str


def queries(directory: Path = DASHBOARDS) -> list[Query]:
    """Every Prometheus query of the dashboards."""
    found = []
    for file in sorted(directory.glob("*.json")):
        dashboard = json.loads(file.read_text("utf-8"))
        for panel in _panels(dashboard):
            for target in panel.get("targets", ()):
                if expression := target.get("expr"):
                    found.append(Query(file.stem, panel.get("title", "?"), expression))
    return found


@dataclass(frozen=True, slots=True)
class Panels:
    """How the queries fared: all of them, those that showed nothing and may, and those that must not."""

    asked: int
    may_be_empty: tuple[str, ...]
    empty: tuple[str, ...]


def evaluate(monitoring: Monitoring, directory: Path = DASHBOARDS) -> Panels:
    """Ask every query; one that is malformed counts as empty."""
    every = queries(directory)
    allowed: list[str] = []
    empty: list[str] = []
    for query in every:
        line = f"{query.dashboard} / {query.panel}: {query.expression}"
        try:
            found = bool(monitoring.query(filled_in(query.expression)))
        except NoAnswer as error:
            empty.append(f"{line} ({error})")
            continue
        if not found:
            (allowed if _may_be_empty(query.expression) else empty).append(line)
    return Panels(len(every), tuple(allowed), tuple(empty))


def _may_be_empty(expression: str) -> bool:
    return any(re.search(rf"\b{metric}\b", expression) for metric in MAY_BE_EMPTY)


def filled_in(expression: str) -> str:
    """The expression with Grafana's variables replaced, each by what matches anything."""
    return _VARIABLE.sub(".*", _WINDOW.sub("2m", expression))


def _panels(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for panel in holder.get("panels", ()):
        yield panel
        yield from _panels(panel)
