"""Data contracts: the Open Data Contract Standard (v3.0 to v3.2) read into `Contract` values.

Only what is checked is read; a promise that Towpath cannot check is refused, never passed over. Beside the standard's
own words these custom properties are read:

- `knownAt`, of a property or of a schema object (then for all its properties): the column that says when the value
  became known;
- `removalDate`, of a deprecated property: the day from which it may be gone (`towpath.core.contract_deprecation`);
- `mask`, of a property: what its values become before they are stored (`towpath.core.contract_masks`);
- on a relationship an operator such as `mustBeLessThan` with `unit` (rows, percent): how many references may find no
  row;
- `sloObjective` and `sloWindow` of a freshness or latency promise: how often it is to hold
  (`towpath.core.contract_levels`);
- `severity` of a relationship or freshness promise, `quarantine` of a quality rule or relationship (true or false).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from open_data_contract_standard.model import (
    OpenDataContractStandard,
    Relationship,
    SchemaObject,
    SchemaProperty,
    ServiceLevelAgreementProperty,
)

from towpath.core import contract_levels, contract_masks, odcs
from towpath.core import digest as digests
from towpath.core.contract_deprecation import REMOVAL_DATE, removal_date
from towpath.core.contract_limits import limits
from towpath.core.contract_rules import bound, quarantine, rule, severity
from towpath.core.errors import DeclarationError
from towpath.core.odcs import Notes
from towpath.core.promises import (
    Bound,
    Column,
    Contract,
    Freshness,
    Limits,
    LogicalType,
    Metric,
    Operator,
    Reference,
    Rule,
    Table,
    Unit,
    check_references,
)

__all__ = [
    "Bound",
    "Column",
    "Contract",
    "Freshness",
    "Limits",
    "LogicalType",
    "Metric",
    "Operator",
    "Reference",
    "Rule",
    "Table",
    "Unit",
    "check_references",
    "parse",
]

_STATUSES = ("proposed", "draft", "active", "deprecated", "retired")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_RESERVED = "_reasons"
_HOURS = {
    **dict.fromkeys(("h", "hr", "hour", "hours"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 1 / 60),
    **dict.fromkeys(("d", "day", "days"), 24.0),
    **dict.fromkeys(("w", "week", "weeks"), 24.0 * 7),
    **dict.fromkeys(("y", "yr", "year", "years"), 24.0 * 365),
}


def parse(document: object, *, origin: str) -> Contract:
    """A contract from parsed YAML. Raises `Problems` with every error at once: where, which value, what is valid."""
    plain = odcs.plain(document)
    standard = odcs.load(plain, origin=origin)
    notes = Notes(origin=origin)
    _header(standard, notes)
    tables = {table.name: table for item in standard.schema_ or [] if (table := _table(item, notes))}
    if not tables:
        notes.refuse("schema", "no table; a contract describes at least one.")
    tables = _with_freshness(tables, standard, notes)
    tables = contract_levels.with_latency(tables, standard, notes, hours=_HOURS)
    contract_masks.clocks(tables, notes)
    owner = _owner(standard, notes)
    notes.raise_any()
    return Contract(
        id=standard.id or "",
        version=standard.version or "",
        status=standard.status or "",
        owner=owner,
        tables=tables,
        digest=_digest(plain, origin),
        name=standard.name or "",
        description=(standard.description.purpose or "") if standard.description else "",
        origin=origin,
    )


def _digest(plain: Any, origin: str) -> str:
    try:
        return digests.of_json(plain)
    except ValueError as error:
        raise DeclarationError(
            f"{origin} holds a number that JSON does not: {error}.",
            hint="Leave out infinity, what is no number (.inf, .nan) and whole numbers beyond 2**53.",
        ) from error


def _header(standard: OpenDataContractStandard, notes: Notes) -> None:
    for key in ("id", "version", "status"):
        if not getattr(standard, key):
            notes.refuse(key, "missing.", hint="Every contract has an id, a version and a status.")
    if standard.kind != "DataContract":
        notes.refuse("kind", f"it is {standard.kind!r}.", value=standard.kind, valid=["DataContract"])
    if not re.fullmatch(r"v3\.[0-2]\.\d+", standard.apiVersion or ""):
        notes.refuse(
            "apiVersion",
            f"it is {standard.apiVersion!r}.",
            value=standard.apiVersion,
            valid=["v3.1.0", "v3.2.0"],
        )
    if standard.status and standard.status not in _STATUSES:
        notes.refuse("status", f"it is {standard.status!r}.", value=standard.status, valid=_STATUSES)
    names = [item.name for item in standard.schema_ or []]
    for name in {name for name in names if name and names.count(name) > 1}:
        notes.refuse("schema", f"table {name!r} is there twice.", value=name)


def _owner(standard: OpenDataContractStandard, notes: Notes) -> str:
    """The team member whose role says owner, else the team's name."""
    team = standard.team
    members = team if isinstance(team, list) else (team.members or []) if team else []
    for member in members:
        if "owner" in (member.role or "").lower() and (member.name or member.username):
            return member.name or member.username or ""
    if team and not isinstance(team, list) and team.name:
        return team.name
    notes.refuse("team", "nobody owns the contract.", hint="Add a team with a name, or a member with the role `owner`.")
    return ""


