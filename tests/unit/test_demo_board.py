"""The board fits the terminal it is shown in and says what matters first."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from rich.cells import cell_len
from rich.console import Console

from sandbox.board import Board, Queue, plain_line, render
from sandbox.feeds import MarketFeed
from sandbox.processes import ProcessState
from settings import MARKETS
from storage.recent import DecisionRow, OrderRow, RunRow
from trading.types import Decision, OrderState, Side

AT = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
ID = UUID(int=1)


def run(market: str, *, failed: int = 0) -> RunRow:
    return RunRow(ID, market, AT, "finished", None, 0, 5 - failed, failed, AT, AT)


def decision(symbol: str, error: str | None = None) -> DecisionRow:
    outcome = None if error else "below_min_confidence"
    return DecisionRow(ID, "upbit", symbol, Decision.BUY, 71, Decimal("130000000"), "rules-1", outcome, error, AT)


def order(symbol: str) -> OrderRow:
    quantity = Decimal("0.00076923")
    reason = "the venue's reason, which is a long one " * 5
    return OrderRow(
        ID, "upbit", symbol, Side.BUY, quantity, quantity, Decimal("130000000"), "KRW", OrderState.FILLED, reason, AT
    )


def message(text: str, chat: int = 1001) -> dict[str, object]:
    return {"chat_id": chat, "text": text, "at": AT.timestamp()}


def full(**changes: object) -> Board:
    names = ["sandbox", "notifier", "api", *(f"worker-{market}" for market in MARKETS), "flower", "beat"]
    board: dict[str, object] = {
        "seconds": 83.0,
        "feeds": {market: MarketFeed(market, "simulated", "as requested") for market in MARKETS},
        "processes": [ProcessState(name, 100, None) for name in names],
        "runs": [run(market) for market in MARKETS],
        "decisions": [decision(f"KRW-D{number}") for number in range(20)],
        "orders": [order(f"KRW-O{number}") for number in range(20)],
        "messages": [message("🤚 AI 분석 완료\n🕒 12:04:05 KST\n\n" + "종목: 비트코인 " * 30)] * 20,
        "queues": [Queue(market, 3) for market in MARKETS],
        "unacked": 2,
        "summary": {"spans": 1234, "metrics": 40, "telegram_messages": 20},
        "sandbox_url": "http://127.0.0.1:54321",
        "flower_url": "http://127.0.0.1:54322",
        "flower_login": "demo:0123456789abcdef",
        "api_url": "http://127.0.0.1:54324",
        "api_token": "fedcba9876543210",
        "prometheus_urls": dict.fromkeys(
            ["notifier", "api", *(f"worker-{market}" for market in MARKETS), "beat"], "http://127.0.0.1:54323/metrics"
        ),
    }
    return Board(**{**board, **changes})  # type: ignore[arg-type]


EMPTY = full(runs=[], decisions=[], orders=[], messages=[], queues=[], summary={})


def lines(board: Board, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render(board, width, height))
    return capture.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (149, 24), (150, 24), (240, 67), (40, 10)])
@pytest.mark.parametrize("board", [full(), EMPTY], ids=["full", "empty"])
def test_the_board_fits_the_terminal(board: Board, width: int, height: int) -> None:
    shown = lines(board, width, height)
    assert len(shown) <= height
    assert max(cell_len(line) for line in shown) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 24), (200, 50)])
def test_nothing_that_fits_is_left_out(width: int, height: int) -> None:
    text = "\n".join(lines(full(), width, height))
    for expected in ("upbit", "KRW-D0", "KRW-O0", "AI 분석 완료", "http://127.0.0.1:54321/", "54323", "unacked 2"):
        assert expected in text
    assert "user demo  password 0123456789abcdef" in text
    assert "http://127.0.0.1:54324/  (API at /docs)  token fedcba9876543210" in text
    assert "beat 54323" in text


def test_a_wider_and_higher_terminal_shows_more() -> None:
    assert sum("KRW-D" in line for line in lines(full(), 80, 24)) == 3
    assert sum("KRW-D" in line for line in lines(full(), 200, 50)) > 15


def test_what_went_wrong_is_shown() -> None:
    dead = [ProcessState("worker-kis", 7, -9)]
    runs = [run("upbit", failed=1)]
    board = full(
        processes=dead,
        runs=runs,
        decisions=[decision("KRW-ETH", "TimedOut: upbit did not answer")],
        messages=[message("⚠️ ERROR: TimedOut", chat=2002)],
        fault="Redis does not answer",
    )
    text = "\n".join(lines(board, 120, 24))
    for expected in ("✗ kis ended (-9)", "TimedOut: upbit", "errors ⚠️ ERROR", "Redis does not answer"):
        assert expected in text
    assert "down: worker-kis" in plain_line(board)
    assert "upbit finished 4 done 1 failed" in plain_line(board)
