"""Orders that rest, exits, adopted orders, arming, reports of profit."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE risk_exits (
        id uuid DEFAULT gen_random_uuid() NOT NULL,
        market text NOT NULL,
        symbol text NOT NULL,
        kind text NOT NULL,
        quantity numeric NOT NULL,
        price numeric NOT NULL,
        trigger_price numeric NOT NULL,
        average_price numeric NOT NULL,
        reason text NOT NULL,
        trace_id text,
        at timestamptz DEFAULT now() NOT NULL,
        ended_at timestamptz,
        outcome text,
        CONSTRAINT pk_risk_exits PRIMARY KEY (id),
        CONSTRAINT uq_risk_exits_id_market_symbol UNIQUE (id, market, symbol),
        CONSTRAINT ck_risk_exits_kind CHECK (
            kind IN ('stop_loss', 'take_profit', 'atr_stop', 'atr_target', 'trailing')),
        CONSTRAINT ck_risk_exits_quantity CHECK (quantity > 0 AND quantity < 'Infinity'),
        CONSTRAINT ck_risk_exits_price CHECK (price > 0 AND price < 'Infinity'),
        CONSTRAINT ck_risk_exits_average_price CHECK (average_price >= 0 AND average_price < 'Infinity'),
        CONSTRAINT ck_risk_exits_ended_says_how CHECK ((ended_at IS NULL) = (outcome IS NULL))
    )
    """,
    """
    CREATE TABLE high_waters (
        market text NOT NULL,
        symbol text NOT NULL,
        price numeric NOT NULL,
        since timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_high_waters PRIMARY KEY (market, symbol),
        CONSTRAINT ck_high_waters_price CHECK (price > 0 AND price < 'Infinity')
    )
    """,
    """
    CREATE TABLE armings (
        seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
        market text NOT NULL,
        since timestamptz DEFAULT now() NOT NULL,
        until timestamptz NOT NULL,
        set_by text NOT NULL,
        CONSTRAINT pk_armings PRIMARY KEY (seq),
        CONSTRAINT ck_armings_until CHECK (until >= since)
    )
    """,
    """
    CREATE TABLE accounts (
        market text NOT NULL,
        account text NOT NULL,
        since timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_accounts PRIMARY KEY (market)
    )
    """,
    """
    CREATE TABLE pnl_reports (
        period text NOT NULL,
        starts_at timestamptz NOT NULL,
        body jsonb NOT NULL,
        at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_pnl_reports PRIMARY KEY (period, starts_at),
        CONSTRAINT ck_pnl_reports_period CHECK (period IN ('day', 'week'))
    )
    """,
)

CHANGES = (
    "CREATE UNIQUE INDEX uq_risk_exits_open ON risk_exits (market, symbol) WHERE ended_at IS NULL",
    "CREATE INDEX ix_risk_exits_at ON risk_exits (at)",
    "ALTER TABLE analyses ADD COLUMN rejected_by text",
    """
    ALTER TABLE orders
        ALTER COLUMN analysis_id DROP NOT NULL,
        ALTER COLUMN run_id DROP NOT NULL,
        ADD COLUMN exit_id uuid,
        ADD COLUMN adopted boolean DEFAULT false NOT NULL,
        ADD COLUMN leg smallint DEFAULT 1 NOT NULL,
        ADD COLUMN time_in_force text DEFAULT 'ioc' NOT NULL,
        ADD CONSTRAINT fk_orders_exit_id_market_symbol
            FOREIGN KEY (exit_id, market, symbol) REFERENCES risk_exits (id, market, symbol),
        ADD CONSTRAINT ck_orders_one_origin CHECK (
            (analysis_id IS NOT NULL)::int + (exit_id IS NOT NULL)::int + adopted::int = 1
            AND (run_id IS NULL) = (analysis_id IS NULL)),
        ADD CONSTRAINT ck_orders_time_in_force CHECK (time_in_force IN ('ioc', 'gtc'))
    """,
    "CREATE INDEX ix_orders_exit_id ON orders (exit_id)",
    "CREATE INDEX ix_orders_market_symbol ON orders (market, symbol, created_at DESC)",
    "DROP INDEX ix_orders_open",
    "CREATE INDEX ix_orders_open ON orders (state, updated_at) "
    "WHERE state IN ('planned', 'sending', 'unknown', 'accepted', 'partly_filled')",
    # a paper order changes while it rests, so it is guarded as an order is, no longer append-only
    "DROP TRIGGER append_only ON paper_orders",
    """
    ALTER TABLE paper_orders
        ADD COLUMN fee_rate numeric DEFAULT 0 NOT NULL,
        ADD COLUMN time_in_force text DEFAULT 'ioc' NOT NULL,
        ADD COLUMN filled_quantity numeric DEFAULT 0 NOT NULL,
        DROP CONSTRAINT ck_paper_orders_state,
        DROP CONSTRAINT ck_paper_orders_unfilled_says_why
    """,
    "UPDATE paper_orders SET filled_quantity = quantity WHERE state = 'filled'",
    """
    ALTER TABLE paper_orders
        ADD CONSTRAINT ck_paper_orders_state CHECK (
            state IN ('accepted', 'partly_filled', 'filled', 'cancelled', 'rejected')),
        ADD CONSTRAINT ck_paper_orders_time_in_force CHECK (time_in_force IN ('ioc', 'gtc')),
        ADD CONSTRAINT ck_paper_orders_fee_rate CHECK (fee_rate >= 0 AND fee_rate < 'Infinity'),
        ADD CONSTRAINT ck_paper_orders_filled_quantity CHECK (
            filled_quantity >= 0 AND filled_quantity <= quantity),
        ADD CONSTRAINT ck_paper_orders_filled_is_whole CHECK ((state = 'filled') = (filled_quantity = quantity)),
        ADD CONSTRAINT ck_paper_orders_unfilled_says_why CHECK (
            (state IN ('cancelled', 'rejected')) = (reason IS NOT NULL))
    """,
    "CREATE INDEX ix_paper_orders_open ON paper_orders (market, symbol) WHERE state IN ('accepted', 'partly_filled')",
    "ALTER TABLE paper_fills DROP CONSTRAINT uq_paper_fills_client_order_id",
    "CREATE INDEX ix_paper_fills_client_order_id ON paper_fills (client_order_id)",
)

