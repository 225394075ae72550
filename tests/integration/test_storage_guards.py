"""Wrong states are refused by PostgreSQL itself, whatever program speaks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import make_url

from trading.orders import TRANSITIONS
from trading.types import OrderState

RUN = "00000000-0000-0000-0000-000000000001"
ANALYSIS = "00000000-0000-0000-0000-000000000002"
ORDER = "00000000-0000-0000-0000-000000000003"

SEED = f"""
    INSERT INTO runs (id, market, slot, task_id, status) VALUES ('{RUN}', 'upbit', '2026-01-02Z', 't', 'opened');
    INSERT INTO run_symbols (run_id, symbol) VALUES ('{RUN}', 'KRW-BTC'), ('{RUN}', 'KRW-ETH');
    INSERT INTO analyses VALUES ('{ANALYSIS}', '{RUN}', 'upbit', 'KRW-BTC', 'buy', 70, '{{up}}',
        1, 2, 3, 4, 1, 2, 5, 6, 2, 'rules', '{{}}', now());
    INSERT INTO orders
        (id, client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency, state)
        VALUES ('{ORDER}', 'a', '{ANALYSIS}', '{RUN}', 'upbit', 'KRW-BTC', 'buy', 10, 2, 'KRW', 'planned');
    INSERT INTO order_events (order_id, to_state) VALUES ('{ORDER}', 'planned');
