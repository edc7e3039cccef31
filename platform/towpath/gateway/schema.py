"""What a project's endpoints take: columns with their kinds, and which features are read if the request lacks them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from types import NoneType

from towpath.core import names
from towpath.core.errors import BadInput
from towpath.core.masking import Masks

_SHAPES = 256  # sets of columns that are remembered; clients use a handful
LEAST, GREATEST = -(2**63), 2**64 - 1  # of whole numbers, as tensors can hold them


class Kind(StrEnum):
    """What a column holds. Every one may be null."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole number"
    TRUTH = "true or false"
    KEY = "text or whole number"
    INSTANT = "RFC 3339 time or seconds since 1970"


_TYPES: Mapping[Kind, frozenset[type]] = {
    Kind.TEXT: frozenset({str, NoneType}),
    Kind.NUMBER: frozenset({float, int, NoneType}),
    Kind.WHOLE: frozenset({int, float, NoneType}),  # a whole column with a null in it is one of floats to most clients
    Kind.TRUTH: frozenset({bool, NoneType}),
    Kind.KEY: frozenset({str, int, NoneType}),
    Kind.INSTANT: frozenset({str, int, float, NoneType}),
}
DATATYPES: Mapping[Kind, str] = {
    Kind.TEXT: "BYTES",
    Kind.NUMBER: "FP64",
    Kind.WHOLE: "INT64",
    Kind.TRUTH: "BOOL",
    Kind.KEY: "BYTES",
    Kind.INSTANT: "BYTES",
}


_NUMBERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"})
_BYTES, _BOOL = frozenset({"BYTES"}), frozenset({"BOOL"})
TENSORS: Mapping[Kind, frozenset[str]] = {
    Kind.TEXT: _BYTES,
    Kind.NUMBER: _NUMBERS,
    Kind.WHOLE: _NUMBERS,
    Kind.TRUTH: _BOOL,
    Kind.KEY: _BYTES | _NUMBERS,
    Kind.INSTANT: _BYTES | _NUMBERS,
}


