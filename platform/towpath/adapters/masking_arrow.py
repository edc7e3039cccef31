"""Masks applied to batches of rows while they are read, before anything of them is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towpath.core.errors import BadInput
from towpath.core.masking import Mask, Masking, Method, PseudonymKey


class Masked:
    """A table's rows without what its masks hide. `schema` is what is left of the columns.

    Raises `BadInput` for a column that the contract does not declare (by its place: its name may be a value, where a
    file has no header), for a masked one that is not there, and for values of a type that has no such mask.
    """

    def __init__(self, masking: Masking, schema: pa.Schema, *, name: str) -> None:
        self._masking, self._name = masking, name
        strange = [str(place) for place, one in enumerate(schema.names, start=1) if one not in masking.columns]
        if strange:
            raise BadInput(
                f"{name} has columns that its contract does not declare: number {', '.join(strange)}.",
                value=strange[0],
                valid=masking.columns,
                hint="A table with masked columns is taken only as declared, for a renamed column would come unmasked. "
                "Declare them, or mend the source.",
            )
        masks = {column: mask for column, mask in masking.masks.items() if mask.method is not Method.DROP}
        missing = [column for column in masks if column not in schema.names]
        if missing:
            raise BadInput(
                f"{name} has no column {missing[0]!r}, which its contract masks.",
                value=missing[0],
                valid=schema.names,
                hint="Mend the source, or take it out of the contract.",
            )
        self.schema = pa.schema(
            [
                field.with_type(self._typed(field.name, masks[field.name], field.type))
                if field.name in masks
                else field
                for field in schema
                if field.name in masks or field.name not in masking.masks
            ]
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for field in self.schema:
            values, mask = batch.column(field.name), self._masking.masks.get(field.name)
            arrays.append(values if mask is None else self._applied(field, mask, values))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _typed(self, column: str, mask: Mask, kind: pa.DataType) -> pa.DataType:
        stored = _STORED[mask.method](mask, kind)
        if stored is None:
            raise BadInput(
                f"{self._name}: column {column!r} is {kind}, which has no {mask.text}.",
                value=str(kind),
                hint="Deliver it as another type (an identifier as text or whole numbers), or choose another mask.",
            )
        return stored

    def _applied(self, field: pa.Field, mask: Mask, values: pa.Array) -> pa.Array:
        try:
            return _APPLIED[mask.method](mask, values, self._masking.keys).cast(field.type)
        except (pa.ArrowException, OverflowError, UnicodeDecodeError):
            raise BadInput(
                f"{self._name}: column {field.name!r} has a value that has no {mask.text}.",
                value=field.name,
                hint="The value is masked, so it is not shown. An identifier is text or whole numbers.",
            ) from None


# --- the types that are stored; None for those without such a mask ----------------------------------------------------


def _named(mask: Mask, kind: pa.DataType) -> pa.DataType | None:  # noqa: ARG001 - like the others
    fits = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_date32)
    return pa.string() if any(one(kind) for one in fits) else None


def _first(mask: Mask, kind: pa.DataType) -> pa.DataType | None:  # noqa: ARG001 - like the others
    return pa.string() if pa.types.is_string(kind) or pa.types.is_integer(kind) else None


def _time(mask: Mask, kind: pa.DataType) -> pa.DataType | None:  # noqa: ARG001 - like the others
    return kind if pa.types.is_date32(kind) or pa.types.is_timestamp(kind) else None


def _number(mask: Mask, kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_integer(kind) and isinstance(mask.width, int):
        return pa.int64()
    fits = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return pa.float64() if any(one(kind) for one in fits) else None


_STORED: Final[Mapping[Method, Callable[[Mask, pa.DataType], pa.DataType | None]]] = {
    Method.PSEUDONYM: _named,
    Method.YEAR: _time,
    Method.MONTH: _time,
    Method.BUCKET: _number,
    Method.FIRST: _first,
}


# --- the values -------------------------------------------------------------------------------------------------------


def _pseudonyms(mask: Mask, values: pa.Array, keys: Mapping[str, PseudonymKey]) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = values.cast(pa.int64())  # whole numbers beside missing ones; raises for others
    key = keys[mask.key]
    distinct = values.cast(pa.string()).dictionary_encode()
    named = [None if value is None else key.pseudonym(value) for value in distinct.dictionary.to_pylist()]
    return pa.array(named, pa.string()).take(distinct.indices)


def _floored(mask: Mask, values: pa.Array, keys: Mapping[str, PseudonymKey]) -> pa.Array:  # noqa: ARG001
    floored = pc.floor_temporal(values, unit=mask.method.value)
    if pc.any(pc.greater(floored, values)).as_py():
        raise pa.ArrowInvalid("a time before the first that its type can hold")
    return floored


def _bucketed(mask: Mask, values: pa.Array, keys: Mapping[str, PseudonymKey]) -> pa.Array:  # noqa: ARG001
    if pa.types.is_integer(values.type) and isinstance(mask.width, int):
        whole = values.cast(pa.int64())
        above = np.mod(whole.fill_null(0).to_numpy(zero_copy_only=False), mask.width)
        return pc.subtract_checked(whole, pa.array(above, pa.int64()))
    lower = pc.floor(pc.divide(values.cast(pa.float64()), float(mask.width)))
    return pc.multiply(lower, float(mask.width))


def _cut(mask: Mask, values: pa.Array, keys: Mapping[str, PseudonymKey]) -> pa.Array:  # noqa: ARG001
    return pc.utf8_slice_codeunits(values.cast(pa.string()), 0, mask.length)


_APPLIED: Final[Mapping[Method, Callable[[Mask, pa.Array, Mapping[str, PseudonymKey]], pa.Array]]] = {
    Method.PSEUDONYM: _pseudonyms,
    Method.YEAR: _floored,
    Method.MONTH: _floored,
    Method.BUCKET: _bucketed,
    Method.FIRST: _cut,
}
