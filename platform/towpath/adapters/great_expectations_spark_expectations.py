"""Expectations of ours for Great Expectations on Spark. Importing this imports Great Expectations."""

from __future__ import annotations

from typing import Any, ClassVar

from great_expectations.expectations.core import UnexpectedRowsExpectation
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.validator.metric_configuration import MetricConfiguration

_TYPES = "table.column_types"
_COUNT = "unexpected_rows_query.row_count"


class ExpectNoRows(UnexpectedRowsExpectation):  # type: ignore[misc]
    """Expect a query to find no row. The observed value is the number of rows.

    Its own asks Spark a second time, for the rows themselves, which no report of ours carries.
    """

    metric_dependencies: ClassVar[tuple[str, ...]] = (_COUNT,)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002 - the signature of Great Expectations
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        return {"success": metrics[_COUNT] == 0, "result": {"observed_value": metrics[_COUNT]}}


class ExpectColumnsAsPromised(BatchExpectation):  # type: ignore[misc]
    """Expect the columns `promised` and no others, each of one of its types (Spark's bare names); none listed: of any.

    The observed value is the number of columns that are missing, extra or of another type. Its own would count the
    fields inside a column as columns too.
    """

    promised: dict[str, list[str]]

    metric_dependencies: ClassVar[tuple[str, ...]] = (_TYPES,)
    success_keys: ClassVar[tuple[str, ...]] = ("promised",)

    def get_validation_dependencies(self, execution_engine: Any = None, runtime_configuration: Any = None) -> Any:
        found = super().get_validation_dependencies(execution_engine, runtime_configuration)
        asked = MetricConfiguration(
            metric_name=_TYPES,
            metric_domain_kwargs=found.get_metric_configuration(_TYPES).metric_domain_kwargs,
            metric_value_kwargs={"include_nested": False},
        )
        found.set_metric_configuration(metric_name=_TYPES, metric_configuration=asked)
        return found

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002 - the signature of Great Expectations
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        types = {column["name"]: column["type"].typeName().partition("(")[0] for column in metrics[_TYPES]}
        details = {
            "missing": sorted(set(self.promised) - set(types)),
            "extra": sorted(set(types) - set(self.promised)),
            "of_another_type": sorted(
                name
                for name, natives in self.promised.items()
                if natives and name in types and types[name] not in natives
            ),
        }
        count = sum(len(names) for names in details.values())
        return {"success": not count, "result": {"observed_value": count, "details": details}}