"""
FILL = f"INSERT INTO fills VALUES ('upbit', '%s', '{ORDER}', %s, 2, 0, now())"
PAPER_ORDER = (
    "INSERT INTO paper_orders (client_order_id, market, symbol, side, quantity, price, state, filled_quantity, "
    "created_at) VALUES ('a', 'upbit', 'KRW-BTC', 'buy', 1, 1, '%s', %s, now())"
)


@pytest.fixture
async def sql(emptied_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    url = make_url(emptied_database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    await connection.execute(SEED)
    yield connection
    await connection.close()


async def go(sql: asyncpg.Connection, new: str, order: str = ORDER) -> None:
    """Change the state as a program has to: with its event, in one transaction."""
    async with sql.transaction():
        old = await sql.fetchval("SELECT state FROM orders WHERE id = $1::uuid", order)
        await sql.execute("UPDATE orders SET state = $2 WHERE id = $1::uuid", order, new)
        await sql.execute(
            "INSERT INTO order_events (order_id, from_state, to_state) VALUES ($1::uuid, $2, $3)", order, old, new
        )


async def refused(sql: asyncpg.Connection, statement: str, by: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await sql.execute(statement)
    assert by in f"{caught.value.constraint_name} {caught.value}"


ROW_REFUSALS = [
    # runs
    ("INSERT INTO runs (market, slot, status) VALUES ('upbit', '2026-01-02Z', 'opened')", "uq_runs_market_slot"),
    ("INSERT INTO runs (market, slot, status) VALUES ('upbit', '2026-01-03Z', 'odd')", "ck_runs_status"),
    (
        "INSERT INTO runs (market, slot, status, finished_at) VALUES ('upbit', '2026-01-03Z', 'skipped', now())",
        "ck_runs_skipped_says_why",
    ),
    ("INSERT INTO runs (market, slot, status) VALUES ('upbit', '2026-01-03Z', 'finished')", "ck_runs_finished_at"),
    ("UPDATE runs SET status = 'finished', finished_at = now()", "has pending symbols"),
    ("UPDATE runs SET slot = slot + interval '1 hour'", "keeps its market and slot"),
    # symbols
    (f"INSERT INTO run_symbols (run_id, symbol) VALUES ('{RUN}', 'KRW-BTC')", "pk_run_symbols"),
    (
        "INSERT INTO run_symbols (run_id, symbol, state, outcome, finished_at) "
        f"VALUES ('{RUN}', 'X', 'done', 'o', now())",
        "begins as pending",
    ),
    ("UPDATE run_symbols SET state = 'done', finished_at = now()", "ck_run_symbols_done_has_outcome"),
    ("UPDATE run_symbols SET state = 'failed', finished_at = now()", "ck_run_symbols_failed_has_error"),
    ("UPDATE run_symbols SET state = 'done', outcome = 'hold'", "ck_run_symbols_finished_at"),
    # orders
    (
        f"INSERT INTO orders (client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency, "
        f"state) VALUES ('a', '{ANALYSIS}', '{RUN}', 'upbit', 'KRW-BTC', 'buy', 1, 1, 'KRW', 'planned')",
        "uq_orders_client_order_id",
    ),
    (
        f"INSERT INTO orders (client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency, "
        f"state) VALUES ('b', '{ANALYSIS}', '{RUN}', 'upbit', 'KRW-ETH', 'buy', 1, 1, 'KRW', 'planned')",
        "fk_orders_analysis_id_run_id_market_symbol",
    ),
    (
        f"INSERT INTO orders (client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency, "
        f"state) VALUES ('b', '{ANALYSIS}', '{RUN}', 'upbit', 'KRW-BTC', 'buy', 1, 1, 'KRW', 'accepted')",
        "begins as planned",
    ),
    ("UPDATE orders SET quantity = 11", "keeps what was decided"),
    ("UPDATE orders SET side = 'sell'", "keeps what was decided"),
    ("UPDATE orders SET filled_quantity = 1", "filled by its fills only"),
    ("UPDATE orders SET state = 'sending'", "its last event says planned"),
    ("UPDATE orders SET state = 'filled'", "cannot go from planned to filled"),
    ("DELETE FROM orders", "fk_order_events_order_id"),
    (
        f"INSERT INTO order_events (order_id, from_state, to_state) VALUES ('{ORDER}', 'planned', 'sending')",
        "the event says from planned to sending",
    ),
    (FILL % ("t1", 1), "ck_orders_no_order_no_fills"),
    # the paper venue
    ("INSERT INTO paper_accounts VALUES ('upbit', 'KRW', -1, 100)", "ck_paper_accounts_cash"),
    ("INSERT INTO paper_accounts VALUES ('upbit', 'KRW', 'NaN', 100)", "ck_paper_accounts_cash"),
    ("INSERT INTO paper_positions VALUES ('kis', '005930', 1, 1)", "fk_paper_positions_market"),
    # snapshots
    (
        f"INSERT INTO portfolio_snapshots (run_id, market, currency, cash, positions_value, at) "
        f"VALUES ('{RUN}', 'kis', 'KRW', 1, 1, now())",
        "fk_portfolio_snapshots_run_id_market",
    ),
]


@pytest.mark.parametrize(("statement", "by"), ROW_REFUSALS, ids=[by.replace(" ", "-") for _, by in ROW_REFUSALS])
async def test_a_wrong_row_is_refused(sql: asyncpg.Connection, statement: str, by: str) -> None:
    await refused(sql, statement, by)


@pytest.mark.parametrize(
    ("column", "value", "by"),
    [
        ("confidence", "101", "ck_analyses_confidence"),
        ("confidence", "-1", "ck_analyses_confidence"),
        ("decision", "'maybe'", "ck_analyses_decision"),
        ("reasons", "'{}'", "ck_analyses_reasons"),
        ("reasons", "'{a,b,c,d}'", "ck_analyses_reasons"),
        ("reasons", "'{NULL}'", "ck_analyses_reasons"),
        ("price", "0", "ck_analyses_price"),
        ("price", "'NaN'", "ck_analyses_price"),
        ("appropriate_buy_min", "3", "ck_analyses_appropriate_buy"),
        ("appropriate_sell_min", "5", "ck_analyses_appropriate_sell"),
        ("buy_hope_min", "-1", "ck_analyses_buy_hope"),
        ("sell_target_max", "'Infinity'", "ck_analyses_sell_target"),
        ("symbol", "'KRW-XRP'", "fk_analyses_run_id_symbol"),
        ("market", "'kis'", "fk_analyses_run_id_market"),
    ],
)
async def test_an_analysis_outside_its_bounds_is_refused(
    sql: asyncpg.Connection, column: str, value: str, by: str
) -> None:
    values = {
        "run_id": f"'{RUN}'", "market": "'upbit'", "symbol": "'KRW-ETH'", "decision": "'buy'", "confidence": "70",
        "reasons": "'{up}'", "appropriate_buy_min": "1", "appropriate_buy_max": "2", "appropriate_sell_min": "3",
        "appropriate_sell_max": "4", "buy_hope_min": "1", "buy_hope_max": "2", "sell_target_min": "5",
        "sell_target_max": "6", "price": "2", "model": "'rules'", "at": "now()",
    }  # fmt: skip
    values[column] = value
    await refused(sql, f"INSERT INTO analyses ({', '.join(values)}) VALUES ({', '.join(values.values())})", by)


async def test_a_stored_analysis_never_changes(sql: asyncpg.Connection) -> None:
    await refused(sql, "UPDATE analyses SET confidence = 99", "analyses is append-only")


@pytest.mark.parametrize("old", OrderState)
async def test_an_order_leaves_a_state_only_by_a_legal_change(sql: asyncpg.Connection, old: OrderState) -> None:
    await _bring(sql, old)
    for new in OrderState:
        if new == old:
            continue
        attempt = sql.transaction()
        await attempt.start()
        try:
            if new is OrderState.FILLED and OrderState.FILLED in TRANSITIONS[old]:
                left = await sql.fetchval("SELECT quantity - filled_quantity FROM orders")
                await sql.execute(FILL % ("rest", left))
            if new is OrderState.PARTLY_FILLED and OrderState.PARTLY_FILLED in TRANSITIONS[old]:
                await sql.execute(FILL % ("part", 1))
            if new in TRANSITIONS[old]:
                await go(sql, new)
                await sql.execute("SET CONSTRAINTS ALL IMMEDIATE")
            else:
                await refused(sql, f"UPDATE orders SET state = '{new}'", f"cannot go from {old} to {new}")
        finally:
            await attempt.rollback()


async def _bring(sql: asyncpg.Connection, state: OrderState) -> None:
    path = {
        OrderState.PLANNED: [],
        OrderState.SENDING: ["sending"],
        OrderState.NOT_CREATED: ["sending", "unknown", "not_created"],
    }.get(state, ["sending", state.value])
    for step in path:
        if step == "partly_filled":
            await sql.execute(FILL % ("first", 4))
        if step == "filled":
            await sql.execute(FILL % ("first", 10))
        await go(sql, step)


async def test_fills_never_come_to_more_than_the_order(sql: asyncpg.Connection) -> None:
    await go(sql, "sending")
    await sql.execute(FILL % ("t1", 6))
    await refused(sql, FILL % ("t2", 5), "ck_orders_filled_quantity")
    await sql.execute(FILL % ("t2", 4))
    assert await sql.fetchval("SELECT filled_quantity FROM orders") == 10


async def test_two_connections_cannot_overfill_an_order(sql: asyncpg.Connection, emptied_database_url: str) -> None:
    await go(sql, "sending")
    url = make_url(emptied_database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    other = await asyncpg.connect(url)
    first = sql.transaction()
    await first.start()
    await sql.execute(FILL % ("t1", 6))
    waiting = asyncio.create_task(other.execute(FILL % ("t2", 5)))
    while not await sql.fetchval("SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"):
        pass
    await first.commit()
    with pytest.raises(asyncpg.CheckViolationError):
        await waiting
    await other.close()
    assert await sql.fetchval("SELECT sum(quantity) FROM fills") == 6


async def test_filled_means_wholly_filled(sql: asyncpg.Connection) -> None:
    await go(sql, "sending")
    await sql.execute(FILL % ("t1", 9))
    await refused(sql, "UPDATE orders SET state = 'filled'", "ck_orders_filled_is_whole")


async def test_partly_filled_means_some_fill(sql: asyncpg.Connection) -> None:
    await go(sql, "sending")
    await refused(sql, "UPDATE orders SET state = 'partly_filled'", "ck_orders_partly_filled_has_fills")


async def test_a_rejected_order_has_no_fills(sql: asyncpg.Connection) -> None:
    await go(sql, "sending")
    await go(sql, "rejected")
    await refused(sql, FILL % ("t1", 1), "ck_orders_no_order_no_fills")


async def test_a_trade_is_booked_once(sql: asyncpg.Connection) -> None:
    await go(sql, "sending")
    await sql.execute(FILL % ("t1", 1))
    await refused(sql, FILL % ("t1", 1), "pk_fills")


async def test_a_second_unproven_order_of_symbol_and_side_is_refused(sql: asyncpg.Connection) -> None:
    await go(sql, "sending")
    second = await sql.fetchval(
        "WITH made AS (INSERT INTO orders (client_order_id, analysis_id, run_id, market, symbol, side, quantity, "
        "price, currency, state) SELECT 'b', analysis_id, run_id, market, symbol, side, quantity, price, currency, "
        "'planned' FROM orders RETURNING id) "
        "INSERT INTO order_events (order_id, to_state) SELECT id, 'planned' FROM made RETURNING order_id"
    )
    await refused(sql, f"UPDATE orders SET state = 'sending' WHERE id = '{second}'", "uq_orders_unproven")
    await go(sql, "unknown")
    await refused(sql, f"UPDATE orders SET state = 'sending' WHERE id = '{second}'", "uq_orders_unproven")
    await go(sql, "not_created")
    await go(sql, "sending", str(second))


async def test_an_order_keeps_its_venue_order_id(sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE orders SET venue_order_id = 'v1'")
    await refused(sql, "UPDATE orders SET venue_order_id = 'v2'", "keeps its venue order id")


@pytest.mark.parametrize("table", ["order_events", "fills", "paper_fills"])
async def test_a_journal_is_append_only(sql: asyncpg.Connection, table: str) -> None:
    await go(sql, "sending")
    await sql.execute(FILL % ("t1", 1))
    await sql.execute("INSERT INTO paper_accounts VALUES ('upbit', 'KRW', 1, 1)")
    await sql.execute(PAPER_ORDER % ("filled", 1))
    await sql.execute("INSERT INTO paper_fills VALUES ('t', 'a', 1, 1, 0, now())")
    key = {"order_events": "order_id", "fills": "order_id"}.get(table, "client_order_id")
    await refused(sql, f"UPDATE {table} SET {key} = {key}", "append-only: UPDATE refused")
    await refused(sql, f"DELETE FROM {table}", "append-only: DELETE refused")
    await refused(sql, f"TRUNCATE {table} CASCADE", "append-only: TRUNCATE refused")


async def test_a_paper_order_changes_only_while_it_rests(sql: asyncpg.Connection) -> None:
    await sql.execute("INSERT INTO paper_accounts VALUES ('upbit', 'KRW', 1, 1)")
    await sql.execute(PAPER_ORDER % ("accepted", 0))
    await refused(sql, "UPDATE paper_orders SET price = 2", "keeps what was decided")
    await sql.execute("UPDATE paper_orders SET state = 'filled', filled_quantity = 1")
    await refused(sql, "UPDATE paper_orders SET state = 'accepted', filled_quantity = 0", "keeps what was decided")
    await refused(sql, "DELETE FROM paper_orders", "append-only: DELETE refused")


@pytest.mark.parametrize("origin", ["analysis_id = NULL", "adopted = true", "leg = 2", "time_in_force = 'gtc'"])
async def test_an_order_keeps_its_origin(sql: asyncpg.Connection, origin: str) -> None:
    await refused(sql, f"UPDATE orders SET {origin}", "keeps what was decided")


async def test_what_has_ended_stays_so(sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE run_symbols SET state = 'done', outcome = 'hold', finished_at = now()")
    await refused(sql, "UPDATE run_symbols SET outcome = 'bought'", "and stays so")
    await sql.execute("UPDATE runs SET status = 'finished', finished_at = now()")
    await refused(sql, "UPDATE runs SET status = 'opened', finished_at = NULL", "cannot go from finished to opened")
    await refused(sql, f"INSERT INTO run_symbols (run_id, symbol) VALUES ('{RUN}', 'X')", "no symbol can be added")


async def test_a_sold_off_position_costs_nothing(sql: asyncpg.Connection) -> None:
    await sql.execute("INSERT INTO paper_accounts VALUES ('upbit', 'KRW', 1, 1)")
    await refused(
        sql, "INSERT INTO paper_positions VALUES ('upbit', 'X', 0, 1)", "ck_paper_positions_nothing_costs_nothing"
    )
