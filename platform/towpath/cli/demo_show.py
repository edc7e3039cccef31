"""What the demo and its sabotages share: what is shown to whom, and how a candidate is approved and promoted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from towpath import wiring
from towpath.cli import opening, output
from towpath.cli.demo_people import People
from towpath.cli.progress import StageProgress
from towpath.core.evidence import Candidate
from towpath.core.policy import Decision
from towpath.settings import Settings

if TYPE_CHECKING:
    from towpath.stages.approve import Approved
    from towpath.stages.work import Work

REASON = "first champion of the demo: every gate passed on its holdout"
APPROVED = "every gate passed, and its model card says where it is weak"
WEAKENED = "a demo of what the canary sees when the gates see nothing"


@dataclass(kw_only=True)
class Show:
    """What is shown to whom: the console for results, the progress, and the document when JSON was asked for."""

    console: Console
    progress: StageProgress
    as_json: bool
    document: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str, *, style: str | None = None) -> None:
        if not self.as_json:
            self.console.print(text, style=style, soft_wrap=True)

    def finish(self, code: int) -> int:
        if self.as_json:
            output.emit({**self.document, "exit": code})
        return code


def approve(candidate: Candidate, people: People, settings: Settings) -> Approved:
    """Grace's word for the candidate; where its charter is weaker than the champion's, the admin's too."""
    from towpath.stages import approve as approvals

    with opening.ledger(settings, identity=people.grace) as ledger:
        said = approvals.approve(candidate, people.grace, ledger, reason=APPROVED, now=wiring.now())
    if not said.standing.weakened or said.standing.met:
        return said
    with opening.ledger(settings, identity=people.admin) as ledger:
        return approvals.approve(candidate, people.admin, ledger, reason=WEAKENED, now=wiring.now(), policy_change=True)


def promote(candidate: Candidate, work: Work) -> Decision:
    """Decide on the candidate in the name of whoever does the work."""
    from towpath.stages.promote import promote as decide_on

    return decide_on(candidate, work, reason=REASON, now=wiring.now())