def _table(item: SchemaObject, notes: Notes) -> Table | None:
    name = item.name or ""
    at = f"schema[{name}]"
    if not _NAME.fullmatch(name):
        notes.refuse(at, f"{name!r} is no table name: letters, digits and _, at most 63, no digit first.", value=name)
        return None
    extras = notes.custom(at, item.customProperties, ("knownAt",))
    default = extras.get("knownAt")
    columns: dict[str, Column] = {}
    references: list[Reference] = []
    for prop in item.properties or []:
        where = f"{at}.properties[{prop.name}]"
        if prop.name in columns:
            notes.refuse(where, f"column {prop.name!r} is there twice.", value=prop.name)
        if column := _column(prop, where, default, notes):
            columns[column.name] = column
            references += [
                found for link in prop.relationships or [] if (found := _link(link, name, column.name, where, notes))
            ]
    if not columns:
        notes.refuse(at, "no properties; a table has at least one column.")
    masks, columns = contract_masks.read(item.properties or [], columns, at, notes)
    references += [found for link in item.relationships or [] if (found := _link(link, name, None, at, notes))]
    rules = [one for quality in item.quality or [] if (one := rule(quality, f"{at}.quality", notes, column=None))]
    _known_columns(at, columns, rules, references, notes)
    return Table(
        name=name,
        columns=columns,
        rules=tuple(rules),
        references=tuple(references),
        description=item.description or "",
        masks=masks,
    )


def _known_columns(
    at: str,
    columns: Mapping[str, Column],
    rules: Sequence[Rule],
    references: Sequence[Reference],
    notes: Notes,
) -> None:
    used = [("quality", one.columns) for one in rules] + [("relationships", one.columns) for one in references]
    for kind, names in used:
        for name in names:
            if name not in columns:
                notes.refuse(f"{at}.{kind}", f"there is no column {name!r}.", value=name, valid=columns)


def _column(item: SchemaProperty, at: str, default_clock: Any, notes: Notes) -> Column | None:
    name = item.name or ""
    if not name or '"' in name or name == _RESERVED:
        notes.refuse(at, f"{name!r} is no column name.", value=name, hint=f"{_RESERVED} is kept for quarantined rows.")
        return None
    if item.physicalName and item.physicalName != name:
        notes.refuse(at, f"physicalName {item.physicalName!r} differs from the name.", value=item.physicalName,
                     hint="Name the column as it is delivered; rename it in a transform.")  # fmt: skip
    if item.properties or item.items or item.map:
        notes.refuse(at, "nested properties are not checked.", hint="Flatten them at the source, or leave them out.")
    try:
        kind = LogicalType(item.logicalType or "")
    except ValueError:
        notes.refuse(at, f"logicalType is {item.logicalType!r}.", value=item.logicalType, valid=LogicalType)
        return None
    extras = notes.custom(at, item.customProperties, ("knownAt", "mask", REMOVAL_DATE))
    clock = extras.get("knownAt", default_clock)
    if clock is not None and not (isinstance(clock, str) and clock):
        notes.refuse(at, f"knownAt is {clock!r}; it names a column.", value=clock)
    options = item.logicalTypeOptions or {}
    return Column(
        name=name,
        logical_type=kind,
        required=bool(item.required) or bool(item.primaryKey),
        unique=bool(item.unique),
        primary_key=(item.primaryKeyPosition or 1) if item.primaryKey else None,
        timezone=options.get("timezone") if kind in (LogicalType.TIMESTAMP, LogicalType.TIME) else None,
        limits=limits(kind, options, item.enum, at, notes),
        rules=tuple(
            found for one in item.quality or [] if (found := rule(one, f"{at}.quality", notes, column=(name, kind)))
        ),
        known_at=str(clock) if clock else None,
        classification=item.classification,
        description=item.description or "",
        deprecated=bool(item.deprecated),
        removal_date=removal_date(item, extras, at, notes),
    )


