"""What the demo and its sabotages share: what is shown to whom, and the promotion of a first champion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from towpath import wiring
from towpath.cli import output
from towpath.cli.progress import StageProgress
from towpath.core.evidence import Candidate
from towpath.core.policy import Decision

if TYPE_CHECKING:
    from towpath.stages.work import Work

REASON = "first champion of the demo: every gate passed on its holdout"


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


def promote(candidate: Candidate, work: Work) -> Decision:
    """Decide on the candidate in the demo's name."""
    from towpath.stages.promote import promote as decide_on

    return decide_on(candidate, work, reason=REASON, now=wiring.now())
