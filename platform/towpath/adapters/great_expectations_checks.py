"""Data checks by Great Expectations: contracts compiled into its suites, run where the rows lie, in findings of ours.

Great Expectations counts the rows that fail; the rows themselves are found and set aside by our own SQL predicate, in
DuckDB over the files. The two counts are compared: where they differ the finding is an ERROR. Only where our own
predicate was counted in DuckDB already, and no row fails, is it not counted there again.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from towpath import telemetry
from towpath.adapters.great_expectations_engines import DuckDB, Engine, Opened, table_files
from towpath.adapters.great_expectations_page import Sample, write_page
from towpath.adapters.great_expectations_rows import Rows
from towpath.adapters.great_expectations_spark_suite import SparkCompiler
from towpath.adapters.great_expectations_suite import NUMBER, Compiler, counts
from towpath.core.checks import OF_ROWS, Check, Kind, checks_of
from towpath.core.checks_schema import judge_columns, unasked
from towpath.core.checks_sql import Dialect, Predicates, quoted
from towpath.core.checks_verdict import Observed, in_order, judge
from towpath.core.errors import BadInput
from towpath.core.evidence import Finding
from towpath.core.promises import Contract, Table
from towpath.ports import CheckReport, TableChecked

_SAMPLE = 8
# Counts only: the values of failing rows are in the quarantine, not in a report that travels.
_RESULT = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True, kw_only=True)
class GreatExpectationsChecks:
    """`DataChecks` by Great Expectations, on the files (DuckDB, Spark) or on the same tables in PostgreSQL."""

    engine: Engine = field(default_factory=DuckDB)

    def run(
        self, tables: Mapping[str, Path], contracts: Sequence[Contract], *, as_of: datetime, folder: Path
    ) -> CheckReport:
        """Check the Parquet files named by table; write accepted and quarantined rows and the reports into `folder`.

        Raises `BadInput` for a table without a contract, `Problems` for contracts that contradict each other, and
        `Unreachable` for a database that does not answer. What is wrong with the data is a finding.
        """
        by_table = _by_table(contracts)
        if strange := sorted(set(tables) - set(by_table)):
            raise BadInput(f"No contract speaks of table {strange[0]!r}.", value=strange[0], valid=sorted(by_table))
        if as_of.tzinfo is None:
            raise BadInput("The as-of time has no time zone.", value=as_of.isoformat(), hint="Give it in UTC.")
        folder.mkdir(parents=True, exist_ok=True)
        checks = dict(enumerate(check for contract in contracts for check in checks_of(contract)))
        with tempfile.TemporaryDirectory(dir=folder) as scratch, ExitStack() as stack:
            # A folder each: DuckDBs that share one write over each other's files.
            rows = Rows(table_files(tables), scratch=Path(scratch) / "rows")
            stack.callback(rows.close)
            opened = stack.enter_context(self._opened(tables, scratch=Path(scratch) / "engine"))
            seen = _unasked(checks, opened, by_table)
            raw, counted, faults = self._validate(opened, checks, seen, rows, by_table, as_of)
            for name, asked in _by_its_table(checks, seen, opened).items():
                none = {number for number, check in asked.items() if counted.get(number) == 0 and self._ours(check)}
                seen |= rows.observe(asked, by_table[name], none=none)
            findings: list[Finding] = []
            for number, check in checks.items():
                if check.kind is Kind.COLUMNS:
                    found = opened.columns.get(check.table)
                    findings += judge_columns(check, by_table[check.table], found, counted=counted.get(number))
                else:
                    fault = seen[number].fault or faults.get(number, "")
                    result = replace(seen[number], counted=counted.get(number), fault=fault)
                    findings.append(judge(check, result, as_of=as_of))
            split = {
                table: rows.split(
                    table, {n: check for n, check in checks.items() if check.table == table}, seen, folder=folder
                )
                for table in tables
            }
            ordered = in_order(findings)
            samples = {name: _sample(rows, by_table[name], one) for name, one in split.items() if one.quarantine}
        page = write_page(folder / "checks.html", contracts, ordered, split, samples, as_of=as_of)
        file = folder / "great_expectations.json"
        file.write_text(json.dumps(raw, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
        return CheckReport(findings=ordered, tables=split, page=page, raw=file)

    def _validate(
        self,
        opened: Opened,
        checks: Mapping[int, Check],
        seen: dict[int, Observed],
        rows: Rows,
        tables: Mapping[str, Table],
        as_of: datetime,
    ) -> tuple[dict[str, Any], dict[int, int], dict[int, str]]:
        """One suite and one validation a table: the engine's results, its counts and what it raised, by check.

        What our own reading sees is added to `seen` for tables of which something cannot be asked.
        """
        predicates = Predicates(dialect=self.engine.dialect, relations={name: quoted(name) for name in opened.columns})
        compiling = SparkCompiler if self.engine.dialect is Dialect.SPARK else Compiler
        compiler = compiling(self.engine, predicates, as_of=as_of)
        raw: dict[str, Any] = {}
        results: list[Any] = []
        unspoken: dict[int, str] = {}
        for name, found in opened.columns.items():
            expectations: list[Any] = []
            for number, check in checks.items():
                if check.table == name and not (number in seen and seen[number].unasked):
                    try:
                        expectations += compiler.expectations(number, check, tables[name], found)
                    except BadInput as error:
                        unspoken[number] = str(error)
            batch = opened.batch(name)
            validation = _validated(batch, name, expectations)
            if len(counts(validation.results)[1]) > 1:
                # They share a query, which fails as a whole: again without those that cannot be asked of the files.
                seen |= rows.observe(_by_its_table(checks, seen, opened)[name], tables[name])
                faulty = {number for number, one in seen.items() if one.fault}
                expectations = [one for one in expectations if one.meta[NUMBER] not in faulty]
                validation = _validated(batch, name, expectations)
                if len(counts(validation.results)[1]) > 1:
                    _each_alone(validation, batch, name, expectations)
            results += validation.results
            raw[name] = validation.to_json_dict()
        counted, faults = counts(results)
        return raw, counted, faults | unspoken

    def _ours(self, check: Check) -> bool:
        """Whether Great Expectations counts by our own predicate, in the engine that we would ask it of again."""
        return self.engine.dialect is Dialect.DUCKDB and check.kind in OF_ROWS and not Compiler.has_its_own(check)

    @contextmanager
    def _opened(self, tables: Mapping[str, Path], *, scratch: Path) -> Iterator[Opened]:
        """The engine under Great Expectations, which keeps nothing on disk, shows no progress and phones nobody."""
        telemetry.silence()
        with warnings.catch_warnings():
            # It imports modules of the standard library that are deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            import great_expectations as gx

            import towpath.adapters.great_expectations_duckdb  # noqa: F401 (registers the data source)

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        with self.engine.opened(context, tables, scratch=scratch) as opened:
            yield opened


def _validated(batch: Any, name: str, expectations: Sequence[Any]) -> Any:
    import great_expectations as gx

    return batch.validate(gx.ExpectationSuite(name=name, expectations=expectations), result_format=_RESULT)


def _each_alone(validation: Any, batch: Any, name: str, expectations: Sequence[Any]) -> None:
    """Put the results of a suite asked one by one in place of those of the whole, so that the one at fault is named."""
    from great_expectations.validator.validation_statistics import calc_validation_statistics

    validation.results = [result for one in expectations for result in _validated(batch, name, [one]).results]
    statistics = calc_validation_statistics(validation.results)._asdict()
    validation.success = statistics.pop("success")
    validation.statistics = statistics


def _unasked(checks: Mapping[int, Check], opened: Opened, tables: Mapping[str, Table]) -> dict[int, Observed]:
    """The checks that cannot be asked, with the reason, and those of columns, which are not of rows."""
    return {
        number: Observed(unasked=reason)
        for number, check in checks.items()
        for reason in [unasked(check, tables, opened.columns)]
        if reason or check.kind is Kind.COLUMNS
    }


def _by_its_table(
    checks: Mapping[int, Check], seen: Mapping[int, Observed], opened: Opened
) -> dict[str, dict[int, Check]]:
    """By table, the checks that our own reading has not yet answered."""
    return {
        name: {number: check for number, check in checks.items() if check.table == name and number not in seen}
        for name in opened.columns
    }


def _by_table(contracts: Sequence[Contract]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for contract in contracts:
        for name, table in contract.tables.items():
            if name in tables:
                raise BadInput(f"Two contracts speak of table {name!r}.", value=name, hint="Keep one of them.")
            tables[name] = table
    return tables


def _sample(rows: Rows, table: Table, checked: TableChecked) -> Sample:
    """The first quarantined rows for the page; values that are not for everyone, or that no contract speaks of, are
    withheld."""
    assert checked.quarantine is not None
    shown = [column.name for column in table.columns.values() if column.shown]
    names, values = rows.sample(checked.quarantine, shown, rows=_SAMPLE)
    return Sample(columns=tuple(names), rows=tuple(tuple(row) for row in values))
