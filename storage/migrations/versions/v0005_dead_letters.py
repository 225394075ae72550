"""Alerts that were given up."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE dead_letters (
            id text NOT NULL,
            died_at timestamptz NOT NULL,
            fingerprint text NOT NULL,
            kind text NOT NULL,
            payload text NOT NULL,
            attempts bigint NOT NULL,
            occurrences bigint NOT NULL,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            reason text NOT NULL,
            seen_at timestamptz,
            CONSTRAINT pk_dead_letters PRIMARY KEY (id, died_at)
        )
        """
    )
    op.execute("CREATE INDEX ix_dead_letters_unseen ON dead_letters (died_at) WHERE seen_at IS NULL")


def downgrade() -> None:
    op.execute("DROP TABLE dead_letters")
