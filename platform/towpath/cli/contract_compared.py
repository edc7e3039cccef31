"""What `towpath contract diff` compares: two files, or a project's contracts with those of its champion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from towpath.cli import opening
from towpath.core.access import Action
from towpath.core.contract_changes import Comparison
from towpath.core.contract_evolution import Pair, Untold, judged
from towpath.core.evidence import Finding, Outcome
from towpath.project import contract_file


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Contracts in pairs, and the day on which the new ones come. `project`: whose champion it is; None for files."""

    pairs: tuple[Pair | Untold, ...]
    as_of: date
    project: str | None = None
    champion: str | None = None

    @cached_property
    def differences(self) -> tuple[tuple[Pair, Comparison], ...]:
        """Raises `DeclarationError` when a version is no semantic one."""
        return tuple((one, one.compared(self.as_of)) for one in self.pairs if isinstance(one, Pair))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the path would say of them; of files nothing, for nobody is known to have read the old one."""
        return judged(self.pairs, as_of=self.as_of) if self.project is not None else ()

    @property
    def refused(self) -> bool:
        if self.project is None:
            return not all(found.enough for _, found in self.differences)
        return any(finding.outcome is not Outcome.PASS for finding in self.findings)


def of_files(old: Path, new: Path, *, as_of: date) -> Compared:
    """Two files as they are."""
    (before, old_document), (after, new_document) = contract_file(old), contract_file(new)
    return Compared(pairs=(Pair(before=before, after=after, old=old_document, new=new_document),), as_of=as_of)


def with_champion(folder: Path, *, as_of: date) -> Compared:
    """The project's contracts and those that its champion was made by, out of the ledger and the object store.

    Raises what `opening.acting` and `opening.ledger` raise.
    """
    from towpath import project, wiring
    from towpath.stages.evolution import evolved
    from towpath.stages.work import champion

    loaded, settings = project.load(folder), opening.settings()
    name = loaded.charter.project
    opening.require_ledger(settings)
    opening.acting(settings, None, Action.READ, name)
    with opening.ledger(settings) as ledger:
        found = champion(ledger, name)
        return Compared(
            pairs=evolved(loaded, ledger, wiring.open_objects(settings)),
            as_of=as_of,
            project=name,
            champion=found.candidate.id if found is not None else None,
        )
