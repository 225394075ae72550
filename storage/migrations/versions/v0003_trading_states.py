"""Trading states: who may order what, per scope, with a reason and an expiry."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE trading_states (
            seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
            market text,
            symbol text,
            state text NOT NULL,
            reason text NOT NULL,
            until timestamptz,
            set_by text NOT NULL,
            at timestamptz DEFAULT now() NOT NULL,
            CONSTRAINT pk_trading_states PRIMARY KEY (seq),
            CONSTRAINT ck_trading_states_state CHECK (state IN ('active', 'reducing', 'halted')),
            CONSTRAINT ck_trading_states_symbol_of_a_market CHECK (symbol IS NULL OR market IS NOT NULL),
            CONSTRAINT ck_trading_states_says_why CHECK (reason <> ''),
            CONSTRAINT ck_trading_states_until CHECK (until IS NULL OR until > at)
        )
        """
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON trading_states "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER never_truncated BEFORE TRUNCATE ON trading_states "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.execute("DROP TABLE trading_states")
