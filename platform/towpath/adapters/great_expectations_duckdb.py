"""DuckDB as a data source of Great Expectations, which has none of its own. Importing this imports that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):  # type: ignore[misc]
    """Keeps one connection: DuckDB forgets a result, and every temporary object, when its connection is handed back."""

    _connection: Any

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        if not self._connection:
            self._connection = self.engine.connect()
        yield self._connection


class DuckDBDatasource(SQLDatasource):  # type: ignore[misc]
    """Defining it registers it: a context has `data_sources.add_duckdb`."""

    type: Literal["duckdb"] = "duckdb"

    @property
    def execution_engine_type(self) -> Any:
        return DuckDBExecutionEngine
