"""What of a charter is frozen with a candidate at registration: what it must meet, and who must agree to it.

Written into the registration's entry under `facts["charter"]`, and so part of the candidate's digest. Whoever decides
on the candidate reads it from there: a charter that is edited later changes nothing about what was registered.
"""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from towpath.core.charter import Bounds, Charter
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage
from towpath.core.governance import Drifted, Requirement, Risk, requirement
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.serving import Serving

FACT: Final = "charter"
"""Where the registration's facts hold it."""


class Terms(BaseModel):
    """The sections of a charter that decide how a candidate is judged, approved, rolled out and served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: Risk
    governance: Requirement
    """Effective: the tier's least, or what the section asks beyond it."""
    gates: Bounds
    rollout: RolloutPolicy | None
    serving: Serving
    reconcile: Drifted = Drifted.RESTORE
    """What is done about what was moved by hand. Terms of before it was frozen lack it; then it was put back."""

    @classmethod
    def of(cls, charter: Charter) -> Self:
        return cls(
            risk=charter.risk,
            governance=requirement(charter.risk, charter.governance),
            gates=charter.gates,
            rollout=charter.rollout,
            serving=charter.serving,
            reconcile=charter.governance.reconcile,
        )

    @property
    def body(self) -> dict[str, Any]:
        """As JSON, in the charter's own words."""
        return self.model_dump(mode="json", by_alias=True)


def terms(candidate: Candidate) -> Terms | None:
    """The terms that were frozen with the candidate.

    None for one that is not registered, was registered before terms were, or by a version whose terms this one cannot
    read: of such a candidate it is not known what it needs, so nothing is ever enough for it.
    """
    if Stage.REGISTER not in candidate.stages:
        return None
    found = candidate.entry(Stage.REGISTER).facts.get(FACT)
    try:
        return None if found is None else Terms.model_validate(found)
    except ValidationError:
        return None
