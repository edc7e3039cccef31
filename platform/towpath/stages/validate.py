"""validate: the contracts, run as data checks; rows that fail are set aside with their reasons, the others go on.

What the contracts are about to take away is looked for in what the model reads, and what they changed since the
champion was made is held to deprecation windows and versions.
"""

from __future__ import annotations

from towpath.core.contract_held import CONTRACT
from towpath.core.deprecations import judged, leaving
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage
from towpath.core.slo import promises
from towpath.stages import deprecated, evolution, latency
from towpath.stages.work import Work, begin, compose, write


def validate(candidate: Candidate, work: Work) -> Candidate:
    """Check every dataset of the candidate against its contract, as seen from the as-of time."""
    contracts = work.project.contracts
    with work.scratch() as folder:
        reads = deprecated.readers(
            work.project,
            leaving(contracts),
            transforms=work.ports.transforms,
            features=work.ports.features,
            folder=folder,
        )
    inputs = {f"{CONTRACT}{table}": contract.digest for table, contract in contracts.items()}
    changes = evolution.findings(work)
    inputs |= {**deprecated.inputs(reads), **evolution.inputs(changes), **evolution.held(work, inputs)}
    begun = begin(Stage.VALIDATE, candidate, work, inputs)
    datasets = candidate.entry(Stage.INGEST).subjects_of("dataset")
    if begun.found is not None:
        return candidate.append(begun.found)
    tables = {table: work.ports.objects.fetch(subject.digest) for table, subject in datasets.items()}
    with work.scratch() as folder:
        work.progress.step(f"{len(contracts)} contracts on {sum(item.rows or 0 for item in datasets.values()):,} rows")
        unique = {contract.digest: contract for contract in contracts.values()}
        report = work.ports.checks.run(tables, tuple(unique.values()), as_of=work.as_of, folder=folder)
        files = {table: work.project.folder / source.contract for table, source in work.project.charter.sources.items()}
        subjects = [work.store("contract", table, file) for table, file in files.items()]
        for table, checked in report.tables.items():
            subjects.append(work.store("table", table, checked.accepted, rows=checked.rows))
            if checked.quarantine is not None:
                subjects.append(work.store("quarantine", table, checked.quarantine, rows=checked.quarantined))
        accepted = {table: checked.accepted for table, checked in report.tables.items()}
        late = latency.measured(promises(contracts), accepted, as_of=work.as_of)
        entry = compose(
            begun,
            subjects=subjects,
            findings=(*report.findings, *judged(reads, as_of=work.as_of.date()), *changes),
            facts={
                **({"latency": late} if late else {}),
                "accepted": {table: checked.rows for table, checked in report.tables.items()},
                "quarantined": {table: checked.quarantined for table, checked in report.tables.items()},
            },
            attachments=work.attach(report.page, report.raw),
        )
        return write(begun, entry, work)
