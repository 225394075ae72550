"""The tables as the queries see them. What a row may be and become is enforced by PostgreSQL itself.

Constraints and indexes are declared here and in the migration; a test holds the two equal. Triggers (legal
state changes, append-only journals) stand in the migration only. Money is NUMERIC, times are timestamptz.
NUMERIC knows NaN and Infinity, and NaN is greater than every number there: hence the upper bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from trading.exits import ExitKind
from trading.state import State
from trading.types import Decision, OrderState, Side, TimeInForce

SCHEMA_REVISION = "0009"
"""The migration these tables stand at; known without importing Alembic, which costs a process 11 MB."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class AwareTime(TypeDecorator[datetime]):
    """timestamptz that refuses a naive datetime: the driver would take it for local time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.utcoffset() is None:
            raise ValueError(f"{value} has no time zone; use aware UTC times")
        return value


PAPER_STATES = (
    OrderState.ACCEPTED,
    OrderState.PARTLY_FILLED,
    OrderState.FILLED,
    OrderState.CANCELLED,
    OrderState.REJECTED,
)

_TIME = AwareTime()
_RANGES = ("appropriate_buy", "appropriate_sell", "buy_hope", "sell_target")


def _one_of(column: str, values: Iterable[str] | type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _positive(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} > 0 AND {column} < 'Infinity'", name=column)


def _not_negative(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} >= 0 AND {column} < 'Infinity'", name=column)


def _uuid_key() -> Column[object]:
    return Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()"))


runs = Table(
    "runs",
    metadata,
    _uuid_key(),
    Column("market", Text, nullable=False),
    Column("slot", _TIME, nullable=False),
    Column("task_id", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("trace_id", Text),
    Column("opened_at", _TIME, nullable=False, server_default=text("now()")),
    Column("finished_at", _TIME),
    UniqueConstraint("market", "slot"),
    UniqueConstraint("id", "market"),
    _one_of("status", ("opened", "published", "finished", "skipped")),
    CheckConstraint("(status = 'skipped') = (reason IS NOT NULL)", name="skipped_says_why"),
    CheckConstraint("(status IN ('finished', 'skipped')) = (finished_at IS NOT NULL)", name="finished_at"),
)
Index("ix_runs_opened_at", runs.c.opened_at)

run_symbols = Table(
    "run_symbols",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("outcome", Text),
    Column("error", Text),
    Column("task_id", Text),
    Column("finished_at", _TIME),
    PrimaryKeyConstraint("run_id", "symbol"),
    _one_of("state", ("pending", "done", "failed")),
    CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="done_has_outcome"),
    CheckConstraint("(state = 'failed') = (error IS NOT NULL)", name="failed_has_error"),
    CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished_at"),
)
Index("ix_run_symbols_pending", run_symbols.c.run_id, postgresql_where=text("state = 'pending'"))

analyses = Table(
    "analyses",
    metadata,
    _uuid_key(),
    Column("run_id", Uuid, nullable=False),
    Column("market", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("confidence", SmallInteger, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    *(Column(f"{name}_{end}", Numeric, nullable=False) for name in _RANGES for end in ("min", "max")),
    Column("price", Numeric, nullable=False),
    Column("model", Text, nullable=False),
    Column("indicators", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("at", _TIME, nullable=False),
    Column("trace_id", Text),
    Column("created_at", _TIME, nullable=False, server_default=text("now()")),
    Column("rejected_by", Text),
    UniqueConstraint("run_id", "symbol"),
    UniqueConstraint("id", "run_id", "market", "symbol"),
    ForeignKeyConstraint(["run_id", "symbol"], ["run_symbols.run_id", "run_symbols.symbol"]),
    ForeignKeyConstraint(["run_id", "market"], ["runs.id", "runs.market"]),
    _one_of("decision", Decision),
    CheckConstraint("confidence BETWEEN 0 AND 100", name="confidence"),
    CheckConstraint("cardinality(reasons) BETWEEN 1 AND 3 AND array_position(reasons, NULL) IS NULL", name="reasons"),
    *(
        CheckConstraint(f"0 <= {name}_min AND {name}_min <= {name}_max AND {name}_max < 'Infinity'", name=name)
        for name in _RANGES
    ),
    _positive("price"),
)
Index("ix_analyses_created_at", analyses.c.created_at)
Index("ix_analyses_market_symbol_at", analyses.c.market, analyses.c.symbol, analyses.c.at.desc())

# a position that an exit rule wants closed; open until it is
risk_exits = Table(
    "risk_exits",
    metadata,
    _uuid_key(),
    Column("market", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("trigger_price", Numeric, nullable=False),
    Column("average_price", Numeric, nullable=False),
    Column("reason", Text, nullable=False),
    Column("trace_id", Text),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    Column("ended_at", _TIME),
    Column("outcome", Text),
    UniqueConstraint("id", "market", "symbol"),
    _one_of("kind", ExitKind),
    _positive("quantity"),
    _positive("price"),
    _not_negative("average_price"),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended_says_how"),
)
Index(
    "uq_risk_exits_open",
    risk_exits.c.market,
    risk_exits.c.symbol,
    unique=True,
    postgresql_where=text("ended_at IS NULL"),
)
Index("ix_risk_exits_at", risk_exits.c.at)

# the highest price since a position was opened, for trailing stops
high_waters = Table(
    "high_waters",
    metadata,
    Column("market", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("since", _TIME, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("market", "symbol"),
    _positive("price"),
)

orders = Table(
    "orders",
    metadata,
    _uuid_key(),
    Column("client_order_id", Text, nullable=False),
    # where it comes from: an analysis of a run, an exit rule, or the venue, where somebody else had placed it
    Column("analysis_id", Uuid),
    Column("run_id", Uuid),
    Column("market", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("filled_quantity", Numeric, nullable=False, server_default=text("0")),
    Column("venue_order_id", Text),
    Column("reason", Text),
    Column("trace_id", Text),
    Column("created_at", _TIME, nullable=False, server_default=text("now()")),
    Column("updated_at", _TIME, nullable=False, server_default=text("now()")),
    Column("exit_id", Uuid),
    Column("adopted", Boolean, nullable=False, server_default=text("false")),
    Column("leg", SmallInteger, nullable=False, server_default=text("1")),
    Column("time_in_force", Text, nullable=False, server_default=text("'ioc'")),
    UniqueConstraint("client_order_id"),
    UniqueConstraint("id", "market"),
    ForeignKeyConstraint(
        ["analysis_id", "run_id", "market", "symbol"],
        ["analyses.id", "analyses.run_id", "analyses.market", "analyses.symbol"],
    ),
    ForeignKeyConstraint(["exit_id", "market", "symbol"], ["risk_exits.id", "risk_exits.market", "risk_exits.symbol"]),
    CheckConstraint(
        "(analysis_id IS NOT NULL)::int + (exit_id IS NOT NULL)::int + adopted::int = 1 "
        "AND (run_id IS NULL) = (analysis_id IS NULL)",
        name="one_origin",
    ),
    _one_of("side", Side),
    _one_of("time_in_force", TimeInForce),
    _positive("quantity"),
    _positive("price"),
    _one_of("state", OrderState),
    CheckConstraint("filled_quantity >= 0 AND filled_quantity <= quantity", name="filled_quantity"),
    CheckConstraint("state <> 'filled' OR filled_quantity = quantity", name="filled_is_whole"),
    CheckConstraint("state <> 'partly_filled' OR filled_quantity > 0", name="partly_filled_has_fills"),
    CheckConstraint(
        "state NOT IN ('planned', 'rejected', 'throttled', 'not_created') OR filled_quantity = 0",
        name="no_order_no_fills",
    ),
)
Index("ix_orders_analysis_id", orders.c.analysis_id)
Index("ix_orders_run_id", orders.c.run_id)
Index("ix_orders_exit_id", orders.c.exit_id)
Index("ix_orders_market_symbol", orders.c.market, orders.c.symbol, orders.c.created_at.desc())
Index("ix_orders_updated_at", orders.c.updated_at)
Index(
    "ix_orders_open",
    orders.c.state,
    orders.c.updated_at,
    postgresql_where=text("state IN ('planned', 'sending', 'unknown', 'accepted', 'partly_filled')"),
)
# while one order of a side is unproven no second one is sent: the first could not be told from it at a venue
# that knows no client order ids
Index(
    "uq_orders_unproven",
    orders.c.market,
    orders.c.symbol,
    orders.c.side,
    unique=True,
    postgresql_where=text("state IN ('sending', 'unknown')"),
)
# two orders never claim the same order of the venue
Index(
    "uq_orders_venue_order_id",
    orders.c.market,
    orders.c.venue_order_id,
    unique=True,
    postgresql_where=text("venue_order_id IS NOT NULL"),
)

order_events = Table(
    "order_events",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Uuid, ForeignKey("orders.id"), nullable=False),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("payload", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    Column("trace_id", Text),
)
Index("ix_order_events_order_id_seq", order_events.c.order_id, order_events.c.seq)

fills = Table(
    "fills",
    metadata,
    Column("market", Text, nullable=False),
    Column("trade_id", Text, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("fee", Numeric, nullable=False),
    Column("at", _TIME, nullable=False),
    PrimaryKeyConstraint("market", "trade_id"),
    ForeignKeyConstraint(["order_id", "market"], ["orders.id", "orders.market"]),
    _positive("quantity"),
    _positive("price"),
    _not_negative("fee"),
)
Index("ix_fills_order_id", fills.c.order_id)

paper_accounts = Table(
    "paper_accounts",
    metadata,
    Column("market", Text, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("cash", Numeric, nullable=False),
    Column("opening_cash", Numeric, nullable=False),
    _not_negative("cash"),
    _not_negative("opening_cash"),
)

paper_positions = Table(
    "paper_positions",
    metadata,
    Column("market", Text, ForeignKey("paper_accounts.market"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("cost", Numeric, nullable=False),
    PrimaryKeyConstraint("market", "symbol"),
    _not_negative("quantity"),
    _not_negative("cost"),
    CheckConstraint("quantity > 0 OR cost = 0", name="nothing_costs_nothing"),
)

paper_orders = Table(
    "paper_orders",
    metadata,
    Column("client_order_id", Text, primary_key=True),
    Column("market", Text, ForeignKey("paper_accounts.market"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", _TIME, nullable=False),
    Column("fee_rate", Numeric, nullable=False, server_default=text("0")),
    Column("time_in_force", Text, nullable=False, server_default=text("'ioc'")),
    Column("filled_quantity", Numeric, nullable=False, server_default=text("0")),
    _one_of("side", Side),
    _one_of("time_in_force", TimeInForce),
    _one_of("state", PAPER_STATES),
    _not_negative("fee_rate"),
    CheckConstraint("filled_quantity >= 0 AND filled_quantity <= quantity", name="filled_quantity"),
    CheckConstraint("(state = 'filled') = (filled_quantity = quantity)", name="filled_is_whole"),
    CheckConstraint("(state IN ('cancelled', 'rejected')) = (reason IS NOT NULL)", name="unfilled_says_why"),
)
Index(
    "ix_paper_orders_open",
    paper_orders.c.market,
    paper_orders.c.symbol,
    postgresql_where=text("state IN ('accepted', 'partly_filled')"),
)

paper_fills = Table(
    "paper_fills",
    metadata,
    Column("trade_id", Text, primary_key=True),
    Column("client_order_id", Text, ForeignKey("paper_orders.client_order_id"), nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("fee", Numeric, nullable=False),
    Column("at", _TIME, nullable=False),
    _positive("quantity"),
    _positive("price"),
    _not_negative("fee"),
)
Index("ix_paper_fills_client_order_id", paper_fills.c.client_order_id)

portfolio_snapshots = Table(
    "portfolio_snapshots",
    metadata,
    _uuid_key(),
    Column("run_id", Uuid, nullable=False),
    Column("market", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("cash", Numeric, nullable=False),
    Column("positions_value", Numeric, nullable=False),
    Column("total", Numeric, Computed("cash + positions_value", persisted=True)),
    Column("at", _TIME, nullable=False),
    UniqueConstraint("run_id"),
    ForeignKeyConstraint(["run_id", "market"], ["runs.id", "runs.market"]),
    _not_negative("cash"),
    _not_negative("positions_value"),
)
Index("ix_portfolio_snapshots_market_at", portfolio_snapshots.c.market, portfolio_snapshots.c.at.desc())

# append-only: see storage/trading_states.py for what holds
trading_states = Table(
    "trading_states",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("market", Text),
    Column("symbol", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", _TIME),
    Column("set_by", Text, nullable=False),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    _one_of("state", State),
    CheckConstraint("symbol IS NULL OR market IS NOT NULL", name="symbol_of_a_market"),
    CheckConstraint("reason <> ''", name="says_why"),
    CheckConstraint("until IS NULL OR until > at", name="until"),
)

# append-only: the newest row of a market is what holds; one that ends when it begins disarms
armings = Table(
    "armings",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("market", Text, nullable=False),
    Column("since", _TIME, nullable=False, server_default=text("now()")),
    Column("until", _TIME, nullable=False),
    Column("set_by", Text, nullable=False),
    CheckConstraint("until >= since", name="until"),
)

# whose journal this database is: a market's orders, fills and snapshots are of one account
accounts = Table(
    "accounts",
    metadata,
    Column("market", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("since", _TIME, nullable=False, server_default=text("now()")),
)

# profit of a KST day or week, made once and told once
pnl_reports = Table(
    "pnl_reports",
    metadata,
    Column("period", Text, nullable=False),
    Column("starts_at", _TIME, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("period", "starts_at"),
    _one_of("period", ("day", "week")),
)

# alerts that were given up; `id` and `died_at` are those of the alert queue
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Text, nullable=False),
    Column("died_at", _TIME, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("occurrences", BigInteger, nullable=False),
    Column("first_at", _TIME, nullable=False),
    Column("last_at", _TIME, nullable=False),
    Column("reason", Text, nullable=False),
    Column("seen_at", _TIME),
    PrimaryKeyConstraint("id", "died_at"),
)
Index("ix_dead_letters_unseen", dead_letters.c.died_at, postgresql_where=text("seen_at IS NULL"))

# what people told the bot to do, or tried to: one row per command or pressed button
bot_commands = Table(
    "bot_commands",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    # Telegram's number of the update: a command that is delivered twice is done once
    Column("update_id", BigInteger, nullable=False, unique=True),
    Column("chat_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("username", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("trace_id", Text),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    _one_of("outcome", ("begun", "done", "asked", "refused", "failed")),
)
Index("ix_bot_commands_at", bot_commands.c.at)

# groups that became supergroups: what the settings call them, and what Telegram calls them now
moved_chats = Table(
    "moved_chats",
    metadata,
    Column("chat_id", Text, nullable=False),
    Column("moved_to", Text, nullable=False),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("chat_id"),
)

# the last good backup of each kind, written by deploy/backup: on this device, and its copy off it
backups = Table(
    "backups",
    metadata,
    Column("copy", Text, primary_key=True),
    Column("at", _TIME, nullable=False),
    Column("name", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    _one_of("copy", ("local", "away")),
)

# one row per question to a language model
llm_calls = Table(
    "llm_calls",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Uuid, nullable=False),
    Column("market", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost", Numeric, nullable=False),
    Column("prompt_version", Integer, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("trace_id", Text),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    ForeignKeyConstraint(["run_id", "market"], ["runs.id", "runs.market"]),
    CheckConstraint("cost >= 0 AND cost < 'Infinity'", name="cost"),
    CheckConstraint("input_tokens >= 0 AND output_tokens >= 0", name="tokens"),
)
Index("ix_llm_calls_run_id_symbol", llm_calls.c.run_id, llm_calls.c.symbol)
Index("ix_llm_calls_at", llm_calls.c.at)
