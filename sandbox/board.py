"""The live terminal board: runs, decisions, orders, alerts, queues and processes, twice a second.

It is made of lines that are cut at the edge, so that it fits 80 x 24 and uses what a wider terminal has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import redis
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from sandbox.client import SandboxError
from sandbox.feeds import MarketFeed, overall
from sandbox.processes import ProcessState
from sandbox.report import Database
from sandbox.stack import ERROR_CHAT, Stack
from settings import MARKETS
from storage.recent import DecisionRow, OrderRow, RunRow, recent_decisions, recent_orders, recent_runs

REFRESH_SECONDS = 0.5
KST = timezone(timedelta(hours=9), "KST")

# the side-by-side layout starts here
WIDE = 150

_ROWS = 20
_RUNS_READ = 30
# header, processes, the table of markets with its title, the titles of three lists, and the addresses
_FIXED_LINES = 1 + 1 + (1 + len(MARKETS)) + 3 + 6
_COLOURS = {"buy": "green", "sell": "red", "filled": "green", "rejected": "red", "unknown": "red"}


@dataclass(frozen=True, slots=True)
class Queue:
    """Messages waiting in a market's queue."""

    market: str
    length: int


@dataclass(frozen=True, slots=True)
class Board:
    """What the board shows at one moment; `fault` says in one line what could not be read."""

    seconds: float
    feeds: Mapping[str, MarketFeed]
    processes: Sequence[ProcessState]
    runs: Sequence[RunRow]
    decisions: Sequence[DecisionRow]
    orders: Sequence[OrderRow]
    messages: Sequence[Mapping[str, Any]]
    queues: Sequence[Queue]
    unacked: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    sandbox_url: str = ""
    flower_url: str = ""
    flower_login: str = ""
    api_url: str = ""
    api_token: str = ""
    prometheus_urls: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


class Reader:
    """Reads the board's contents from the database, Redis and the sandbox; keeps what it read last."""

    def __init__(self, stack: Stack, database: Database, started: float) -> None:
        self._stack = stack
        self._database = database
        self._redis: redis.Redis = redis.Redis.from_url(stack.redis_url, socket_timeout=2)
        self._started = started
        self._runs: list[RunRow] = []
        self._decisions: list[DecisionRow] = []
        self._orders: list[OrderRow] = []
        self._messages: list[dict[str, Any]] = []
        self._summary: dict[str, Any] = {}
        self._queues: list[Queue] = []
        self._unacked = 0

    def read(self) -> Board:
        """The board now. A source that does not answer leaves its part as it was, and a line that says so."""
        faults = []
        try:
            self._runs = self._database.read(recent_runs, _RUNS_READ)
            self._decisions = self._database.read(recent_decisions, _ROWS)
            self._orders = self._database.read(recent_orders, _ROWS)
        except (SQLAlchemyError, OSError):
            faults.append("PostgreSQL does not answer")
        try:
            self._queues = [Queue(market, _whole(self._redis.llen(market))) for market in MARKETS]
            self._unacked = _whole(self._redis.hlen("unacked"))
        except redis.RedisError:
            faults.append("Redis does not answer")
        try:
            summary = self._stack.control.get("summary")
            if summary != self._summary:
                self._messages = self._stack.control.get("telegram/messages")[-_ROWS:]
            self._summary = summary
        except SandboxError:
            faults.append("the sandbox does not answer")
        return Board(
            seconds=time.monotonic() - self._started,
            feeds=self._stack.feeds,
            processes=self._stack.group.states(),
            runs=self._runs,
            decisions=self._decisions,
            orders=self._orders,
            messages=self._messages,
            queues=self._queues,
            unacked=self._unacked,
            summary=self._summary,
            sandbox_url=self._stack.sandbox_url,
            flower_url=self._stack.flower_url,
            flower_login=self._stack.flower_login,
            api_url=self._stack.api_url,
            api_token=self._stack.api_token,
            prometheus_urls=self._stack.prometheus_urls,
            fault="; ".join(faults),
        )


def show(stack: Stack, started: float, console: Console) -> None:
    """Show the board until interrupted; where there is no terminal, a line whenever something has changed."""
    with Database(stack.database_url) as database:
        reader = Reader(stack, database, started)
        if not console.is_terminal:
            _tell_changes(reader, console)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(render(reader.read(), console.width, console.height), refresh=True)
                time.sleep(REFRESH_SECONDS)


def _tell_changes(reader: Reader, console: Console) -> None:
    console.print("; ".join(text.plain for text in _addresses(reader.read())), soft_wrap=True, highlight=False)
    last = ""
    while True:
        line = plain_line(reader.read())
        if line != last:
            console.print(line, soft_wrap=True, highlight=False)
        last = line
        time.sleep(REFRESH_SECONDS)


def plain_line(board: Board) -> str:
    """The board in one line, for a log."""
    markets = []
    for market in MARKETS:
        run = _last_run(board, market)
        markets.append(f"{market} {f'{run.status} {run.done} done {run.failed} failed' if run else 'not swept yet'}")
    down = [state.name for state in board.processes if state.exit_code is not None]
    parts = [*markets, f"{board.summary.get('telegram_messages', 0)} messages"]
    parts += [f"down: {', '.join(down)}"] if down else []
    return "; ".join(parts + ([board.fault] if board.fault else []))


