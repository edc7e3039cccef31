"""Run by Alembic: applies the versions on the connection, and in the transaction, that `schema.upgrade` gives it."""

from __future__ import annotations

from alembic import context

from towpath.ledger.table import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
