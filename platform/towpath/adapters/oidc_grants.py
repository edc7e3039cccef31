"""The file that maps an OpenID provider's groups and clients to roles here (`TOWPATH_OIDC_GRANTS`), YAML or JSON.

groups:
  claim: groups                       # dots lead into nested claims: realm_access.roles
  map:
    mlops-release: [release-manager@flights, viewer]
services:
  claim: idtyp                        # left out: a service is who is its own client (`sub` is the client's id)
  value: app
  clients:
    nightly-run: [automation@flights]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from towpath.core.errors import BadInput, DeclarationError, Problems
from towpath.core.grants import granted
from towpath.core.identity import Role


def _granted(value: object) -> object:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("roles are a list of ROLE or ROLE@PROJECT")
    try:
        return granted(value)
    except BadInput as error:
        raise ValueError(str(error)) from error


Grants = Annotated[Mapping[str, frozenset[Role]], BeforeValidator(_granted)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Groups(_Part):
    """Which claim names the groups of a person, and what each group may. A group that is not named may nothing."""

    claim: str = Field(default="groups", min_length=1)
    map: Mapping[str, Grants] = Field(default_factory=dict)


class Services(_Part):
    """How a service is told from a person, and what each client may beside what its groups may."""

    claim: str | None = None
    value: str | bool = True
    clients: Mapping[str, Grants] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _services_are_automation(self) -> Self:
        for client, grants in self.clients.items():
            roles = {role for found in grants.values() for role in found}
            if extra := roles - {Role.AUTOMATION, Role.VIEWER}:
                raise ValueError(f"{client}: a service cannot be {', '.join(sorted(extra))}")
        return self


class GrantsFile(_Part):
    """The whole file. Unknown keys and roles are refused."""

    groups: Groups = Groups()
    services: Services = Services()


def read(file: Path) -> GrantsFile:
    """The file's content. Raises `Problems` with every mistake in it, and `DeclarationError` when it cannot be read."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise DeclarationError(
            f"The grants of the OpenID provider's groups cannot be read: {said}.",
            value=str(file),
            hint="Correct the file that TOWPATH_OIDC_GRANTS names.",
        ) from error
    try:
        return GrantsFile.model_validate(document if document is not None else {})
    except ValidationError as error:
        raise Problems([_problem(file, item["loc"], item["msg"]) for item in error.errors()]) from error


def _problem(file: Path, place: tuple[int | str, ...], said: str) -> DeclarationError:
    where = ".".join(str(part) for part in place) or "the file"
    return DeclarationError(f"{file.name}: {where}: {said.removeprefix('Value error, ')}", value=where)


def joined(parts: Iterable[Mapping[str, frozenset[Role]]]) -> dict[str, frozenset[Role]]:
    """All that several grants grant together."""
    found: dict[str, frozenset[Role]] = {}
    for part in parts:
        for project, roles in part.items():
            found[project] = found.get(project, frozenset()) | roles
    return found