def _link(item: Relationship, table: str, column: str | None, at: str, notes: Notes) -> Reference | None:
    """A foreign key; `to` is `table.column`, a list of them for a key of several columns."""
    at = f"{at}.relationships"
    if (item.type or "foreignKey") != "foreignKey":
        notes.refuse(at, f"type is {item.type!r}.", value=item.type, valid=["foreignKey"])
    if (column is None) is (item.from_ is None):
        notes.refuse(at, "`from` belongs to the relationships of a table, and only there.", value=item.from_)
        return None
    ours = [column] if column else [part.removeprefix(f"{table}.") for part in _listed(item.from_)]
    theirs = [part.rpartition(".")[::2] for part in _listed(item.to)]
    tables = {target for target, _ in theirs}
    if len(ours) != len(theirs) or len(tables) != 1 or not all(tables):
        notes.refuse(
            at,
            f"to is {item.to!r}; it is `table.column`, as many as `from`, of one table.",
            value=str(item.to),
        )
        return None
    operators = tuple(Operator)
    extras = notes.custom(at, item.customProperties, (*operators, "unit", "severity", "quarantine"))
    return Reference(
        columns=tuple(str(part) for part in ours),
        table=tables.pop(),
        to=tuple(name for _, name in theirs),
        bound=bound(
            {key: extras[key] for key in operators if key in extras},
            extras.get("unit"),
            at,
            notes,
            default=Bound(),
        ),
        severity=severity(extras.get("severity"), at, notes),
        quarantine=quarantine(extras, at, notes),
    )


def _listed(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _with_freshness(tables: dict[str, Table], standard: OpenDataContractStandard, notes: Notes) -> dict[str, Table]:
    found = dict(tables)
    for item in standard.slaProperties or []:
        if (item.property or "").lower() not in ("freshness", "fr"):
            continue
        table, promise = _freshness(item, item.element or standard.slaDefaultElement or "", tables, notes)
        if table and promise:
            if found[table].freshness:
                notes.refuse("slaProperties", f"two freshness promises for table {table!r}.", value=table)
            found[table] = Table(**{**vars(found[table]), "freshness": promise})
    return found


def _freshness(
    item: ServiceLevelAgreementProperty, element: str, tables: Mapping[str, Table], notes: Notes
) -> tuple[str, Freshness | None]:
    at = "slaProperties[freshness]"
    table, _, column = element.partition(".")
    elements = [
        f"{one.name}.{name}"
        for one in tables.values()
        for name, found in one.columns.items()
        if found.logical_type in (LogicalType.TIMESTAMP, LogicalType.DATE)
    ]
    if element not in elements:
        notes.refuse(at, f"element is {element!r}; it is `table.column`, a time.", value=element, valid=elements)
        return "", None
    hours = _HOURS.get((item.unit or "").lower())
    if hours is None:
        notes.refuse(at, f"unit is {item.unit!r}.", value=item.unit, valid=_HOURS)
        return "", None
    bound = contract_levels.length(item.value, hours)
    if bound is None:
        notes.refuse(at, f"value is {item.value!r}; it is a number above 0, of a century at most.", value=item.value)
        return "", None
    known = ("severity", contract_levels.OBJECTIVE, contract_levels.WINDOW)
    extras = notes.custom(at, item.customProperties, known)
    return table, Freshness(
        column=column,
        bound=bound,
        severity=severity(extras.get("severity"), at, notes),
        objective=contract_levels.objective(extras, at, notes),
    )
