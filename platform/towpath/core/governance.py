"""The charter's section `governance`: who must agree before a model serves, and what is done when somebody goes around.

The charter's risk tier sets the least; the section can ask for more, never for less.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from towpath.core.declaration import Declaration, Duration
from towpath.core.identity import Role


class Risk(StrEnum):
    """The materiality of a wrong answer; it decides how many people approve."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


LEAST: Final[Mapping[Risk, int]] = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2}
"""How many persons, none of them a submitter, approve a candidate of that tier at least."""


class Drifted(StrEnum):
    """What the reconciler does about what was moved by hand."""

    RESTORE = "restore"
    FLAG = "flag"


class Approvals(Declaration):
    """Who must agree to a candidate. Persons, not accounts; never one who made it."""

    count: int | None = Field(default=None, ge=0, le=10)
    """How many persons; the risk tier's number when left out, and never below it."""
    roles: tuple[Role, ...] = Field(default=(Role.RELEASE_MANAGER,), min_length=1)
    """Roles of which an approver has one."""
    expires: Duration = timedelta(days=14)
    """How long an approval holds."""


class Governance(Declaration):
    """Who must agree before a model serves, and what is done when somebody goes around it."""

    approvals: Approvals = Approvals()
    """Who must agree to a candidate."""
    evidence: Duration = timedelta(days=90)
    """How old the newest evidence of a candidate may be when it is approved or promoted."""
    reconcile: Drifted = Drifted.RESTORE
    """Whether what was moved by hand (an alias, a tag, a deployment) is put back, or only recorded and told."""


class Requirement(BaseModel):
    """What a candidate needs, frozen with it at registration: part of its evidence, whatever the charter says later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: Risk
    count: int
    roles: tuple[Role, ...]
    expires_seconds: int
    evidence_seconds: int


def requirement(risk: Risk, governance: Governance) -> Requirement:
    """The requirement of a charter's risk tier and section."""
    asked = governance.approvals
    return Requirement(
        risk=risk,
        count=LEAST[risk] if asked.count is None else asked.count,
        roles=tuple(sorted(set(asked.roles))),
        expires_seconds=int(asked.expires.total_seconds()),
        evidence_seconds=int(governance.evidence.total_seconds()),
    )
