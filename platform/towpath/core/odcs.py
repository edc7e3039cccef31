"""The Open Data Contract Standard as a document: every key known to the standard, every value of its type, or a problem
that says where. What the values mean is read in `towpath.core.contract`."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Union, get_args, get_origin

from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard
from pydantic import BaseModel, ValidationError

from towpath.core.errors import DeclarationError, Problems, TowpathError


def plain(value: Any) -> Any:
    """The document as JSON: dates and times, which YAML reads as such, become ISO 8601 text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value


def load(document: object, *, origin: str) -> OpenDataContractStandard:
    """The standard's own model of a plain document. Raises `Problems` with every unknown key and wrong type."""
    if not isinstance(document, dict):
        raise DeclarationError(
            f"{origin} holds {type(document).__name__}, not a mapping.",
            value=document,
            hint="A data contract is a YAML mapping; it starts with `kind: DataContract`.",
        )
    problems = list(_unknown(document, OpenDataContractStandard, origin))
    bare = _without_unknown(document, OpenDataContractStandard)
    try:
        loaded = OpenDataContractStandard.model_validate(bare, strict=True)
    except ValidationError as error:
        problems += [_typed(origin, document, dict(item)) for item in error.errors()]
        raise Problems(problems) from error
    if problems:
        raise Problems(problems)
    return loaded


def custom(properties: Sequence[CustomProperty] | None) -> dict[str, Any]:
    """Custom properties as a mapping of name to value."""
    return {item.property: item.value for item in properties or () if item.property}


def misspelt(name: str, known: Sequence[str]) -> str | None:
    """The known custom property that an unknown one was surely meant to be; None when it is someone else's own."""
    lowered = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower().replace("_", ""), lowered, n=1, cutoff=0.85)
    return lowered[close[0]] if close and lowered[close[0]] != name else None


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The problems found so far, each with the file it is in."""

    origin: str
    problems: list[TowpathError] = field(default_factory=list)

    def refuse(
        self, where: str, message: str, *, value: object = None, valid: Iterable[object] = (), hint: str = ""
    ) -> None:
        self.problems.append(
            DeclarationError(f"{self.origin}: {where}: {message}", value=value, valid=valid, hint=hint)
        )

    def raise_any(self) -> None:
        if self.problems:
            raise Problems(self.problems)

    def custom(self, at: str, properties: Sequence[CustomProperty] | None, known: Sequence[str]) -> dict[str, Any]:
        """Custom properties that Towpath reads; others are the producer's own, unless they are one of ours misspelt."""
        found = custom(properties)
        for name in found:
            if name not in known and (meant := misspelt(name, known)):
                self.refuse(f"{at}.customProperties", f"{name!r} is not read; {meant!r} is.", value=name, valid=known)
        return {name: value for name, value in found.items() if name in known}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models an annotation allows for a mapping, or for the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, list):
        for part in get_args(annotation):
            yield from _models(part)


def _model_for(value: object, annotation: Any) -> type[BaseModel] | None:
    """The model that reads the value: a union such as `Team | list[TeamMember]` is decided by the value's own shape."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = get_args(annotation)
        lists = [part for part in parts if get_origin(part) is list]
        others = [part for part in parts if get_origin(part) is not list]
        chosen = lists if isinstance(value, list) else others
        return next((model for part in chosen for model in _models(part)), None)
    return next(_models(annotation), None)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _unknown(value: object, model: type[BaseModel], where: str) -> Iterator[DeclarationError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, model, f"{where}[{_label(item, index)}]")
    if not isinstance(value, dict):
        return
    fields = _fields(model)
    for key, item in value.items():
        if key not in fields:
            yield DeclarationError(f"{where}: unknown key {key!r}.", value=key, valid=sorted(fields))
        elif inner := _model_for(item, fields[key]):
            yield from _unknown(item, inner, f"{where}: {key}" if ":" not in where else f"{where}.{key}")


def _without_unknown(value: Any, model: type[BaseModel]) -> Any:
    if isinstance(value, list):
        return [_without_unknown(item, model) for item in value]
    if not isinstance(value, dict):
        return value
    fields = _fields(model)
    kept = {key: item for key, item in value.items() if key in fields}
    return {
        key: _without_unknown(item, inner) if (inner := _model_for(item, fields[key])) else item
        for key, item in kept.items()
    }


def _label(item: object, index: int) -> object:
    return item.get("name", index) if isinstance(item, dict) else index


def _typed(origin: str, document: object, item: dict[str, Any]) -> DeclarationError:
    """A pydantic error with names instead of positions in its path."""
    path, at = "", document
    for part in item["loc"]:
        if isinstance(at, dict) and part in at:
            at, path = at[part], f"{path}.{part}"
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            at, path = at[part], f"{path}[{_label(at[part], part)}]"
    return DeclarationError(
        f"{origin}: {path.lstrip('.') or '(whole)'}: {item['msg']} (it is {str(item.get('input'))[:60]!r}).",
        value=item.get("input"),
    )
