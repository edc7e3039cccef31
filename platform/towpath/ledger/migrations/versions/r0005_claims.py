"""The table of requests that bore an Idempotency-Key: what was asked, and what was answered. Kept for a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "towpath_claims",
        sa.Column("claim", sa.Text(), primary_key=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("answer", sa.Text()),
    )
    op.create_index("towpath_claims_age", "towpath_claims", ["claimed_at"])


def downgrade() -> None:
    raise NotImplementedError("The ledger has no way back: restore a backup that was taken before the upgrade.")
