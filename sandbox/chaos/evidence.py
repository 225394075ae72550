"""What is compared at the end, read from PostgreSQL and from the venues' own control, with nothing of the application.

On paper the venue is the paper broker, whose account stands in the same database.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import asyncpg

from sandbox.chaos.check import Balance, Evidence, JournalOrder, RunSymbol, VenueOrder
from sandbox.chaos.house import ACCESS_KEY, CANO, CASH, HELD, House, plain
from sandbox.chaos.plan import KIS, UPBIT
from sandbox.venues.kis_book import BUY, FEE_RATE

KST = timezone(timedelta(hours=9))
CURRENCY = "KRW"
_SIDES = {"bid": "buy", "ask": "sell"}

_JOURNAL = """
SELECT o.id::text, o.market, o.client_order_id, o.venue_order_id, o.symbol, o.side, o.leg, o.state,
       coalesce(o.run_id, o.exit_id)::text AS origin, o.quantity, o.price,
       coalesce(sum(f.quantity), 0) AS filled, coalesce(sum(f.quantity * f.price), 0) AS value,
       coalesce(sum(f.fee), 0) AS fee
FROM orders o LEFT JOIN fills f ON f.order_id = o.id GROUP BY o.id ORDER BY o.created_at, o.id
"""
_RUNS = "SELECT s.run_id::text, r.market, s.symbol, s.state FROM run_symbols s JOIN runs r ON r.id = s.run_id"
_PAPER = """
SELECT o.client_order_id, o.market, o.symbol, o.side, o.quantity, o.price, o.state,
       coalesce(sum(f.quantity), 0) AS filled, coalesce(sum(f.quantity * f.price), 0) AS value,
       coalesce(sum(f.fee), 0) AS fee
FROM paper_orders o LEFT JOIN paper_fills f USING (client_order_id)
WHERE o.state <> 'rejected' GROUP BY o.client_order_id ORDER BY min(o.created_at), o.client_order_id
"""


async def gather(house: House) -> Evidence:
    """Everything, as it stands now. Raises `SandboxError`, and what the database raises."""
    connection = await asyncpg.connect(plain(house.database_url), timeout=5)
    try:
        # the venues first: what they do in between, the journal may know already, and the next look will settle
        if house.mode == "live":
            venue, balances = read_venues(house)
        else:
            venue, balances = await _paper(connection)
        journal = [JournalOrder(**dict(row)) for row in await connection.fetch(_JOURNAL)]
        runs = [RunSymbol(**dict(row)) for row in await connection.fetch(_RUNS)]
    finally:
        await connection.close()
    fees_told = frozenset({UPBIT} if house.mode == "live" else {UPBIT, KIS})
    return Evidence(venue, journal, runs, balances, currency=CURRENCY, fees_told=fees_told)


def task_id(run_id: str, symbol: str) -> str:
    """The id the sweep gives the task of a symbol."""
    return str(uuid.uuid5(uuid.UUID(run_id), symbol))


async def order_story(house: House, order_id: str) -> list[str]:
    """The events of one order, a line each."""
    connection = await asyncpg.connect(plain(house.database_url), timeout=5)
    query = "SELECT at, from_state, to_state, payload::text FROM order_events WHERE order_id = $1::uuid ORDER BY seq"
    try:
        rows = await connection.fetch(query, order_id)
    finally:
        await connection.close()
    return [f"{row['at']:%H:%M:%S.%f} {row['from_state']} -> {row['to_state']} {row['payload']}" for row in rows]


async def run_outcomes(house: House) -> dict[str, str]:
    """How the symbol of each run ended: its outcome, or the name of its error."""
    connection = await asyncpg.connect(plain(house.database_url), timeout=5)
    try:
        rows = await connection.fetch(
            "SELECT run_id::text, coalesce(outcome, split_part(error, ':', 1), state) AS said FROM run_symbols"
        )
    finally:
        await connection.close()
    return {row["run_id"]: row["said"] for row in rows}


def published_again(house: House) -> int:
    """How many analyses the workers have published again, by their logs."""
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in house.logs.glob("worker-*.log")]
    return sum(log.count("no message of it is left, published again") for log in logs)


def read_venues(house: House) -> tuple[list[VenueOrder], list[Balance]]:
    """All orders that the two sandbox accounts ever took, and what they hold. Raises `SandboxError`."""
    upbit = house.control.get(f"upbit/accounts?access_key={ACCESS_KEY}")
    kis = next(account for account in house.control.get("kis/accounts") if account["cano"] == CANO)
    prices = house.opening()
    venue = [upbit_order(row) for row in upbit["orders"]]
    venue += [kis_order(row) for row in kis["orders"] if not row.get("original")]
    balances = [Balance(UPBIT, CURRENCY, Decimal(CASH), _held(upbit["balances"], CURRENCY))]
    for symbol in house.symbols[UPBIT]:
        start = Decimal(HELD // prices[symbol])
        balances.append(Balance(UPBIT, symbol, start, _held(upbit["balances"], symbol.partition("-")[2])))
    balances.append(Balance(KIS, CURRENCY, Decimal(CASH), Decimal(kis["cash"])))
    for symbol in house.symbols[KIS]:
        end = Decimal(kis["holdings"].get(symbol, {"quantity": 0})["quantity"])
        balances.append(Balance(KIS, symbol, Decimal(HELD // prices[symbol]), end))
    return venue, balances


def upbit_order(row: Mapping[str, Any]) -> VenueOrder:
    """An order of Upbit's control list."""
    trades = row["trades"]
    return VenueOrder(
        market=UPBIT,
        venue_order_id=row["uuid"],
        client_order_id=row.get("identifier"),
        symbol=row["market"],
        side=_SIDES[row["side"]],
        quantity=Decimal(row["volume"]),
        price=Decimal(row["price"]),
        traded=sum((Decimal(trade["volume"]) for trade in trades), Decimal(0)),
        value=sum((Decimal(trade["price"]) * Decimal(trade["volume"]) for trade in trades), Decimal(0)),
        fee=Decimal(row["paid_fee"]),
        open=row["state"] == "wait",
    )


