"""The table of local tokens: never removed, never changed but for being revoked, once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CHANGED = "towpath: a token is never changed; it is revoked, once, and another is made"
_REMOVED = "towpath: a token is never removed"
_FIXED = (
    *("token_id", "secret_sha256", "person", "account", "kind", "grants", "issued_by"),
    *("created_at", "expires_at", "signer", "signature"),
)


def _differs(word: str) -> str:
    return " OR ".join([f"NEW.{name} {word} OLD.{name}" for name in _FIXED])


_SQLITE = (
    f"""
    CREATE TRIGGER towpath_tokens_update BEFORE UPDATE ON towpath_tokens
    WHEN OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR {_differs("IS NOT")}
    BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END
    """,
    f"""
    CREATE TRIGGER towpath_tokens_delete BEFORE DELETE ON towpath_tokens
    BEGIN SELECT RAISE(ABORT, '{_REMOVED}'); END
    """,
    # INSERT OR REPLACE removes rows without asking a DELETE trigger.
    f"""
    CREATE TRIGGER towpath_tokens_insert BEFORE INSERT ON towpath_tokens
    WHEN EXISTS (SELECT 1 FROM towpath_tokens WHERE token_id = NEW.token_id)
    BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END
    """,
)
_POSTGRESQL = (
    f"""
    CREATE FUNCTION towpath_tokens_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'UPDATE' THEN
            RAISE EXCEPTION '{_REMOVED}' USING ERRCODE = 'restrict_violation';
        END IF;
        IF OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR {_differs("IS DISTINCT FROM")} THEN
            RAISE EXCEPTION '{_CHANGED}' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER towpath_tokens_keep BEFORE UPDATE OR DELETE ON towpath_tokens
    FOR EACH ROW EXECUTE FUNCTION towpath_tokens_keep()
    """,
    """
    CREATE TRIGGER towpath_tokens_truncate BEFORE TRUNCATE ON towpath_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION towpath_tokens_keep()
    """,
    "ALTER TABLE towpath_tokens ENABLE ALWAYS TRIGGER towpath_tokens_keep",
    "ALTER TABLE towpath_tokens ENABLE ALWAYS TRIGGER towpath_tokens_truncate",
)


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "towpath_tokens",
        sa.Column("token_id", sa.Text(), primary_key=True),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("grants", sa.Text(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Text()),
        sa.Column("signer", sa.Text()),
        sa.Column("signature", sa.Text()),
    )
    for statement in _POSTGRESQL if postgresql else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("The ledger has no way back: restore a backup that was taken before the upgrade.")
