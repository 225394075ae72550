"""What one sweep came to: the object that `demo --once --json` prints, from the database and the sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbox.feeds import Feed, overall
from sandbox.stack import Stack
from settings import MARKETS
from storage.counts import MarketCounts, run_counts
from storage.engine import open_engine
from storage.recent import RunRow, recent_runs
from storage.runs import pending_symbols

T = TypeVar("T")
Span = Mapping[str, Any]
SpanKey = tuple[str, str]

SWEEP_SECONDS = 150.0
SETTLE_SECONDS = 10.0
LONGEST_SETTLE_SECONDS = 120.0
# how long nothing new must arrive at the chat before it counts as quiet
QUIET_SECONDS = 1.0

_POLL_SECONDS = 0.25
_ENDED = ("finished", "skipped")
_NOTHING: MarketCounts = {"symbols": 0, "analyses": 0, "orders": 0, "fills": 0, "failed": 0}


class SweepUnfinished(Exception):
    """The sweeps did not end in time; one line that names what is missing."""


class Report(TypedDict):
    """The result of one sweep of all markets; `seconds` is the time since the demo was started."""

    feed: Feed
    markets: dict[str, MarketCounts]
    telegram_messages: int
    spans: int
    traces_complete: int
    metrics: int
    seconds: float


class Database:
    """The stack's database for a caller without an event loop: its own loop, and one connection."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.engine: AsyncEngine = open_engine(url, pool_size=1, application_name="demo")

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.engine.dispose())
        self._runner.close()

    def read(self, query: Callable[..., Any], *arguments: Any) -> Any:
        """The result of `query(engine, *arguments)`, a query of `storage`."""
        return self._runner.run(query(self.engine, *arguments))


def report_of_one_sweep(stack: Stack, started: float) -> Report:
    """Wait until every market has been swept and told about, and count. `started` is a `time.monotonic()`.

    Raises `SweepUnfinished`, or `ProcessFailed` if a process ends meanwhile.
    """
    with Database(stack.database_url) as database:
        _wait_for_sweeps(stack, database)
        counts: dict[str, MarketCounts] = database.read(run_counts)
        markets = {market: counts.get(market, _NOTHING) for market in MARKETS}
    _settle(stack, expected=sum(market["analyses"] for market in markets.values()))
    spans = stack.control.get("otlp/spans")
    summary = stack.control.get("summary")
    return {
        "feed": overall(stack.feeds),
        "markets": markets,
        "telegram_messages": summary["telegram_messages"],
        "spans": summary["spans"],
        "traces_complete": complete_traces(spans),
        "metrics": summary["metrics"],
        "seconds": round(time.monotonic() - started, 1),
    }


def complete_traces(spans: Iterable[Span]) -> int:
    """How many analyses can be followed in one trace from the beat or the sweep to the Telegram message.

    `spans` are the sandbox's. An analysis counts once, also if its task was delivered again: when its task
    span has a sweep or a span of the beat above it, and below it the collected data, the analysis, SQL and
    the sending of the analysis' alert.
    """
    by_key: dict[SpanKey, Span] = {}
    children: dict[SpanKey, list[Span]] = {}
    for span in spans:
        by_key[span["trace_id"], span["span_id"]] = span
        if span["parent_id"]:
            children.setdefault((span["trace_id"], span["parent_id"]), []).append(span)
    return len(
        {
            # the span of the message, which all its deliveries share
            (span["trace_id"], span["parent_id"])
            for span in by_key.values()
            if span["name"].startswith("run/tasks.analysis.analyze_and_trade")
            and _any_above(span, by_key, _starts_a_sweep)
            and all(
                any(wanted(below) for below in _descendants(span, children))
                for wanted in (_collects, _analyses, _queries, _tells)
            )
        }
    )


