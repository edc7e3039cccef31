"""A case in which nobody has to agree, to be changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from towpath.core.approvals import Standing
from towpath.core.governance import Governance, Requirement, Risk, requirement
from towpath.core.policy import Case

LOW: Requirement = requirement(Risk.LOW, Governance())


def standing(**changes: Any) -> Standing:
    given = {"requirement": LOW, "weakened": (), "counted": (), "discounted": (), "missing": (), **changes}
    return Standing.model_validate(given)


def case(now: datetime, **changes: Any) -> Case:
    return Case.model_validate({"standing": standing(), "evidence_at": now, "now": now, **changes})