def render(board: Board, width: int, height: int) -> Group:
    """The board as lines of at most `width` cells, at most `height` of them."""
    room = max(3, height - _FIXED_LINES)
    decided = [_decision(row) for row in board.decisions]
    ordered = [_order(row) for row in board.orders]
    told = [_message(message) for message in reversed(board.messages)]
    if width >= WIDE:
        # two lists side by side share a title line, which gives a row more
        rows, half = (room + 1) // 2, width // 2 - 1
        pairs = zip(_list("Decisions", decided, rows), _list("Orders", ordered, rows), strict=True)
        lists = [_cut(left, half, pad=True).append("  ").append_text(_cut(right, half)) for left, right in pairs]
        alerts = _list("Telegram", told, room + 1 - rows)
    else:
        rows = room // 3
        lists = _list("Decisions", decided, rows) + _list("Orders", ordered, rows)
        alerts = _list("Telegram", told, room - 2 * rows)
    lines = [_header(board), _processes(board), *_markets(board), *lists, *alerts, *_addresses(board)]
    return Group(*(_cut(line, width) for line in lines[:height]))


def _header(board: Board) -> Text:
    minutes, seconds = divmod(int(board.seconds), 60)
    text = Text("autotrader demo", style="bold")
    text.append(f"  feed {overall(board.feeds)}  {minutes:02d}:{seconds:02d}  Ctrl-C stops everything", style="none")
    if board.fault:
        text.append(f"  {board.fault}", style="bold red")
    return text


def _processes(board: Board) -> Text:
    text = Text()
    for state in board.processes:
        up = state.exit_code is None
        text.append("● " if up else "✗ ", style="green" if up else "bold red")
        text.append(state.name.removeprefix("worker-") + ("" if up else f" ended ({state.exit_code})")).append("  ")
    return text


def _markets(board: Board) -> list[Text]:
    lines = [_title(f"{'Market':<9} {'feed':<10} {'run':<18} done failed pending queue   unacked {board.unacked}")]
    lengths = {queue.market: queue.length for queue in board.queues}
    for market in MARKETS:
        feed, run = board.feeds.get(market), _last_run(board, market)
        line = Text(f"{market:<9} {feed.feed if feed else '':<10} ")
        if run is None:
            line.append(f"{'not swept yet':<18} {'':>4} {'':>6} {'':>7}")
        else:
            line.append(f"{_clock(run.opened_at)} {run.status:<9} {run.done:>4} ")
            line.append(f"{run.failed:>6}", style="bold red" if run.failed else "none").append(f" {run.pending:>7}")
        lines.append(line.append(f" {lengths.get(market, 0):>5}"))
    return lines


def _list(title: str, rows: Sequence[Text], count: int) -> list[Text]:
    shown = list(rows[:count])
    return [_title(title), *shown, *(Text() for _ in range(count - len(shown)))]


def _decision(row: DecisionRow) -> Text:
    text = Text(f"{_clock(row.at)} {row.market:<9}{row.symbol:<9} ")
    text.append(f"{row.decision:<5}", style=_COLOURS.get(row.decision, "none"))
    text.append(f"{row.confidence:>3} % at {row.price:>14,f}  ")
    return text.append(row.error or row.outcome or "in progress", style="bold red" if row.error else "none")


def _order(row: OrderRow) -> Text:
    text = Text(f"{_clock(row.updated_at)} {row.market:<9}{row.symbol:<9} ")
    text.append(f"{row.side:<5}", style=_COLOURS.get(row.side, "none"))
    text.append(f"{row.filled_quantity.normalize():f}/{row.quantity.normalize():f} at {row.price:,f} {row.currency} ")
    text.append(row.state, style=_COLOURS.get(row.state, "none"))
    return text.append(f" {row.reason}") if row.reason else text


def _message(message: Mapping[str, Any]) -> Text:
    at = datetime.fromtimestamp(message["at"], KST)
    is_error = str(message["chat_id"]) == ERROR_CHAT
    text = Text(f"{at:%H:%M:%S} ").append(
        "errors " if is_error else "trades ", style="bold red" if is_error else "cyan"
    )
    # the time stands at the start of the line already
    lines = [line for line in str(message["text"]).splitlines() if line.strip() and not line.startswith("🕒")]
    return text.append(" · ".join(lines))


def _addresses(board: Board) -> list[Text]:
    ports = (f"{name.removeprefix('worker-')} {urlsplit(url).port}" for name, url in board.prometheus_urls.items())
    user, _, password = board.flower_login.partition(":")
    telemetry = f"{board.summary.get('spans', 0)} spans, {board.summary.get('metrics', 0)} metrics"
    return [
        _title("Open in a browser"),
        Text(f"sandbox     {board.sandbox_url}/  (chat, {telemetry})"),
        Text(f"flower      {board.flower_url}/  user {user}  password {password}"),
        Text(f"desk        {board.api_url}/  (API at /docs)  token {board.api_token}"),
        Text("prometheus  http://127.0.0.1:PORT/metrics with the port of"),
        Text(f"  {'  '.join(ports)}"),
    ]


def _title(text: str) -> Text:
    return Text(text, style="bold cyan")


def _cut(line: Text, width: int, *, pad: bool = False) -> Text:
    """A copy of the line that takes at most `width` cells; a Korean letter takes two."""
    copy = line.copy()
    copy.no_wrap = True
    copy.truncate(width, overflow="ellipsis", pad=pad)
    return copy


def _last_run(board: Board, market: str) -> RunRow | None:
    return next((run for run in board.runs if run.market == market), None)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(KST):%H:%M:%S}"


def _whole(reply: Any) -> int:
    """A number from a client whose methods are typed for its asynchronous twin as well."""
    return int(reply)
