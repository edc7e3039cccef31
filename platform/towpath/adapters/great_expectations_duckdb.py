"""The data sources of Great Expectations that checks run in; of DuckDB it has none. Importing this imports that."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from great_expectations.datasource.fluent import PostgresDatasource, SQLDatasource

from towpath.adapters.great_expectations_counts import NamedRows


class DuckDBExecutionEngine(NamedRows):
    """Keeps one connection: DuckDB forgets a result, and every temporary object, when its connection is handed back."""

    _connection: Any

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        if not self._connection:
            self._connection = self.engine.connect()
        try:
            yield self._connection
        except Exception:
            self._connection.rollback()  # else DuckDB refuses every query behind the one that failed
            raise


class DuckDBDatasource(SQLDatasource):  # type: ignore[misc]
    """Defining it registers it: a context has `data_sources.add_duckdb`."""

    type: Literal["duckdb"] = "duckdb"

    @property
    def execution_engine_type(self) -> Any:
        return DuckDBExecutionEngine


class CheckedPostgresDatasource(PostgresDatasource):  # type: ignore[misc]
    """A context has `data_sources.add_checked_postgres`: PostgreSQL with the rows under their name."""

    type: Literal["checked_postgres"] = "checked_postgres"

    @property
    def execution_engine_type(self) -> Any:
        return NamedRows


@atexit.register
def _forget_duckdb() -> None:
    """Empty the modules of duckdb-engine at exit.

    SQLAlchemy and Great Expectations outlive duckdb-engine and keep some of its functions, and these DuckDB's types; of
    that DuckDB would complain on the terminal, in twenty lines.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "duckdb_engine":
            vars(module).clear()
