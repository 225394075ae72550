"""Live trading in containers, at the sandbox's Upbit: a worker killed while it orders doubles none and loses none."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rehearsal import pending, rising_markets
from stack import QUICK, Stack, wait_for

ACCESS_KEY, SECRET_KEY = f"live-{secrets.token_hex(8)}", secrets.token_hex(16)
ORDERS = "SELECT client_order_id, state, filled_quantity, venue_order_id FROM orders"
UNPROVEN = f"{ORDERS} WHERE state IN ('planned', 'sending', 'unknown')"
# it wins over compose.sandbox.yaml, which is on paper
_OVERLAY = f"""\
x-live: &live
  environment:
    TRADING_MODE: live
    UPBIT_ACCESS_KEY: {ACCESS_KEY}
    UPBIT_SECRET_KEY: {SECRET_KEY}
    IGNORE_MARKET_HOURS: "false"
    UPBIT_SWEEP_MINUTES: "0"
    KIS_SYMBOLS: ""
    YFINANCE_SYMBOLS: ""
services:
  migrate: *live
  worker-upbit: *live
  beat: *live
  notifier: *live
"""


@pytest.fixture(scope="module")
def stack(
    new_stack: Callable[..., AbstractContextManager[Stack]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("live-overlay")
    overlay = folder / "compose.live.yaml"
    overlay.write_text(_OVERLAY, encoding="utf-8")
    with new_stack("live", settings=QUICK, extra=[rising_markets(folder), overlay]) as made:
        made.up("notifier", "worker-upbit")
        yield made


def account(stack: Stack) -> list[dict[str, Any]]:
    """The orders of our account as the venue has them."""
    orders: list[dict[str, Any]] = stack.control.get(f"upbit/accounts?access_key={ACCESS_KEY}")["orders"]
    return orders


def test_a_worker_killed_before_it_hears_of_its_order_places_none_twice_and_finds_it(
    stack: Stack, say: Callable[[str], None]
) -> None:
    funds = {"KRW": "10000000"}
    stack.control.post("upbit/accounts", {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "balances": funds})
    stack.exec("worker-upbit", "autotrader", "arm", "upbit", "--for", "1h")
    # the venue makes each order, and says so to nobody for a while
    stack.control.post("faults", {"service": "upbit", "kind": "order", "variant": "lost_reply", "seconds": 8.0})
    starts = stack.inspect("worker-upbit")["RestartCount"]
    # its first act is to have the market swept
    stack.compose("up", "--detach", "--no-deps", "beat")
    wait_for("an order that the venue has and the worker does not know of", lambda: account(stack))
    stack.kill_9("worker-upbit")
    stack.control.delete("faults")
    wait_for("it has been started again", lambda: stack.inspect("worker-upbit")["RestartCount"] > starts)
    wait_for("it works", lambda: stack.works("worker-upbit"))
    wait_for("every symbol done", lambda: stack.rows("SELECT 1 FROM run_symbols") and not pending(stack), 300)
    wait_for("every order proven", lambda: not stack.rows(UNPROVEN))

    at_venue = {order["identifier"]: order for order in account(stack)}
    assert len(at_venue) == len(account(stack)), "an identifier twice"
    ours = {order["client_order_id"]: order for order in stack.rows(ORDERS) if order["venue_order_id"]}
    say(f"live: {len(at_venue)} orders at the venue, {len(ours)} in the journal; the worker was killed meanwhile")
    assert at_venue
    assert set(at_venue) == set(ours)
    legs = "SELECT symbol FROM orders WHERE venue_order_id IS NOT NULL GROUP BY symbol, side, leg HAVING count(*) > 1"
    assert stack.rows(legs) == []
    wait_for("the fills of the venue in the journal", lambda: same_fills(stack))


def same_fills(stack: Stack) -> bool:
    ours = {row["client_order_id"]: Decimal(str(row["filled_quantity"])) for row in stack.rows(ORDERS)}
    return all(Decimal(order["executed_volume"]) == ours[order["identifier"]] for order in account(stack))
