"""Expectations that Great Expectations lacks, and its own without lists of values. Importing this imports that.

All of them are aggregates of a table, which its execution engine asks for in one query (it bundles metrics): a table
is read once for as many checks as a contract has. The rows stand under the name `checked`, which predicates use.
"""

from __future__ import annotations

from typing import Any

import great_expectations.expectations as gxe
import sqlalchemy as sa
from great_expectations.compatibility.pydantic import PrivateAttr
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation, Expectation
from great_expectations.expectations.metrics.metric_provider import metric_partial
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from towpath.core.checks_sql import ROW

_METRIC = "towpath.count"


class NamedRows(SqlAlchemyExecutionEngine):  # type: ignore[misc]
    """An execution engine that names the rows of a table, so that conditions of sub-queries can speak of them."""

    def get_domain_records(self, domain_kwargs: dict[str, Any]) -> Any:
        records = super().get_domain_records(domain_kwargs)
        return records.alias(ROW) if isinstance(records, sa.FromClause) else records.subquery(ROW)


class Count(TableMetricProvider):  # type: ignore[misc]
    """A number: an SQL aggregate over the rows, or a scalar sub-query."""

    metric_name = _METRIC
    value_keys = ("count_sql",)

    @metric_partial(  # type: ignore[untyped-decorator]
        engine=SqlAlchemyExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _sqlalchemy(
        cls,  # noqa: N805 (Great Expectations calls it with the class)
        execution_engine: Any,  # noqa: ARG002 - the signature of Great Expectations
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> Any:
        # With an aggregate beside it a sub-query is asked once; without, it would be repeated for each row.
        count = f"{metric_value_kwargs['count_sql']} + 0 * count(*)"
        return sa.literal_column(count), metric_domain_kwargs, {}


class _Once(Expectation):  # type: ignore[misc]
    """Makes its configuration once: Great Expectations asks each expectation for it some sixty times."""

    _made: Any = PrivateAttr(default=None)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "_made":
            self._made = None

    @property
    def configuration(self) -> Any:
        if self._made is None:
            self._made = super().configuration
        return self._made


class ExpectNoneToFail(_Once, BatchExpectation):  # type: ignore[misc]
    """That a count of what fails (rows by a predicate, copies of keys, references without a row) is 0."""

    count_sql: str
    metric_dependencies = (_METRIC,)
    success_keys = ("count_sql",)

    def _validate(self, metrics: dict[str, Any], **_: Any) -> Any:
        found = int(metrics[_METRIC])
        return {"success": found == 0, "result": {"observed_value": found}}


class _Counted(_Once):
    """Counts and no more: the list of failing values would cost a query for each column."""

    def get_validation_dependencies(self, *args: Any, **named: Any) -> Any:
        asked = super().get_validation_dependencies(*args, **named)
        for name in list(asked.metric_configurations):
            if name.endswith(".unexpected_values"):
                asked.remove_metric_configuration(name)
        return asked


class ExpectFilledCounted(_Counted, gxe.ExpectColumnValuesToNotBeNull):  # type: ignore[misc]
    """Its own expectation for nulls."""


class ExpectBetweenCounted(_Counted, gxe.ExpectColumnValuesToBeBetween):  # type: ignore[misc]
    """Its own expectation for ranges."""


class ExpectLengthsCounted(_Counted, gxe.ExpectColumnValueLengthsToBeBetween):  # type: ignore[misc]
    """Its own expectation for lengths."""


class ExpectListedCounted(_Counted, gxe.ExpectColumnValuesToBeInSet):  # type: ignore[misc]
    """Its own expectation for sets of values."""
