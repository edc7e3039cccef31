"""What every part of the charter is made of: the strict base model, and the kinds of value that are written as text."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, WithJsonSchema
from pydantic.alias_generators import to_camel

DURATION = r"^\d+[smhdw]$"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)([smhdw])", value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no duration; write a whole number and s, m, h, d or w, for example 31d")
        try:
            return timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError as error:
            raise ValueError(f"{value!r} is longer than any duration here") from error
    return value


def _duration_text(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Declaration(BaseModel):
    """Base of every part of the charter: frozen, camelCase in YAML, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


def as_written(default: object) -> object:
    """A JSON Schema's default of a duration (ISO 8601, as pydantic writes it) as a charter would write it."""
    if isinstance(default, str) and default.startswith("P"):
        return _duration_text(TypeAdapter(timedelta).validate_python(default))
    return default
