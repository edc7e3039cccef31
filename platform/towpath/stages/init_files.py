"""The files of a drafted project: a plan and what was measured, put into the templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

from jinja2 import Environment, PackageLoader, StrictUndefined

from towpath.core import draft_split
from towpath.core.checks_sql import quoted
from towpath.core.draft import MOST_LOOKED_UP, Plan, Shape
from towpath.core.draft_columns import DraftColumn, Role
from towpath.core.draft_contract import properties
from towpath.core.draft_names import unused
from towpath.core.draft_split import Split
from towpath.core.profile import Value
from towpath.core.promises import LogicalType
from towpath.core.task import Task

CONTRACTS = "feature_repo/contracts"
_ESTIMATORS = {
    Task.BINARY: "HistGradientBoostingClassifier",
    Task.MULTICLASS: "HistGradientBoostingClassifier",
    Task.REGRESSION: "HistGradientBoostingRegressor",
}
ALL_ROWS = "all_rows"
# Columns that only the drafted SQL sees, beside the table's own.
_MADE = ("content_of_row", "is_held_out", "place_of_row", "number_of_row", "moment_of_row", "moment", "rows_then")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The charter's gates as lines of YAML, what was measured in sentences, and the fallback with what it is."""

    lines: Sequence[str]
    told: Sequence[str]
    fallback: str | None

    def followed_by(self, lines: Sequence[str]) -> Self:
        return replace(self, lines=[*self.lines, *lines])


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who the draft names until a person says who it is."""

    name: str
    email: str


def repository(plan: Plan, split: Split, *, owner: Owner, slices: Sequence[str]) -> dict[str, str]:
    """The feature repository's files, by their place in the project."""
    view = view_name(plan)
    rows_before, hours_between = _history(plan)
    given = {
        "plan": plan,
        "most_looked_up": MOST_LOOKED_UP,
        "split": split,
        "view": view,
        "entity": f"{plan.key.name}_entity" if plan.key else "",
        "service": service_name(plan),
        "email": owner.email,
        "row_id": row_id(plan),
        "slices": slices,
        "fields": _fields(plan),
        "texts": any(column.is_text for column in plan.looked_up),
        "about": _about(plan),
        "made": {name: unused(name, _columns(plan)) for name in _MADE},
        "rows_before": rows_before,
        "hours_between": hours_between,
        "told_apart": _told_apart(plan),
        "outcome": _outcome(plan),
        "finite": plan.target.task is Task.REGRESSION,
        "instant": f"CAST({quoted(plan.time.profile.name)} AS TIMESTAMPTZ)"
        if plan.time
        else f"to_timestamp({draft_split.FACTS_AT})",
        "facts_at": draft_split.FACTS_AT,
        "train_at": draft_split.TRAIN_AT,
        "holdout_at": draft_split.HOLDOUT_AT,
    }
    return {
        "feature_repo/feature_store.yaml": _rendered("feature_store.yaml", given),
        "feature_repo/definitions.py": _rendered("definitions.py", given),
        f"feature_repo/transforms/features/{view}.sql": _rendered("view.sql", given),
        "feature_repo/transforms/spine.sql": _rendered("spine.sql", given),
    }


def declarations(
    plan: Plan,
    split: Split,
    *,
    owner: Owner,
    uri: str,
    bounds: Bounds,
    sweep: Sequence[Mapping[str, Any]],
    min_rows: int,
) -> dict[str, str]:
    """Charter, contract and training code, by their place in the project."""
    given = {
        "plan": plan,
        "owner": owner.name,
        "email": owner.email,
        "uri": uri,
        "contract": contract_file(plan.asked.table),
        "service": service_name(plan),
        "row_id": row_id(plan),
        "purpose": _purpose(plan),
        "task_told": _task_told(plan),
        "span": draft_split.text(split.span),
        "holdout": draft_split.text(split.holdout),
        "watched": draft_split.text(split.holdout),
        "min_rows": min_rows,
        "sweep": [dict(params) for params in sweep],
        "bounds": bounds,
        "properties": properties(plan),
    }
    return {
        "charter.yaml": _rendered("charter.yaml", given),
        contract_file(plan.asked.table): _rendered("contract.odcs.yaml", given),
        "train.py": training_code(plan),
    }


def training_code(plan: Plan) -> str:
    return _rendered("train.py", {"estimator": _ESTIMATORS[plan.target.task]})


def contract_file(table: str) -> str:
    return f"{CONTRACTS}/{table}.odcs.yaml"


def service_name(plan: Plan) -> str:
    return f"{plan.asked.table}_service"


def row_id(plan: Plan) -> str:
    return plan.key.name if plan.key and plan.shape is not Shape.EVENTS else "row_id"