def kind_of(declared: str) -> Kind:
    """The kind of a column by the type that training recorded."""
    if declared in ("text", "object", "string", "category", "str"):
        return Kind.TEXT
    if declared.lower().startswith(("int", "uint")):
        return Kind.WHOLE
    return Kind.TRUTH if declared.lower().startswith("bool") else Kind.NUMBER


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A feature view as the gateway reads it: join keys, features, and how long a value holds (None: for ever).

    Views are compared by identity: they are keys in the request path.
    """

    name: str
    keys: tuple[str, ...]
    features: tuple[str, ...]
    ttl_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What one set of given columns leaves to be read: (view, its features that are missing, or all of them)."""

    reads: tuple[tuple[View, tuple[str, ...]], ...]
    wholes: tuple[str, ...] = ()
    """The given columns that hold whole numbers, where a shape is that of one row's values."""

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The sets of join keys that are read by, each once."""
        return tuple(dict.fromkeys(view.keys for view, _ in self.reads))


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns that a request may hold.

    `required` must come with it; `inputs` are all that the models read; features among them that do not come are read
    by the join keys of their view.
    """

    columns: Mapping[str, Kind]
    required: tuple[str, ...]
    inputs: tuple[str, ...]
    views: tuple[View, ...]
    unit: str | None
    row_id: str
    types: Mapping[str, frozenset[type]]
    """What a column's values may be, in Python."""
    datatypes: Mapping[str, frozenset[str]]
    """What a column's tensor may be, in the Open Inference Protocol."""
    masks: Masks = field(default_factory=dict)
    """Of the columns that every model knows only masked. The gateway has no key: values must come masked."""
    _shapes: dict[tuple[object, ...], Shape] = field(default_factory=dict, repr=False, compare=False)

    def check(self, name: str, values: Sequence[object]) -> None:
        """Raises `BadInput` for a column that is not known, or a value that is not of its kind."""
        kind = self.columns.get(name)
        if kind is None:
            raise BadInput(f"There is no column {name!r}.", value=name, valid=sorted(self.columns))
        allowed = self.types[name]
        found = set(map(type, values))
        if found <= allowed and (int not in found or _within(values)):
            return
        for row, value in enumerate(values):
            if type(value) not in allowed or (type(value) is int and not _within((value,))):
                told = name in self.masks  # what may be a raw value is not repeated
                raise BadInput(
                    f"Column {name!r}, row {row}: {'the value' if told else _shown(value)} is not what it holds.",
                    value=name if told else str(value)[:80],
                    valid=[kind.value, "null"],
                )

    def require_masked(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Raises `BadInput` for a value that its column's mask never gave. It is not shown, and goes no further."""
        for name, mask in self.masks.items():
            for number, row in enumerate(rows):
                if not mask.gives(row.get(name)):
                    raise BadInput(
                        f"Column {name!r}, row {number}: the value is not masked.",
                        value=name,
                        valid=[mask.text, "null"],
                        hint="The models know this column only masked; raw values are neither read nor kept here. "
                        "Send what stands for the value.",
                    )

    def shape(self, rows: Sequence[Mapping[str, object]]) -> Shape:
        """What is left to be read for rows of the same columns.

        Raises `BadInput` for a value that is not of its column's kind, and for columns that are missing and cannot be
        read. Single rows are recognized by their columns and the types of their values.
        """
        first = rows[0]
        if self.masks:
            self.require_masked(rows)
        key: tuple[object, ...] = (*first, *map(type, first.values())) if len(rows) == 1 else tuple(first)
        found = self._shapes.get(key)
        if found is None or len(rows) > 1 or not _within([first[name] for name in found.wholes]):
            for name in first:
                self.check(name, [row[name] for row in rows])
        if found is None:
            wholes = tuple(name for name, value in first.items() if type(value) is int) if len(rows) == 1 else ()
            found = Shape(reads=self._reads(first), wholes=wholes)
            if len(self._shapes) < _SHAPES:
                self._shapes[key] = found
        return found

    def _reads(self, given: Mapping[str, object]) -> tuple[tuple[View, tuple[str, ...]], ...]:
        missing = [name for name in self.required if name not in given]
        reads: list[tuple[View, tuple[str, ...]]] = []
        taken = set(given)
        wanted = [name for name in self.inputs if name not in given and name not in self.required]
        for view in self.views:
            lacking = tuple(name for name in view.features if name in wanted)
            if lacking:
                # what nobody wants does no harm in a row, and taking all of an answer is the cheapest
                reads.append((view, view.features if taken.isdisjoint(view.features) else lacking))
                taken.update(view.features)
                missing += [key for key in view.keys if key not in given and key not in missing]
                wanted = [name for name in wanted if name not in lacking]
        missing += wanted
        if missing:
            raise BadInput(
                f"The request lacks {', '.join(missing[:20])}.",
                value=missing[0],
                valid=sorted({*self.required, *(key for view in self.views for key in view.keys)}),
                hint="Send these columns; features may be left out when the join keys of their view are there.",
            )
        return tuple(reads)


def schema(
    models: Iterable[tuple[Sequence[str], Mapping[str, str]]],
    *,
    request: Sequence[str],
    views: Sequence[View],
    unit: str | None,
    row_id: str,
    masks: Masks | None = None,
) -> Schema:
    """The columns of models (each their inputs in order, and the types of these) that serve side by side."""
    columns: dict[str, Kind] = {}
    for inputs, types in models:
        columns |= {name: kind_of(types.get(name, "float64")) for name in inputs}
    inputs = tuple(columns)
    for name in (*(key for view in views for key in view.keys), unit, row_id):
        if name is not None:
            columns.setdefault(name, Kind.KEY)
    columns.setdefault(names.EVENT_TIME, Kind.INSTANT)
    return Schema(
        columns=columns,
        required=tuple(name for name in request if name in inputs),
        inputs=inputs,
        views=tuple(views),
        unit=unit,
        row_id=row_id,
        masks={name: mask for name, mask in (masks or {}).items() if name in columns},
        types={name: _TYPES[kind] for name, kind in columns.items()},
        datatypes={name: TENSORS[kind] for name, kind in columns.items()},
    )


def instant(value: object) -> float | None:
    """Seconds since 1970 of a value of kind `INSTANT`. Raises `BadInput`."""
    if value is None or isinstance(value, int | float):
        return value
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"{names.EVENT_TIME}: {_shown(value)} is no time.", value=str(value)[:80], valid=[Kind.INSTANT.value]
        ) from error


def _within(values: Sequence[object]) -> bool:
    return all(LEAST <= value <= GREATEST for value in values if type(value) is int)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
