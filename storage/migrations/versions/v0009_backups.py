"""When the last good backup was made, and when its copy off this device."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE backups (
            copy text NOT NULL,
            at timestamptz NOT NULL,
            name text NOT NULL,
            bytes bigint NOT NULL,
            CONSTRAINT pk_backups PRIMARY KEY (copy),
            CONSTRAINT ck_backups_copy CHECK (copy IN ('local', 'away'))
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE backups")