def kis_order(row: Mapping[str, Any]) -> VenueOrder:
    """An order of KIS's control list; the journal writes its number after its day in Korea."""
    at = datetime.fromisoformat(row["at"]).astimezone(KST)
    amount = Decimal(row["amount"])
    left = row["quantity"] - sum(row.get(name, 0) for name in ("filled", "cancelled", "rejected", "expired"))
    return VenueOrder(
        market=KIS,
        venue_order_id=f"{at:%Y%m%d}-{row['odno']}",
        client_order_id=None,
        symbol=row["symbol"],
        side="buy" if row["side"] == BUY else "sell",
        quantity=Decimal(row["quantity"]),
        price=Decimal(row["price"]),
        traded=Decimal(row["filled"]),
        value=amount,
        fee=amount * FEE_RATE,
        open=left > 0,
    )


async def _paper(connection: asyncpg.Connection) -> tuple[list[VenueOrder], list[Balance]]:
    venue = [
        VenueOrder(
            market=row["market"],
            venue_order_id=row["client_order_id"],
            client_order_id=row["client_order_id"],
            symbol=row["symbol"],
            side=row["side"],
            quantity=row["quantity"],
            price=row["price"],
            traded=row["filled"],
            value=row["value"],
            fee=row["fee"],
            open=row["state"] in ("accepted", "partly_filled"),
        )
        for row in await connection.fetch(_PAPER)
    ]
    accounts = await connection.fetch("SELECT market, opening_cash, cash FROM paper_accounts")
    held = await connection.fetch("SELECT market, symbol, quantity FROM paper_positions")
    balances = [Balance(row["market"], CURRENCY, row["opening_cash"], row["cash"]) for row in accounts]
    balances += [Balance(row["market"], row["symbol"], Decimal(0), row["quantity"]) for row in held]
    return venue, balances


def _held(balances: Iterable[Mapping[str, Any]], currency: str) -> Decimal:
    return sum(
        (Decimal(row["balance"]) + Decimal(row["locked"]) for row in balances if row["currency"] == currency),
        Decimal(0),
    )
