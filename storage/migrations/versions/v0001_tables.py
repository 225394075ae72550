"""Runs, analyses, the order journal, the paper venue and portfolio snapshots."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# parents first
TABLES = (
    "runs",
    "run_symbols",
    "analyses",
    "orders",
    "order_events",
    "fills",
    "paper_accounts",
    "paper_positions",
    "paper_orders",
    "paper_fills",
    "portfolio_snapshots",
)

STATEMENTS = (
    """
    CREATE TABLE runs (
        id uuid DEFAULT gen_random_uuid() NOT NULL,
        market text NOT NULL,
        slot timestamptz NOT NULL,
        task_id text,
        status text NOT NULL,
        reason text,
        trace_id text,
        opened_at timestamptz DEFAULT now() NOT NULL,
        finished_at timestamptz,
        CONSTRAINT pk_runs PRIMARY KEY (id),
        CONSTRAINT uq_runs_market_slot UNIQUE (market, slot),
        CONSTRAINT uq_runs_id_market UNIQUE (id, market),
        CONSTRAINT ck_runs_status CHECK (status IN ('opened', 'published', 'finished', 'skipped')),
        CONSTRAINT ck_runs_skipped_says_why CHECK ((status = 'skipped') = (reason IS NOT NULL)),
        CONSTRAINT ck_runs_finished_at CHECK ((status IN ('finished', 'skipped')) = (finished_at IS NOT NULL))
    )
    """,
    "CREATE INDEX ix_runs_opened_at ON runs (opened_at)",
    """
    CREATE TABLE run_symbols (
        run_id uuid NOT NULL,
        symbol text NOT NULL,
        state text DEFAULT 'pending' NOT NULL,
        outcome text,
        error text,
        task_id text,
        finished_at timestamptz,
        CONSTRAINT pk_run_symbols PRIMARY KEY (run_id, symbol),
        CONSTRAINT ck_run_symbols_state CHECK (state IN ('pending', 'done', 'failed')),
        CONSTRAINT ck_run_symbols_done_has_outcome CHECK ((state = 'done') = (outcome IS NOT NULL)),
        CONSTRAINT ck_run_symbols_failed_has_error CHECK ((state = 'failed') = (error IS NOT NULL)),
        CONSTRAINT ck_run_symbols_finished_at CHECK ((state = 'pending') = (finished_at IS NULL)),
        CONSTRAINT fk_run_symbols_run_id FOREIGN KEY (run_id) REFERENCES runs (id)
    )
    """,
    "CREATE INDEX ix_run_symbols_pending ON run_symbols (run_id) WHERE state = 'pending'",
    """
    CREATE TABLE analyses (
        id uuid DEFAULT gen_random_uuid() NOT NULL,
        run_id uuid NOT NULL,
        market text NOT NULL,
        symbol text NOT NULL,
        decision text NOT NULL,
        confidence smallint NOT NULL,
        reasons text[] NOT NULL,
        appropriate_buy_min numeric NOT NULL,
        appropriate_buy_max numeric NOT NULL,
        appropriate_sell_min numeric NOT NULL,
        appropriate_sell_max numeric NOT NULL,
        buy_hope_min numeric NOT NULL,
        buy_hope_max numeric NOT NULL,
        sell_target_min numeric NOT NULL,
        sell_target_max numeric NOT NULL,
        price numeric NOT NULL,
        model text NOT NULL,
        indicators jsonb DEFAULT '{}'::jsonb NOT NULL,
        at timestamptz NOT NULL,
        trace_id text,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_analyses PRIMARY KEY (id),
        CONSTRAINT uq_analyses_run_id_symbol UNIQUE (run_id, symbol),
        CONSTRAINT uq_analyses_id_run_id_market_symbol UNIQUE (id, run_id, market, symbol),
        CONSTRAINT fk_analyses_run_id_symbol FOREIGN KEY (run_id, symbol) REFERENCES run_symbols (run_id, symbol),
        CONSTRAINT fk_analyses_run_id_market FOREIGN KEY (run_id, market) REFERENCES runs (id, market),
        CONSTRAINT ck_analyses_decision CHECK (decision IN ('buy', 'hold', 'sell')),
        CONSTRAINT ck_analyses_confidence CHECK (confidence BETWEEN 0 AND 100),
        CONSTRAINT ck_analyses_reasons
            CHECK (cardinality(reasons) BETWEEN 1 AND 3 AND array_position(reasons, NULL) IS NULL),
        CONSTRAINT ck_analyses_appropriate_buy
            CHECK (0 <= appropriate_buy_min AND appropriate_buy_min <= appropriate_buy_max
                AND appropriate_buy_max < 'Infinity'),
        CONSTRAINT ck_analyses_appropriate_sell
            CHECK (0 <= appropriate_sell_min AND appropriate_sell_min <= appropriate_sell_max
                AND appropriate_sell_max < 'Infinity'),
        CONSTRAINT ck_analyses_buy_hope
            CHECK (0 <= buy_hope_min AND buy_hope_min <= buy_hope_max
                AND buy_hope_max < 'Infinity'),
        CONSTRAINT ck_analyses_sell_target
            CHECK (0 <= sell_target_min AND sell_target_min <= sell_target_max
                AND sell_target_max < 'Infinity'),
        CONSTRAINT ck_analyses_price CHECK (price > 0 AND price < 'Infinity')
    )
    """,
    "CREATE INDEX ix_analyses_created_at ON analyses (created_at)",
    "CREATE INDEX ix_analyses_market_symbol_at ON analyses (market, symbol, at DESC)",
    """
    CREATE TABLE orders (
        id uuid DEFAULT gen_random_uuid() NOT NULL,
        client_order_id text NOT NULL,
        analysis_id uuid NOT NULL,
        run_id uuid NOT NULL,
        market text NOT NULL,
        symbol text NOT NULL,
        side text NOT NULL,
        quantity numeric NOT NULL,
        price numeric NOT NULL,
        currency text NOT NULL,
        state text NOT NULL,
        filled_quantity numeric DEFAULT 0 NOT NULL,
        venue_order_id text,
        reason text,
        trace_id text,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_orders PRIMARY KEY (id),
        CONSTRAINT uq_orders_client_order_id UNIQUE (client_order_id),
        CONSTRAINT uq_orders_id_market UNIQUE (id, market),
        CONSTRAINT fk_orders_analysis_id_run_id_market_symbol FOREIGN KEY (analysis_id, run_id, market, symbol)
            REFERENCES analyses (id, run_id, market, symbol),
        CONSTRAINT ck_orders_side CHECK (side IN ('buy', 'sell')),
        CONSTRAINT ck_orders_quantity CHECK (quantity > 0 AND quantity < 'Infinity'),
        CONSTRAINT ck_orders_price CHECK (price > 0 AND price < 'Infinity'),
        CONSTRAINT ck_orders_state
            CHECK (state IN ('planned', 'sending', 'accepted', 'rejected', 'throttled', 'unknown',
                'partly_filled', 'filled', 'cancelled', 'not_created')),
        CONSTRAINT ck_orders_filled_quantity CHECK (filled_quantity >= 0 AND filled_quantity <= quantity),
        CONSTRAINT ck_orders_filled_is_whole CHECK (state <> 'filled' OR filled_quantity = quantity),
        CONSTRAINT ck_orders_partly_filled_has_fills CHECK (state <> 'partly_filled' OR filled_quantity > 0),
        CONSTRAINT ck_orders_no_order_no_fills
            CHECK (state NOT IN ('planned', 'rejected', 'throttled', 'not_created') OR filled_quantity = 0)
    )
    """,
    "CREATE INDEX ix_orders_analysis_id ON orders (analysis_id)",
    """
    CREATE INDEX ix_orders_open ON orders (state, updated_at)
    WHERE state IN ('planned', 'sending', 'unknown', 'accepted')
    """,
    "CREATE INDEX ix_orders_run_id ON orders (run_id)",
    "CREATE INDEX ix_orders_updated_at ON orders (updated_at)",
    """
    CREATE UNIQUE INDEX uq_orders_unproven ON orders (market, symbol, side)
    WHERE state IN ('sending', 'unknown')
    """,
    """
    CREATE UNIQUE INDEX uq_orders_venue_order_id ON orders (market, venue_order_id)
    WHERE venue_order_id IS NOT NULL
    """,
    """
    CREATE TABLE order_events (
        seq bigint GENERATED ALWAYS AS IDENTITY,
        order_id uuid NOT NULL,
        from_state text,
        to_state text NOT NULL,
        payload jsonb DEFAULT '{}'::jsonb NOT NULL,
        at timestamptz DEFAULT now() NOT NULL,
        trace_id text,
        CONSTRAINT pk_order_events PRIMARY KEY (seq),
        CONSTRAINT fk_order_events_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
    )
    """,
    "CREATE INDEX ix_order_events_order_id_seq ON order_events (order_id, seq)",
    """
    CREATE TABLE fills (
        market text NOT NULL,
        trade_id text NOT NULL,
        order_id uuid NOT NULL,
        quantity numeric NOT NULL,
        price numeric NOT NULL,
        fee numeric NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_fills PRIMARY KEY (market, trade_id),
        CONSTRAINT fk_fills_order_id_market FOREIGN KEY (order_id, market) REFERENCES orders (id, market),
        CONSTRAINT ck_fills_quantity CHECK (quantity > 0 AND quantity < 'Infinity'),
        CONSTRAINT ck_fills_price CHECK (price > 0 AND price < 'Infinity'),
        CONSTRAINT ck_fills_fee CHECK (fee >= 0 AND fee < 'Infinity')
    )
    """,
    "CREATE INDEX ix_fills_order_id ON fills (order_id)",
    """
    CREATE TABLE paper_accounts (
        market text NOT NULL,
        currency text NOT NULL,
        cash numeric NOT NULL,
        opening_cash numeric NOT NULL,
        CONSTRAINT pk_paper_accounts PRIMARY KEY (market),
        CONSTRAINT ck_paper_accounts_cash CHECK (cash >= 0 AND cash < 'Infinity'),
        CONSTRAINT ck_paper_accounts_opening_cash CHECK (opening_cash >= 0 AND opening_cash < 'Infinity')
    )
    """,
    """
    CREATE TABLE paper_positions (
        market text NOT NULL,
        symbol text NOT NULL,
        quantity numeric NOT NULL,
        cost numeric NOT NULL,
        CONSTRAINT pk_paper_positions PRIMARY KEY (market, symbol),
        CONSTRAINT ck_paper_positions_quantity CHECK (quantity >= 0 AND quantity < 'Infinity'),
        CONSTRAINT ck_paper_positions_cost CHECK (cost >= 0 AND cost < 'Infinity'),
        CONSTRAINT ck_paper_positions_nothing_costs_nothing CHECK (quantity > 0 OR cost = 0),
        CONSTRAINT fk_paper_positions_market FOREIGN KEY (market) REFERENCES paper_accounts (market)
    )
    """,
    """
    CREATE TABLE paper_orders (
        client_order_id text NOT NULL,
        market text NOT NULL,
        symbol text NOT NULL,
        side text NOT NULL,
        quantity numeric NOT NULL,
        price numeric NOT NULL,
        state text NOT NULL,
        reason text,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_paper_orders PRIMARY KEY (client_order_id),
        CONSTRAINT ck_paper_orders_side CHECK (side IN ('buy', 'sell')),
        CONSTRAINT ck_paper_orders_state CHECK (state IN ('filled', 'cancelled', 'rejected')),
        CONSTRAINT ck_paper_orders_unfilled_says_why CHECK ((state = 'filled') = (reason IS NULL)),
        CONSTRAINT fk_paper_orders_market FOREIGN KEY (market) REFERENCES paper_accounts (market)
    )
    """,
    """
    CREATE TABLE paper_fills (
        trade_id text NOT NULL,
        client_order_id text NOT NULL,
        quantity numeric NOT NULL,
        price numeric NOT NULL,
        fee numeric NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_paper_fills PRIMARY KEY (trade_id),
        CONSTRAINT uq_paper_fills_client_order_id UNIQUE (client_order_id),
        CONSTRAINT ck_paper_fills_quantity CHECK (quantity > 0 AND quantity < 'Infinity'),
        CONSTRAINT ck_paper_fills_price CHECK (price > 0 AND price < 'Infinity'),
        CONSTRAINT ck_paper_fills_fee CHECK (fee >= 0 AND fee < 'Infinity'),
        CONSTRAINT fk_paper_fills_client_order_id FOREIGN KEY (client_order_id)
            REFERENCES paper_orders (client_order_id)
    )
    """,
    """
    CREATE TABLE portfolio_snapshots (
        id uuid DEFAULT gen_random_uuid() NOT NULL,
        run_id uuid NOT NULL,
        market text NOT NULL,
        currency text NOT NULL,
        cash numeric NOT NULL,
        positions_value numeric NOT NULL,
        total numeric GENERATED ALWAYS AS (cash + positions_value) STORED,
        at timestamptz NOT NULL,
        CONSTRAINT pk_portfolio_snapshots PRIMARY KEY (id),
        CONSTRAINT uq_portfolio_snapshots_run_id UNIQUE (run_id),
        CONSTRAINT fk_portfolio_snapshots_run_id_market FOREIGN KEY (run_id, market) REFERENCES runs (id, market),
        CONSTRAINT ck_portfolio_snapshots_cash CHECK (cash >= 0 AND cash < 'Infinity'),
        CONSTRAINT ck_portfolio_snapshots_positions_value
            CHECK (positions_value >= 0 AND positions_value < 'Infinity')
    )
    """,
    "CREATE INDEX ix_portfolio_snapshots_market_at ON portfolio_snapshots (market, at DESC)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
