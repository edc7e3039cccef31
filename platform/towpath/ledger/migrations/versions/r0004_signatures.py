"""Who signed a record, and how it was known who acted. Records from before have neither, and keep their hashes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("via", "signer", "signature"):
        op.add_column("towpath_records", sa.Column(name, sa.Text()))


def downgrade() -> None:
    raise NotImplementedError("The ledger has no way back: restore a backup that was taken before the upgrade.")
