"""What language models were asked and said."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE llm_calls (
            seq bigint GENERATED ALWAYS AS IDENTITY,
            run_id uuid NOT NULL,
            market text NOT NULL,
            symbol text NOT NULL,
            model text NOT NULL,
            key text NOT NULL,
            outcome text NOT NULL,
            seconds double precision NOT NULL,
            input_tokens bigint NOT NULL,
            output_tokens bigint NOT NULL,
            cost numeric NOT NULL,
            prompt_version integer NOT NULL,
            prompt text NOT NULL,
            reply text NOT NULL,
            error text NOT NULL,
            trace_id text,
            at timestamptz DEFAULT now() NOT NULL,
            CONSTRAINT pk_llm_calls PRIMARY KEY (seq),
            CONSTRAINT fk_llm_calls_run_id_market FOREIGN KEY (run_id, market) REFERENCES runs (id, market),
            CONSTRAINT ck_llm_calls_cost CHECK (cost >= 0 AND cost < 'Infinity'),
            CONSTRAINT ck_llm_calls_tokens CHECK (input_tokens >= 0 AND output_tokens >= 0)
        )
        """
    )
    op.execute("CREATE INDEX ix_llm_calls_run_id_symbol ON llm_calls (run_id, symbol)")
    op.execute("CREATE INDEX ix_llm_calls_at ON llm_calls (at)")


def downgrade() -> None:
    op.execute("DROP TABLE llm_calls")
