"""The table of records, and the triggers that let it only grow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_CHANGED = "towpath: the ledger is append-only, a record is never changed; append a new one instead"
_REMOVED = "towpath: the ledger is append-only, a record is never removed"
_ELSEWHERE = "towpath: a record is appended behind the last one (its sequence plus one, its hash) and only once"

# INSERT OR REPLACE removes rows without asking a DELETE trigger, so a record that is there must be refused before.
_SQLITE = (
    f"""
    CREATE TRIGGER towpath_records_update BEFORE UPDATE ON towpath_records
    BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END
    """,
    f"""
    CREATE TRIGGER towpath_records_delete BEFORE DELETE ON towpath_records
    BEGIN SELECT RAISE(ABORT, '{_REMOVED}'); END
    """,
    f"""
    CREATE TRIGGER towpath_records_insert BEFORE INSERT ON towpath_records
    WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM towpath_records)
      OR NEW.previous IS NOT (SELECT hash FROM towpath_records ORDER BY sequence DESC LIMIT 1)
      OR EXISTS (SELECT 1 FROM towpath_records WHERE hash = NEW.hash OR key = NEW.key)
    BEGIN SELECT RAISE(ABORT, '{_ELSEWHERE}'); END
    """,
)

_FUNCTIONS = (
    f"""
    CREATE FUNCTION towpath_records_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            RAISE EXCEPTION '{_CHANGED}' USING ERRCODE = 'restrict_violation';
        END IF;
        RAISE EXCEPTION '{_REMOVED}' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    f"""
    CREATE FUNCTION towpath_records_follow() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        last record;
    BEGIN
        EXECUTE format(
            'SELECT sequence, hash FROM %I.%I ORDER BY sequence DESC LIMIT 1', TG_TABLE_SCHEMA, TG_TABLE_NAME
        ) INTO last;
        IF NEW.sequence IS DISTINCT FROM coalesce(last.sequence, 0) + 1 OR NEW.previous IS DISTINCT FROM last.hash THEN
            RAISE EXCEPTION '{_ELSEWHERE}' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
)
_TRIGGERS = {
    "towpath_records_update": "BEFORE UPDATE ON towpath_records FOR EACH STATEMENT",
    "towpath_records_delete": "BEFORE DELETE ON towpath_records FOR EACH STATEMENT",
    "towpath_records_truncate": "BEFORE TRUNCATE ON towpath_records FOR EACH STATEMENT",
    "towpath_records_insert": "BEFORE INSERT ON towpath_records FOR EACH ROW",
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "towpath_records",
        sa.Column("sequence", sa.BigInteger() if postgresql else sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("previous", sa.Text(), unique=True),
        sa.Column("hash", sa.Text(), nullable=False, unique=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("candidate", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), unique=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("sequence >= 1 AND (sequence = 1) = (previous IS NULL)", name="towpath_records_first"),
    )
    op.create_index("towpath_records_project", "towpath_records", ["project", "sequence"])
    op.create_index("towpath_records_candidate", "towpath_records", ["candidate", "sequence"])
    if not postgresql:
        for statement in _SQLITE:
            op.execute(statement)
        return
    for statement in _FUNCTIONS:
        op.execute(statement)
    for name, when in _TRIGGERS.items():
        function = "towpath_records_follow" if "INSERT" in when else "towpath_records_refuse"
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION {function}()")
        # Else a session in the role of a replica would pass them by.
        op.execute(f"ALTER TABLE towpath_records ENABLE ALWAYS TRIGGER {name}")


def downgrade() -> None:
    raise NotImplementedError("The ledger has no way back: restore a backup that was taken before the upgrade.")
