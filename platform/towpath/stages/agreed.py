"""What people said about a candidate, for whoever asks: approvals, waivers, emergencies. Reads, and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from towpath.core.approvals import Standing
from towpath.core.emergencies import Broken
from towpath.core.evidence import Candidate, Record
from towpath.core.gates import Stage
from towpath.core.policy import Verdict
from towpath.core.waivers import Granted
from towpath.ports import Ledger
from towpath.stages.verdict import broken_glass, standing_of
from towpath.stages.waive import waivers_of


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """All of it. `standing` is None for a candidate that is not registered."""

    standing: Standing | None
    waivers: tuple[Granted, ...]
    emergencies: tuple[Broken, ...]

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "approvals": document(self.standing),
            "waivers": [one.model_dump(mode="json") for one in self.waivers],
            "emergencies": [{**one.model_dump(mode="json"), "state": one.state} for one in self.emergencies],
        }


def agreed(ledger: Ledger, candidate: Candidate, decision: Record | None, *, now: datetime) -> Agreed:
    """What people said about a candidate. `decision`: the last one on it."""
    return Agreed(
        standing=standing(ledger, candidate, decision, now=now),
        waivers=waivers_of(ledger, candidate, now=now),
        emergencies=tuple(one for one in broken_glass(ledger, candidate.project) if one.digest == candidate.digest),
    )


def standing(ledger: Ledger, candidate: Candidate, decision: Record | None, *, now: datetime) -> Standing | None:
    """How a registered candidate stands now; one that was promoted, as it stood then. None for any other."""
    if Stage.REGISTER not in candidate.stages:
        return None
    said: Any = decision.body.get("governance") if decision is not None else None
    if decision is not None and decision.body.get("verdict") == Verdict.PROMOTE and said:
        then = datetime.fromisoformat(str(said["decided_at"]))
        return standing_of(ledger, candidate, now=then, before=decision.sequence)
    return standing_of(ledger, candidate, now=now)


def document(found: Standing | None) -> dict[str, Any] | None:
    """A standing as JSON."""
    return None if found is None else {**found.model_dump(mode="json"), "needed": found.needed, "met": found.met}
