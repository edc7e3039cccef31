"""The contracts that the champion was made by, out of its evidence, beside those of a project's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from towpath.core import digest as digests
from towpath.core.contract import Contract
from towpath.core.contract_evolution import SAME, Pair, Untold, judged
from towpath.core.contract_held import contracts_of, held_to
from towpath.core.errors import DeclarationError, NotFound, Problems
from towpath.core.evidence import Finding, Severity, Subject
from towpath.core.gates import Stage
from towpath.path import WATCH
from towpath.ports import Ledger, Objects
from towpath.project import Project, contract_file
from towpath.stages.work import Work, champion


def findings(work: Work) -> tuple[Finding, ...]:
    """What the gate says of the project's contracts. On a watch it warns: what is watched was made by the old ones."""
    severity = Severity.WARNING if work.order == WATCH else Severity.ERROR
    pairs = evolved(work.project, work.ports.ledger, work.ports.objects)
    return judged(pairs, as_of=work.as_of.date(), severity=severity)


def inputs(found: tuple[Finding, ...]) -> dict[str, str]:
    """The answer as an input of the stage: the same as long as no contract differs, whoever is champion."""
    same = found == (SAME,)
    return {"contract_change": "none" if same else digests.of_json([one.model_dump(mode="json") for one in found])}


def held(work: Work, made_by: Mapping[str, str]) -> dict[str, str]:
    """Whose contracts those inputs of the stage were held to, as an input of it; none where they are the champion's."""
    found = champion(work.ports.ledger, work.name)
    return held_to(contracts_of(found.candidate), made_by) if found is not None else {}


def evolved(project: Project, ledger: Ledger, objects: Objects) -> tuple[Pair | Untold, ...]:
    """The contracts whose text is another than in the champion's evidence; none where there is no champion.

    A table of the champion's that the project has no more is compared where its contract is there under another
    table's name. Raises `IntegrityError` when a stored contract is not what was recorded.
    """
    found = champion(ledger, project.charter.project)
    if found is None:
        return ()
    tables = found.candidate.entry(Stage.INGEST).subjects_of("dataset")
    stored = found.candidate.entry(Stage.VALIDATE).subjects_of("contract")
    return tuple(_pairs(project, dict.fromkeys(tables) | stored, objects))


def _pairs(project: Project, stored: Mapping[str, Subject | None], objects: Objects) -> Iterator[Pair | Untold]:
    seen: set[tuple[str, str]] = set()
    by_id = {contract.id: table for table, contract in project.contracts.items()}
    known = [table for table in sorted(stored) if table in project.charter.sources]
    for table in (*known, *sorted(set(stored) - set(known))):
        subject = stored[table]
        before = _stored(subject, objects)
        if subject is None or isinstance(before, str):
            # of a table that is read no more too: whether its contract is there under another's name cannot be told
            yield Untold(contract=project.contracts[table].id if table in known else table, why=str(before))
            continue
        now = table if table in known else by_id.get(before[0].id)
        if now is None:
            continue  # the project reads it no more
        file = project.folder / project.charter.sources[now].contract
        place = (subject.digest, digests.of_file(file))
        if place[0] == place[1] or place in seen:
            continue
        seen.add(place)
        after, new = contract_file(file)
        if after.digest == before[0].digest:
            continue  # but for remarks
        yield Pair(before=before[0], after=after, old=before[1], new=new)


def _stored(subject: Subject | None, objects: Objects) -> tuple[Contract, dict[str, Any]] | str:
    """A contract of the champion's; else why it cannot be had."""
    if subject is None:
        return "the champion's evidence holds no contract of the table"
    try:
        file: Path = objects.fetch(subject.digest)
        return contract_file(file, origin=f"the champion's contract of {subject.name}")
    except NotFound:
        return f"its text {digests.short(subject.digest)} is not in the object store; restore it from a backup"
    except (DeclarationError, Problems) as error:
        told = error.problems[0].message if isinstance(error, Problems) else error.message
        return f"its text is read no more: {told}"
