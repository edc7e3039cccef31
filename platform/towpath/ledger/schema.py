"""The versions of the ledger's schema, applied by Alembic without a configuration file.

Each version is a file in `migrations/versions`. Upgrading is one transaction under the lock that writers take, so that
processes which open an empty database at once migrate it once.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from towpath.core.errors import Misconfigured
from towpath.ledger.engine import Database
from towpath.ledger.table import VERSION_TABLE

MIGRATIONS: Final = Path(__file__).parent / "migrations"

# Alembic's `op` is one per process.
_ONE_AT_A_TIME = threading.Lock()


def upgrade(database: Database) -> None:
    """Bring the database to the newest version; does nothing when it is there.

    Raises `Misconfigured` for a version that this code does not know, and for an encoding that cannot hold every text.
    """
    with database.reading() as connection:
        _require_utf8(connection)
        if _is_current(connection):
            return
    with _ONE_AT_A_TIME, database.writing() as connection:
        if not _is_current(connection):
            _migrate(connection)


@cache  # the scripts are part of this version, and a process opens ledgers again and again
def _versions() -> tuple[frozenset[str], frozenset[str]]:
    """Every version that this code knows, and the newest."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return frozenset(script.revision for script in scripts.walk_revisions()), frozenset(scripts.get_heads())


def _is_current(connection: Connection) -> bool:
    heads = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
    known, newest = _versions()
    if unknown := sorted(set(heads) - known):
        raise Misconfigured(
            f"The ledger's schema has version {', '.join(unknown)}, which this version of Towpath does not know.",
            value=unknown[0],
            valid=sorted(known),
            hint="A newer Towpath wrote it: upgrade this one, or open a ledger of its own.",
        )
    return set(heads) == newest


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _require_utf8(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise Misconfigured(
            f"The database's encoding is {encoding}, which cannot hold every record.",
            value=encoding,
            valid=["UTF8"],
            hint="Create one with `CREATE DATABASE towpath ENCODING 'UTF8' TEMPLATE template0`.",
        )
