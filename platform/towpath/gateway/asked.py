"""A request as every protocol gives it: rows of values by column, and what the request says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from towpath.core import names
from towpath.core.errors import BadInput
from towpath.gateway.faults import TooLarge
from towpath.gateway.schema import Schema, Shape, instant

Row = dict[str, object]
LONGEST_ID = 128


class Asked(msgspec.Struct, kw_only=True):
    """Rows of values by column, all with the same columns; lists of units and keys have one element a row.

    Where a project declares no unit, every request is a unit of its own.
    """

    request: str
    rows: list[Row]
    shape: Shape
    units: list[str | None]
    keys: list[str | None]
    at: float | None  # the time that is asked about; None for now
    outputs: tuple[str, ...] | None = None
    """The outputs that are asked for, or MLflow's predict function; None for what the model has or does by itself."""


def asked(
    schema: Schema, rows: list[Row], *, parameters: Mapping[str, object] | None, request: str, max_rows: int
) -> Asked:
    """Check the rows of a request. A parameter that bears a column's name holds for every row.

    Raises `BadInput` for anything that is not as the schema says, and `TooLarge`.
    """
    count = len(rows)
    if count == 0 or not rows[0]:
        raise BadInput("The request holds no row.", hint="Send at least one.")
    if count > max_rows:
        raise TooLarge(
            f"The request holds {count:,} rows.", value=count, valid=[f"1 to {max_rows:,}"], hint="Send it in parts."
        )
    first = rows[0]
    if parameters:
        more = {name: value for name, value in parameters.items() if name in schema.columns and name not in first}
        if more:
            for row in rows:
                row.update(more)
    at = first.get(names.EVENT_TIME)
    return Asked(
        request=request,
        rows=rows,
        shape=schema.shape(rows),
        units=_texts(schema.unit, rows) if schema.unit else [request] * count,
        keys=_texts(schema.row_id, rows),
        at=None if at is None else instant(at),
    )


def rows_of(columns: Mapping[str, Sequence[object]]) -> list[Row]:
    """The rows that columns make. Raises `BadInput` for columns of several lengths."""
    count = len(next(iter(columns.values()), ()))
    for name, values in columns.items():
        if len(values) != count:
            raise BadInput(f"Column {name!r} has {len(values)} rows, others {count}.", value=name)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


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


def _texts(name: str, rows: Sequence[Row]) -> list[str | None]:
    values = [row.get(name) for row in rows]
    return [value if value is None or type(value) is str else str(value) for value in values]
