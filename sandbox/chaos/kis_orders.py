"""Orders at the sandbox's KIS that appear late, rest for a while or trade in two parts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.candles import CandleBook
from sandbox.chaos.plan import KIS
from sandbox.ticks import best_bid_and_ask
from sandbox.venues.kis_account import KisAccounts
from sandbox.venues.kis_book import BUY, LIMIT, AccountBook, Order


@dataclass(slots=True)
class HeldBack:
    """By order number: until when (monotonic seconds) an order is not matched, and of which half trades first."""

    until: dict[str, float] = field(default_factory=dict)
    halved: set[str] = field(default_factory=set)


def match(accounts: KisAccounts, book: CandleBook, held: HeldBack) -> None:
    """Trade what rests and crosses the last price, each at its own limit."""
    now = time.monotonic()
    for account in accounts._accounts.values():
        for order in account.orders:
            if order.left and order.kind == LIMIT and held.until.get(order.odno, 0.0) <= now:
                _trade(account, order, book, held)


def _trade(account: AccountBook, order: Order, book: CandleBook, held: HeldBack) -> None:
    bid, ask = best_bid_and_ask(KIS, book.price(KIS, order.symbol))
    if not (order.price >= ask if order.side == BUY else order.price <= bid):
        return
    quantity = order.left
    if order.odno in held.halved and quantity > 1:
        held.halved.discard(order.odno)
        held.until[order.odno] = time.monotonic() + 5.0
        quantity //= 2
    account.fill(order, quantity, order.price)


def hide(response: web.Response, numbers: set[str]) -> None:
    """Take the orders of these numbers out of a list that KIS answers."""
    if not numbers or response.text is None:
        return
    try:
        body = json.loads(response.text)
    except ValueError:
        return
    rows = body.get("output1")
    if isinstance(rows, list):
        body["output1"] = [row for row in rows if row.get("odno") not in numbers]
        response.text = json.dumps(body, ensure_ascii=False)