def summary_lines(report: Report) -> list[str]:
    """The report for a reader."""
    lines = [f"feed: {report['feed']}"]
    for market, counts in report["markets"].items():
        numbers = ", ".join(f"{value} {name}" for name, value in counts.items())
        lines.append(f"{market}: {numbers}")
    analyses = sum(counts["analyses"] for counts in report["markets"].values())
    lines.append(
        f"telegram: {report['telegram_messages']} messages; telemetry: {report['spans']} spans, "
        f"{report['metrics']} metrics, {report['traces_complete']} of {analyses} analyses traced from beat to message"
    )
    lines.append(f"{report['seconds']} s from start to result")
    return lines


def _wait_for_sweeps(stack: Stack, database: Database) -> None:
    expected = [market for market in MARKETS if stack.symbols[market]]
    deadline = time.monotonic() + SWEEP_SECONDS
    while True:
        runs: dict[str, RunRow] = {}
        try:
            runs = {run.market: run for run in reversed(database.read(recent_runs))}
            missing = [market for market in expected if market not in runs or runs[market].status not in _ENDED]
            if not missing:
                return
            if time.monotonic() > deadline:
                said = "; ".join(_what_is_missing(market, runs.get(market), database) for market in missing)
                raise SweepUnfinished(f"no result within {SWEEP_SECONDS:g} s: {said}")
        except (SQLAlchemyError, OSError) as error:
            if time.monotonic() > deadline:
                raise SweepUnfinished(f"the database cannot be read: {type(error).__name__}") from None
        stack.group.check()
        time.sleep(_POLL_SECONDS)


def _what_is_missing(market: str, run: RunRow | None, database: Database) -> str:
    if run is None:
        return f"{market} was never swept"
    pending = ", ".join(database.read(pending_symbols, run.id)) or "none"
    return f"{market} is {run.status}, pending: {pending}"


def _settle(stack: Stack, expected: int) -> None:
    """Wait until the traces are whole, metrics are there and the chat is quiet; at most a while after its last message.

    A chat gets a message a second, so that those of a large sweep take their time.
    """
    messages, quiet_since = -1, time.monotonic()
    latest = quiet_since + LONGEST_SETTLE_SECONDS
    while time.monotonic() < min(latest, quiet_since + SETTLE_SECONDS):
        summary = stack.control.get("summary")
        if summary["telegram_messages"] != messages:
            messages, quiet_since = summary["telegram_messages"], time.monotonic()
        quiet = time.monotonic() - quiet_since >= QUIET_SECONDS
        if quiet and summary["metrics"] and complete_traces(stack.control.get("otlp/spans")) >= expected:
            return
        time.sleep(_POLL_SECONDS)


def _starts_a_sweep(span: Span) -> bool:
    return str(span["name"]).startswith("run/tasks.analysis.sweep") or str(span["service"]).endswith("-beat")


def _collects(span: Span) -> bool:
    return bool(span["name"] == "collect_data")


def _analyses(span: Span) -> bool:
    return str(span["name"]).startswith("analyze_coin")


def _queries(span: Span) -> bool:
    attributes = span["attributes"]
    return "postgresql" in (attributes.get("db.system"), attributes.get("db.system.name"))


def _tells(span: Span) -> bool:
    return bool(span["name"] == "telegram.send" and span["attributes"].get("alert.kind") == "analysis_complete")


def _any_above(span: Span, by_key: Mapping[SpanKey, Span], wanted: Callable[[Span], bool]) -> bool:
    """Whether an unbroken line of parents leads to a wanted span."""
    seen: set[str] = set()
    above = by_key.get((span["trace_id"], span["parent_id"]))
    while above is not None and above["span_id"] not in seen:
        if wanted(above):
            return True
        seen.add(above["span_id"])
        above = by_key.get((above["trace_id"], above["parent_id"]))
    return False


def _descendants(span: Span, children: Mapping[SpanKey, list[Span]]) -> Iterable[Span]:
    seen: set[str] = set()
    waiting = [span]
    while waiting:
        for child in children.get((span["trace_id"], waiting.pop()["span_id"]), ()):
            if child["span_id"] not in seen:
                seen.add(child["span_id"])
                waiting.append(child)
                yield child
