"""The tables, as queries see them. `migrations` creates them; a test holds the two to each other."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, Table, Text, text

RECORDS: Final = "towpath_records"
VERSION_TABLE: Final = "towpath_ledger_version"

metadata = MetaData()

records = Table(
    RECORDS,
    metadata,
    # SQLite's only 64-bit row number is called INTEGER.
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("previous", Text, unique=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("key", Text, unique=True),
    Column("digest", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("via", Text),
    Column("signer", Text),
    Column("signature", Text),
    # NULLs are unequal to a UNIQUE constraint: without this, two first records would pass it.
    CheckConstraint("sequence >= 1 AND (sequence = 1) = (previous IS NULL)", name="towpath_records_first"),
    Index("towpath_records_project", "project", "sequence"),
    Index("towpath_records_candidate", "candidate", "sequence"),
)

rollouts = Table(
    "towpath_rollouts",
    metadata,
    Column("rollout_id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("is_open", Integer, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("lease", Text),
    Column("body", Text, nullable=False),
    Index(
        "towpath_rollouts_open",
        "project",
        unique=True,
        sqlite_where=text("is_open = 1"),
        postgresql_where=text("is_open = 1"),
    ),
)

tokens = Table(
    "towpath_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("secret_sha256", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("grants", Text, nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("signer", Text),
    Column("signature", Text),
)

claims = Table(
    "towpath_claims",
    metadata,
    Column("claim", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("claimed_at", Text, nullable=False),
    Column("status", Integer),
    Column("answer", Text),
    Index("towpath_claims_age", "claimed_at"),
)
