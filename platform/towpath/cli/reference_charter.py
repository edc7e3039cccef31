"""The reference page of the charter: every part of it, its keys, what they must be, and what they are for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel

from towpath.cli.reference_markdown import page, prose, table
from towpath.core import charter
from towpath.core.declaration import DURATION
from towpath.example.workspace import TEMPLATE

_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def charter_page() -> str:
    schema = charter.json_schema()
    parts = {"Charter": schema, **schema["$defs"]}
    intro = (
        "A model project is a folder with a `charter.yaml`. Keys are those below and no others: an unknown key is "
        "refused with the valid ones. A duration is a whole number and `s`, `m`, `h`, `d` or `w`: `31d`. The "
        "[JSON Schema](charter.schema.json) is for editors that complete and check YAML; `towpath schema` prints it, "
        "and `towpath check` holds a project to more than a schema can say."
    )
    sample = (TEMPLATE / "charter.yaml").read_text(encoding="utf-8").rstrip()
    declared = _declared(charter.Charter)
    return page(
        "The charter",
        intro,
        *(_part(kind, parts[name]) for name, kind in declared.items() if "properties" in parts[name]),
        *(_values(name, parts[name]) for name in declared if "enum" in parts[name]),
        f"## The example's\n\n```yaml\n{sample}\n```",
    )


def _declared(kind: type, found: dict[str, type] | None = None) -> dict[str, type]:
    """The models and enumerations that a model is made of, itself first, in the order in which they are named."""
    found = {} if found is None else found
    if kind.__name__ in found:
        return found
    found[kind.__name__] = kind
    for field in getattr(kind, "model_fields", {}).values():
        for part in _types(field.annotation):
            if issubclass(part, BaseModel | Enum):
                _declared(part, found)
    return found


def _types(annotation: Any) -> list[type]:
    """Every class within an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [found for part in get_args(annotation) for found in _types(part)]


def _part(kind: type, part: Mapping[str, Any]) -> str:
    needed = part.get("required", [])
    rows = []
    for key, field in part["properties"].items():
        default = "required" if key in needed else f"`{json.dumps(field['default'], ensure_ascii=False)}`"
        rows.append([f"`{key}`", _kind(field), default, prose(field.get("description"))])
    titles = ["key", "value", "default", "about"]
    if not any(row[3] for row in rows):
        titles, rows = titles[:3], [row[:3] for row in rows]
    return f"## {kind.__name__}\n\n{prose(part.get('description'))}\n\n{table(titles, rows)}"


def _values(name: str, part: Mapping[str, Any]) -> str:
    listed = ", ".join(f"`{item}`" for item in part["enum"])
    return f"## {name}\n\n{prose(part.get('description'))}\n\nOne of {listed}."


def _kind(field: Mapping[str, Any]) -> str:
    """What a value must be, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field or "oneOf" in field:
        return " or ".join(dict.fromkeys(_kind(item) for item in field.get("anyOf", field.get("oneOf"))))
    if field.get("pattern") == DURATION:
        return "duration"
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if field.get("type") == "array":
        return f"list of {_kind(field['items'])}"
    if field.get("type") == "object":
        named = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
        return f"mapping of names to {_kind(named[0])}" if isinstance(named[0], dict) else "mapping"
    limits = [f"{sign} {field[word]}" for word, sign in _LIMITS.items() if word in field]
    limits += [f"like `{field['pattern']}`"] if "pattern" in field else []
    limits += [f"at least {field['minLength']} characters"] if field.get("minLength", 1) > 1 else []
    return ", ".join([str(field.get("type", "any value")), *limits])