def view_name(plan: Plan) -> str:
    suffix = {Shape.ROWS: "table", Shape.FACTS: "facts", Shape.EVENTS: "history"}[plan.shape]
    return f"{plan.asked.table}_{suffix}"


def _about(plan: Plan) -> str:
    key = plan.key.profile.name if plan.key else ""
    return {
        Shape.ROWS: "What is true of every row.",
        Shape.FACTS: f"What is known of each {key}.",
        Shape.EVENTS: f"The history of each {key}.",
    }[plan.shape]


def _fields(plan: Plan) -> list[tuple[str, str, str]]:
    if plan.shape is Shape.ROWS:
        return [("schema_version", "Float64", "Version of what was agreed about the columns.")]
    if plan.shape is Shape.EVENTS:
        rows_before, hours_between = _history(plan)
        return [
            (rows_before, "Float64", "Rows of this key so far."),
            (hours_between, "Float64", "Hours between its newest row and the one before."),
        ]
    return [(one.name, "String" if one.is_text else "Float64", _described(one)) for one in plan.looked_up]


def _history(plan: Plan) -> tuple[str, str]:
    """What the history's two fields are called: as no column is."""
    prefix = plan.key.name if plan.key else "key"
    rows_before, hours_between = (
        unused(f"{prefix}_{wanted}", _columns(plan)) for wanted in ("rows_before", "hours_between")
    )
    return rows_before, hours_between


def _columns(plan: Plan) -> list[str]:
    """What the columns are called, as delivered and as features."""
    return [name for column in plan.columns for name in (column.profile.name, column.name)]


def _described(column: DraftColumn) -> str:
    return f"Column {column.profile.name}" + (f": {column.why}." if column.why else ".")


def _told_apart(plan: Plan) -> list[str]:
    named = [plan.key, plan.time] if plan.time else []
    return [column.profile.name for column in (*named, *plan.inputs) if column is not None]


def _outcome(plan: Plan) -> str:
    column = quoted(plan.target.column)
    if plan.target.task is Task.BINARY:
        assert plan.target.positive is not None
        return f"CAST({column} = {_literal(plan.target.positive)} AS BIGINT)"
    if plan.target.task is Task.REGRESSION:
        return f"CAST({column} AS DOUBLE)"
    return f"CAST({column} AS {'VARCHAR' if plan.target.in_words else 'BIGINT'})"


def _purpose(plan: Plan) -> str:
    if plan.target.positive is not None:
        return f"Tell whether {plan.target.column} will be {plan.target.positive}."
    if plan.target.task is Task.MULTICLASS:
        return f"Tell which of {len(plan.target.classes)} classes {plan.target.column} will be."
    return f"Tell what {plan.target.column} will be."


def _task_told(plan: Plan) -> str:
    """What a person must look at where whole numbers could be either classes or an amount."""
    target = next(column.profile for column in plan.columns if column.role is Role.TARGET)
    if target.kind is not LogicalType.INTEGER:
        return ""
    if plan.target.task is Task.MULTICLASS:
        return " # DECIDE: few whole numbers are taken for classes; if they are an amount, make it a regression"
    return " # DECIDE: these whole numbers are taken for an amount; if they are classes, make it multiclass"


def _expression(column: DraftColumn) -> str:
    """A column as a feature: numbers as DOUBLE, without what is no finite number."""
    name = quoted(column.profile.name)
    if column.role is Role.CATEGORY:
        return name
    if column.role is Role.MOMENT:
        if column.profile.kind is LogicalType.TIME:
            return f"epoch(CAST({name} AS TIME)) / 3600.0"
        return f"epoch(CAST({name} AS TIMESTAMP)) / 86400.0"
    cast = f"TRY_CAST({name} AS DOUBLE)"
    if column.role is Role.MIXED or column.profile.infinite:
        return f"CASE WHEN isfinite({cast}) THEN {cast} END"
    return f"CAST({name} AS DOUBLE)"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else "'" + value.replace("'", "''") + "'"


def _line(text: object) -> str:
    """Text as part of one line: of a comment."""
    return "".join(char if char.isprintable() else " " for char in str(text))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("towpath.stages", "templates/init"),
        autoescape=False,  # noqa: S701  what is written is YAML, SQL and Python, each quoted by its own filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "yaml": lambda value: json.dumps(value, ensure_ascii=False),  # JSON is YAML
        "name": quoted,
        "expression": _expression,
        "literal": json.dumps,
        "line": _line,
    }
    environment.filters |= filters
    return environment


def _rendered(name: str, given: Mapping[str, Any]) -> str:
    return _environment().get_template(f"{name}.j2").render(given)
