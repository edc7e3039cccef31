"""The URL of an SQL table, and what a database's refusals mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from towpath.adapters.sources_files import QuotingRows, near
from towpath.core.errors import BadInput, Misconfigured, TowpathError, Unreachable

_FORM = "Write sqlite:///file.db#table or postgresql://user:password@host:port/database#schema.table."
_CONNECT_SECONDS = 5
_REFUSED = (
    "password",
    "authentication",
    "role",
    "pg_hba",
    "no such user",
    "does not exist",
    "permission denied",
    "SSL",
)


@dataclass(frozen=True, kw_only=True)
class SqlSource:
    """A table's place. `database` and `name` are for people and hold no password."""

    url: sa.URL = field(repr=False)
    table: str
    database: str
    is_sqlite: bool
    driver_errors: type[Exception]

    @property
    def name(self) -> str:
        return f"{self.database}#{self.table}"

    @property
    def connect_args(self) -> dict[str, Any]:
        return {} if self.is_sqlite else {"connect_timeout": _CONNECT_SECONDS}


def parse(uri: str, base: Path) -> SqlSource:
    """Read `url#table`; SQLite files are relative to `base` and must exist. Raises `BadInput`."""
    text, _, table = uri.partition("#")
    scheme = text.partition("://")[0]
    try:
        url = sa.make_url(text.replace("postgres://", "postgresql://", 1) if scheme == "postgres" else text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise BadInput(f"A source's URL ({scheme}://…) cannot be read as one.", value=scheme, hint=_FORM) from error
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(url, table, base)
        case "postgresql":
            return _postgresql(url, table)
    raise BadInput(
        f"Sources of the kind {scheme}:// are not read.",
        value=scheme,
        valid=("a file, folder or glob", "s3://", "sqlite:///", "postgresql://"),
        hint=_FORM,
    )


def _sqlite(url: sa.URL, table: str, base: Path) -> SqlSource:
    import sqlite3

    path = base / (url.database or "")
    if not url.database or not path.is_file():
        alike = near(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else []
        meant = f" Did you mean {' or '.join(alike)}?" if alike else ""
        raise BadInput(
            f"There is no SQLite file {url.database!r} in {base}.{meant}",
            value=url.database,
            hint=f"Paths are relative to {base}. {_FORM}",
        )
    read_only = sa.URL.create("sqlite+pysqlite", database=path.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
    return SqlSource(
        url=read_only, table=table, database=f"sqlite:///{url.database}", is_sqlite=True, driver_errors=sqlite3.Error
    )


def _postgresql(url: sa.URL, table: str) -> SqlSource:
    import psycopg

    shown = sa.URL.create("postgresql", host=url.host, port=url.port, database=url.database)
    return SqlSource(
        url=url.set(drivername="postgresql+psycopg"),
        table=table,
        database=shown.render_as_string(),
        is_sqlite=False,
        driver_errors=psycopg.Error,
    )


def database_error(source: SqlSource, error: Exception) -> TowpathError:
    """What a database's error means: `Misconfigured`, `Unreachable` or `BadInput`."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    text = str(cause).strip().replace("\n", " ")
    if source.is_sqlite:
        return _sqlite_error(source, text)
    state = getattr(cause, "sqlstate", None)
    # A failed connection has no state: only the text tells a refusal from silence.
    lost = state is None or state.startswith(("08", "53", "57P", "40"))
    if state in {"28000", "28P01", "3D000", "42501"} or (state is None and any(word in text for word in _REFUSED)):
        return Misconfigured(
            f"{source.database} refuses: {text}.",
            value=source.database,
            hint="Check user, password, database name and the right to read the table.",
        )
    if lost and isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)):
        return Unreachable(
            f"{source.database} does not answer: {text}.",
            value=source.database,
            hint="Check that the server runs and that host and port are right, then try again.",
        )
    return QuotingRows(
        f"{source.name} cannot be read: {text}.", value=source.name, hint="Mend the table or read a view of it."
    )


def _sqlite_error(source: SqlSource, text: str) -> TowpathError:
    if "locked" in text or "busy" in text:
        return Unreachable(
            f"{source.database} is locked by a writer.", value=source.database, hint="Try again when it is done."
        )
    return QuotingRows(
        f"{source.database} cannot be read: {text}.",
        value=source.database,
        hint="Check that it is a whole SQLite database and that this user may read it.",
    )
