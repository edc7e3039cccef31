"""ingest: every declared source as it was at the as-of time, as an immutable dataset named by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, NotFound
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Subject
from towpath.core.gates import Stage
from towpath.core.masking import Masking
from towpath.ports import Snapshot
from towpath.stages.masks import maskings
from towpath.stages.work import Work, begin, compose, write


def ingest(candidate: Candidate, work: Work) -> Candidate:
    """Snapshot the sources, masked; the same content at the same time is the same entry.

    A source without a cheap fingerprint (a SQL table) is read before it is known whether it changed. A dataset that is
    gone from the store, or whose bytes changed there, is snapshotted again and must come out with its recorded digest.
    """
    charter = work.project.charter
    masks = maskings(work)
    with work.scratch() as folder:
        taken: dict[str, tuple[Snapshot, str]] = {}
        prints: dict[str, str] = {}
        for table, source in charter.sources.items():
            found = work.ports.sources.fingerprint(source.uri, base=work.project.folder)
            if found is None:
                taken[table] = _take(table, work, folder, masks)
                found = taken[table][1]
            prints[f"source/{table}"] = found
        inputs = {
            "as_of": work.as_of.isoformat(),
            "sources": work.project.section_digest("sources"),
            **{
                f"event_time/{table}": contract.event_time(table) or ""
                for table, contract in work.project.contracts.items()
            },
            **{f"masks/{table}": digests.of_json(masking.recorded()) for table, masking in masks.items()},
            **prints,
        }
        begun = begin(Stage.INGEST, candidate, work, inputs)
        if begun.found is not None:
            _repair(begun.found, work, folder, taken, masks)
            return candidate.append(begun.found)
        subjects: list[Subject] = []
        findings: list[Finding] = []
        columns: dict[str, dict[str, str]] = {}
        for table, source in charter.sources.items():
            work.progress.step(f"{table} from {source.uri}")
            snapshot, _ = taken.get(table) or _take(table, work, folder, masks)
            subjects.append(work.store("dataset", table, snapshot.file, rows=snapshot.rows))
            columns[table] = dict(snapshot.columns)
            findings.append(_rows(table, snapshot.rows, work.as_of))
        facts: dict[str, Any] = {"as_of": work.as_of.isoformat(), "columns": columns}
        if masks:
            facts["masks"] = {table: masking.recorded() for table, masking in masks.items()}
        entry = compose(begun, subjects=subjects, findings=findings, facts=facts)
        return write(begun, entry, work)


def _take(table: str, work: Work, folder: Path, masks: Mapping[str, Masking]) -> tuple[Snapshot, str]:
    column = work.project.contracts[table].event_time(table)
    until = (column, work.as_of) if column else None
    snapshot = work.ports.sources.snapshot(
        work.project.charter.sources[table].uri,
        base=work.project.folder,
        target=folder / f"{table}.parquet",
        until=until,
        masking=masks.get(table),
    )
    return snapshot, digests.of_file(snapshot.file)


def _repair(
    entry: Entry,
    work: Work,
    folder: Path,
    taken: Mapping[str, tuple[Snapshot, str]],
    masks: Mapping[str, Masking],
) -> None:
    for table, subject in entry.subjects_of("dataset").items():
        try:
            work.ports.objects.fetch(subject.digest)
        except (NotFound, IntegrityError) as error:
            work.progress.step(
                f"{table} again: the stored snapshot is {'gone' if isinstance(error, NotFound) else 'changed'}"
            )
            snapshot, digest = taken.get(table) or _take(table, work, folder, masks)
            if digest != subject.digest:
                raise IntegrityError(
                    f"The stored dataset {table} is damaged, and its source no longer gives the recorded rows.",
                    value=subject.digest,
                    hint="Restore the object store from its backup, or run with a newer --as-of.",
                ) from error
            work.ports.objects.put(snapshot.file)


def _rows(table: str, rows: int, as_of: datetime) -> Finding:
    return Finding(
        code="ingest.rows",
        outcome=Outcome.PASS if rows else Outcome.FAIL,
        subject=table,
        measured=rows,
        bound=">= 1",
        unit="rows",
        sample_size=rows,
        reason=f"{table}: {rows:,} rows known at {as_of:%Y-%m-%d %H:%M} UTC",
    )
