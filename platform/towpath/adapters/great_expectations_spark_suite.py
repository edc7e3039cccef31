"""Checks compiled into expectations for Spark: the same suite, its queries translated into Spark's SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towpath.adapters.great_expectations_spark import UNSIGNED, ZONED
from towpath.adapters.great_expectations_suite import Compiler
from towpath.core.checks_schema import Found
from towpath.core.errors import BadInput
from towpath.core.promises import Column, LogicalType, Table

_WIDER = {LogicalType.NUMBER: (LogicalType.INTEGER,), LogicalType.TIMESTAMP: (LogicalType.DATE,)}


class SparkCompiler(Compiler):
    """Compiles checks for Spark, which has no catalogue of columns to ask and writes SQL its own way.

    Raises `BadInput` for a rule that cannot be translated.
    """

    def _columns(self, table: Table, found: Mapping[str, Found]) -> list[Any]:
        from towpath.adapters.great_expectations_spark_expectations import ExpectColumnsAsPromised

        promised = {name: self._natives(column, found.get(name)) for name, column in table.columns.items()}
        return [ExpectColumnsAsPromised(promised=promised)]

    def _natives(self, column: Column, found: Found | None) -> list[str]:
        """The names of Spark's types that the contract allows; none where every type is right."""
        if found is None or found.empty:
            return []
        kind = column.logical_type
        natives = frozenset().union(*(self._engine.types[one] for one in (kind, *_WIDER.get(kind, ()))))
        if column.timezone is not None and kind is LogicalType.TIMESTAMP:
            natives -= self._engine.types[kind] - {ZONED} if column.timezone else {ZONED}
        if found.native == UNSIGNED and UNSIGNED in natives:
            natives |= {"decimal"}
        return sorted(natives)

    def _by_query(self, query: str) -> Any:
        # sqlglot knows how each dialect writes names, constants, times with and without a zone, and functions.
        import sqlglot

        from towpath.adapters.great_expectations_spark_expectations import ExpectNoRows

        try:
            (spoken,) = sqlglot.transpile(
                query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
            )
        except sqlglot.errors.SqlglotError as error:
            reason = str(error).strip().splitlines()[0]
            raise BadInput(f"There is no translation into Spark's SQL: {reason}", value=query) from error
        escaped = spoken.replace("{", "{{").replace("}", "}}")
        # The relation is named in full; Great Expectations wants its placeholder somewhere in the text.
        return ExpectNoRows(unexpected_rows_query=f"{escaped} /* {{batch}} */")
