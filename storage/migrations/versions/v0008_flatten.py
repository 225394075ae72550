"""Exits that a person asks for."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = ("stop_loss", "take_profit", "atr_stop", "atr_target", "trailing")


def upgrade() -> None:
    _kinds((*KINDS, "flatten"))


def downgrade() -> None:
    # a journal keeps its rows: where somebody has flattened, the older version is not gone back to
    _kinds(KINDS)


def _kinds(kinds: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.execute(
        "ALTER TABLE risk_exits DROP CONSTRAINT ck_risk_exits_kind, "
        f"ADD CONSTRAINT ck_risk_exits_kind CHECK (kind IN ({listed}))"
    )
