"""What the tests of the running stack ask of its trading: candles that are bought, and books that add up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine import ROOT
from stack import ERROR_CHAT, Stack

from notifications.life_words import LIFE_KO

sys.path.append(str(ROOT / "tests" / "acceptance"))
import rising

LEVELS = {
    "upbit": {"KRW-BTC": 130e6, "KRW-DOGE": 19e3, "KRW-ETH": 4.4e6, "KRW-SOL": 185e3, "KRW-XRP": 28e3},
    "kis": {"000660": 500e3, "005930": 70e3, "035420": 210e3, "035720": 45e3},
    "yfinance": {"AAPL": 200.0, "MSFT": 450.0, "NVDA": 180.0, "SPY": 600.0, "TSLA": 300.0},
}
"""What compose.sandbox.yaml trades, and about what it costs."""

_OVERLAY = """\
services:
  sandbox:
    command: [--host, 0.0.0.0, --port, "8900", --candles, /candles]
    volumes:
      - {candles}:/candles:ro
"""


def rising_markets(folder: Path) -> Path:
    """A compose file with which every symbol of the sandbox rises, so that a sweep buys in all markets."""
    candles = folder / "candles"
    for market, levels in LEVELS.items():
        rising.write(candles, market, levels)
    # the container reads it as a user of its own
    for path in (candles, *candles.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    overlay = folder / "compose.rising.yaml"
    overlay.write_text(_OVERLAY.format(candles=candles), encoding="utf-8")
    return overlay


def swept(stack: Stack) -> bool:
    """Whether a sweep of each market is over."""
    rows = stack.rows("SELECT DISTINCT market FROM runs WHERE status = 'finished'")
    return {row["market"] for row in rows} == set(LEVELS)


def analyse(stack: Stack, market: str, symbol: str) -> None:
    """Ask the API for an analysis, through nginx."""
    status, body = stack.get(f"/api/analyze/{market}/{symbol}", token=stack.operate_token, method="POST")
    assert status == 202, body


def pending(stack: Stack) -> list[str]:
    """The symbols of all runs that nobody has finished yet."""
    rows = stack.rows("SELECT symbol FROM run_symbols WHERE state = 'pending'")
    return [row["symbol"] for row in rows]


def errors(stack: Stack) -> list[str]:
    """What the chat of errors was told, but for what only says that this machine is slow."""
    slow = ("DeadlineExceeded", LIFE_KO.silent.format(process=""), LIFE_KO.back.format(process=""))
    return [text for text in stack.messages(ERROR_CHAT) if not any(word in text.partition("\n")[0] for word in slow)]


def faults_of_the_books(stack: Stack) -> list[dict[str, Any]]:
    """Orders, fills and cash that do not agree with each other: none where nothing is doubled and nothing lost."""
    return [row for query in _FAULTS for row in stack.rows(query)]


_FAULTS = (
    "SELECT 'a leg of a ladder twice' AS fault, run_id, symbol, side, leg, count(*) FROM orders "
    "WHERE run_id IS NOT NULL GROUP BY run_id, symbol, side, leg HAVING count(*) > 1",
    "SELECT 'a slot swept twice' AS fault, market, slot, count(*) FROM runs GROUP BY market, slot HAVING count(*) > 1",
    "SELECT 'fills are not what the order says' AS fault, client_order_id, filled_quantity, sum(fills.quantity) "
    "FROM orders LEFT JOIN fills ON fills.order_id = orders.id GROUP BY orders.id "
    "HAVING filled_quantity <> coalesce(sum(fills.quantity), 0) OR filled_quantity > orders.quantity",
    "SELECT 'at the venue, not in the journal' AS fault, client_order_id FROM paper_orders "
    "WHERE client_order_id NOT IN (SELECT client_order_id FROM orders)",
    "SELECT 'in the journal, not at the venue' AS fault, client_order_id, state FROM orders "
    "WHERE state IN ('accepted', 'filled', 'partly_filled', 'cancelled') "
    "AND client_order_id NOT IN (SELECT client_order_id FROM paper_orders) "
    # one that the last check before sending refused is cancelled, and no venue ever had it
    "AND EXISTS (SELECT FROM order_events WHERE order_id = orders.id AND to_state = 'sending')",
    "SELECT 'nobody knows what became of it' AS fault, client_order_id, market, symbol, state, created_at, now() "
    "FROM orders WHERE state IN ('planned', 'sending', 'unknown')",
    "SELECT 'cash does not add up' AS fault, a.market, opening_cash, cash, moved FROM paper_accounts a LEFT JOIN ("
    "SELECT f.market, sum(CASE side WHEN 'buy' THEN -f.price * f.quantity ELSE f.price * f.quantity END - fee) AS moved"
    " FROM fills f JOIN orders ON orders.id = order_id GROUP BY f.market) b ON a.market = b.market "
    "WHERE cash <> opening_cash + coalesce(moved, 0)",
)