FUNCTIONS = (
    # what `guard_order` of 0002 says of the columns there were then, for those added now
    """
    CREATE FUNCTION guard_order_origin() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (NEW.exit_id, NEW.adopted, NEW.leg, NEW.time_in_force)
                IS DISTINCT FROM (OLD.exit_id, OLD.adopted, OLD.leg, OLD.time_in_force)
            THEN
                RAISE EXCEPTION 'order % keeps what was decided', OLD.client_order_id USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
    $$
    """,
    """
    CREATE FUNCTION guard_paper_order() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (NEW.client_order_id, NEW.market, NEW.symbol, NEW.side, NEW.quantity, NEW.price, NEW.fee_rate,
                NEW.time_in_force, NEW.created_at)
                IS DISTINCT FROM
               (OLD.client_order_id, OLD.market, OLD.symbol, OLD.side, OLD.quantity, OLD.price, OLD.fee_rate,
                OLD.time_in_force, OLD.created_at)
                OR OLD.state NOT IN ('accepted', 'partly_filled')
                OR NEW.filled_quantity < OLD.filled_quantity
            THEN
                RAISE EXCEPTION 'paper order % keeps what was decided and done', OLD.client_order_id
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
    $$
    """,
)

TRIGGERS = (
    "CREATE TRIGGER guard_origin BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION guard_order_origin()",
    "CREATE TRIGGER guard BEFORE UPDATE ON paper_orders FOR EACH ROW EXECUTE FUNCTION guard_paper_order()",
    "CREATE TRIGGER never_deleted BEFORE DELETE ON paper_orders FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON armings FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER never_truncated BEFORE TRUNCATE ON armings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
)


def upgrade() -> None:
    for statement in (*TABLES, *CHANGES, *FUNCTIONS, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    for statement in (
        "DROP TRIGGER guard_origin ON orders",
        "DROP TRIGGER guard ON paper_orders",
        "DROP TRIGGER never_deleted ON paper_orders",
        "DROP FUNCTION guard_order_origin",
        "DROP FUNCTION guard_paper_order",
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON paper_orders "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        "ALTER TABLE paper_orders DROP COLUMN fee_rate, DROP COLUMN time_in_force, DROP COLUMN filled_quantity, "
        "DROP CONSTRAINT ck_paper_orders_state, DROP CONSTRAINT ck_paper_orders_unfilled_says_why, "
        "ADD CONSTRAINT ck_paper_orders_state CHECK (state IN ('filled', 'cancelled', 'rejected')), "
        "ADD CONSTRAINT ck_paper_orders_unfilled_says_why CHECK ((state = 'filled') = (reason IS NULL))",
        "DROP INDEX ix_paper_orders_open",
        "DROP INDEX ix_paper_fills_client_order_id",
        "ALTER TABLE paper_fills ADD CONSTRAINT uq_paper_fills_client_order_id UNIQUE (client_order_id)",
        "DROP INDEX ix_orders_open",
        "CREATE INDEX ix_orders_open ON orders (state, updated_at) "
        "WHERE state IN ('planned', 'sending', 'unknown', 'accepted')",
        "ALTER TABLE orders DROP COLUMN exit_id, DROP COLUMN adopted, DROP COLUMN leg, DROP COLUMN time_in_force, "
        "ALTER COLUMN analysis_id SET NOT NULL, ALTER COLUMN run_id SET NOT NULL",
        "DROP INDEX ix_orders_market_symbol",
        "ALTER TABLE analyses DROP COLUMN rejected_by",
        "DROP TABLE risk_exits, high_waters, armings, accounts, pnl_reports",
    ):
        op.execute(statement)
