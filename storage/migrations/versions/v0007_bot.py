"""What people told the bot, and chats that have moved."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE bot_commands (
            seq bigint GENERATED ALWAYS AS IDENTITY,
            update_id bigint NOT NULL,
            chat_id bigint NOT NULL,
            user_id bigint NOT NULL,
            username text NOT NULL,
            command text NOT NULL,
            arguments text NOT NULL,
            outcome text NOT NULL,
            detail text DEFAULT '' NOT NULL,
            trace_id text,
            at timestamptz DEFAULT now() NOT NULL,
            CONSTRAINT pk_bot_commands PRIMARY KEY (seq),
            CONSTRAINT uq_bot_commands_update_id UNIQUE (update_id),
            CONSTRAINT ck_bot_commands_outcome CHECK (outcome IN ('begun', 'done', 'asked', 'refused', 'failed'))
        )
        """
    )
    op.execute("CREATE INDEX ix_bot_commands_at ON bot_commands (at)")
    op.execute(
        """
        CREATE TABLE moved_chats (
            chat_id text NOT NULL,
            moved_to text NOT NULL,
            at timestamptz DEFAULT now() NOT NULL,
            CONSTRAINT pk_moved_chats PRIMARY KEY (chat_id)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE moved_chats")
    op.execute("DROP TABLE bot_commands")
