"""The table of rollouts: one row each, at most one of a project open, generations that only grow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BACKWARDS = "towpath: a rollout moves on by one generation, and not at all once it has ended"
_REMOVED = "towpath: a rollout is never removed"

_SQLITE = (
    f"""
    CREATE TRIGGER towpath_rollouts_update BEFORE UPDATE ON towpath_rollouts
    WHEN OLD.is_open = 0 OR NEW.rollout_id IS NOT OLD.rollout_id OR NEW.project IS NOT OLD.project
      OR (NEW.generation IS NOT OLD.generation AND NEW.generation IS NOT OLD.generation + 1)
      OR (NEW.generation = OLD.generation AND (NEW.body IS NOT OLD.body OR NEW.is_open IS NOT OLD.is_open))
    BEGIN SELECT RAISE(ABORT, '{_BACKWARDS}'); END
    """,
    f"""
    CREATE TRIGGER towpath_rollouts_delete BEFORE DELETE ON towpath_rollouts
    BEGIN SELECT RAISE(ABORT, '{_REMOVED}'); END
    """,
)
_POSTGRESQL = (
    f"""
    CREATE FUNCTION towpath_rollouts_follow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            RAISE EXCEPTION '{_REMOVED}' USING ERRCODE = 'restrict_violation';
        END IF;
        IF OLD.is_open = 0 OR NEW.rollout_id <> OLD.rollout_id OR NEW.project <> OLD.project
            OR (NEW.generation <> OLD.generation AND NEW.generation <> OLD.generation + 1)
            OR (NEW.generation = OLD.generation AND (NEW.body <> OLD.body OR NEW.is_open <> OLD.is_open)) THEN
            RAISE EXCEPTION '{_BACKWARDS}' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER towpath_rollouts_follow BEFORE UPDATE OR DELETE ON towpath_rollouts
    FOR EACH ROW EXECUTE FUNCTION towpath_rollouts_follow()
    """,
    "ALTER TABLE towpath_rollouts ENABLE ALWAYS TRIGGER towpath_rollouts_follow",
)


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "towpath_rollouts",
        sa.Column("rollout_id", sa.Text(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("lease", sa.Text()),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index(
        "towpath_rollouts_open",
        "towpath_rollouts",
        ["project"],
        unique=True,
        sqlite_where=sa.text("is_open = 1"),
        postgresql_where=sa.text("is_open = 1"),
    )
    for statement in _POSTGRESQL if postgresql else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("The ledger has no way back: restore a backup that was taken before the upgrade.")
