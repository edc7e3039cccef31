"""Grants as people write them: `release-manager@flights` is a role in a project, `viewer` a role in every project."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from towpath.core.errors import BadInput
from towpath.core.identity import EVERY_PROJECT, Role

_PROJECT: Final = re.compile(r"[a-z][a-z0-9_-]*")


def granted(written: Iterable[str]) -> dict[str, frozenset[Role]]:
    """Roles by project. Raises `BadInput` for a role that there is not and for what can be no project's name."""
    found: dict[str, set[Role]] = {}
    for text in written:
        name, at, project = text.strip().partition("@")
        if name not in set(Role):
            raise BadInput(
                f"{text!r} names no role.",
                value=text,
                valid=list(Role),
                hint="Write ROLE for every project, or ROLE@PROJECT.",
            )
        if at and project != EVERY_PROJECT and not _PROJECT.fullmatch(project):
            raise BadInput(
                f"{text!r} grants in {project!r}, which can be no project's name.",
                value=text,
                hint="Write ROLE@PROJECT with the project as its charter names it, or ROLE alone for every project.",
            )
        found.setdefault(project or EVERY_PROJECT, set()).add(Role(name))
    return {project: frozenset(roles) for project, roles in found.items()}


def written(grants: Mapping[str, frozenset[Role]]) -> list[str]:
    """The same grants as text, in an order that depends on nothing else."""
    return sorted(
        role.value if project == EVERY_PROJECT else f"{role}@{project}"
        for project, roles in grants.items()
        for role in roles
    )
