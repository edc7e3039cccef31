"""A request as every protocol gives it: columns of values, and what the request says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from towpath.core import names
from towpath.core.errors import BadInput
from towpath.gateway.faults import TooLarge
from towpath.gateway.schema import GREATEST, LEAST, Schema, instant

LONGEST_ID = 128


@dataclass(slots=True, kw_only=True)
class Asked:
    """`rows` rows; `columns` by name, each with one value a row. Lists of units and keys have one element a row too.

    Where a project declares no unit, every request is a unit of its own.
    """

    request: str
    rows: int
    columns: dict[str, list[object]]
    units: list[str | None]
    keys: list[str | None]
    at: float | None  # the time that is asked about; None for now


def asked(
    schema: Schema,
    columns: dict[str, list[object]],
    *,
    parameters: Mapping[str, object] | None,
    request: str,
    max_rows: int,
) -> Asked:
    """Check the columns of a request. A parameter that bears a column's name holds for every row.

    Raises `BadInput` for anything that is not as the schema says, and `TooLarge`.
    """
    rows = len(next(iter(columns.values()))) if columns else 0
    if rows == 0:
        raise BadInput("The request holds no row.", hint="Send at least one.")
    if rows > max_rows:
        raise TooLarge(
            f"The request holds {rows:,} rows.", value=rows, valid=[f"1 to {max_rows:,}"], hint="Send it in parts."
        )
    types = schema.types
    for name, values in columns.items():
        if len(values) != rows:
            raise BadInput(f"Column {name!r} has {len(values)} rows, others {rows}.", value=name)
        value = values[0]
        if rows != 1 or type(value) not in types.get(name, ()) or (type(value) is int and not _fits(value)):
            schema.check(name, values)
    for name, value in (parameters or {}).items():
        if name in schema.columns and name not in columns:
            columns[name] = [value] * rows
            schema.check(name, columns[name])
    return Asked(
        request=request,
        rows=rows,
        columns=columns,
        units=_texts(columns.get(schema.unit), rows) if schema.unit else [request] * rows,
        keys=_texts(columns.get(schema.row_id), rows),
        at=instant(columns[names.EVENT_TIME][0]) if names.EVENT_TIME in columns else None,
    )


def _fits(value: int) -> bool:
    return LEAST <= value <= GREATEST


def request_id(given: object) -> str:
    """The client's own id of the request. Raises `BadInput` for one that cannot stand in a header."""
    text = str(given)
    if not (0 < len(text) <= LONGEST_ID and text.isascii() and text.isprintable()) or text != text.strip():
        raise BadInput(
            f"{text[:40]!r} cannot be a request's id.",
            value=text[:40],
            valid=[f"1 to {LONGEST_ID} printable ASCII characters without space around them"],
        )
    return text


def _texts(values: list[object] | None, rows: int) -> list[str | None]:
    if values is None:
        return [None] * rows
    return [None if value is None else str(value) for value in values]
