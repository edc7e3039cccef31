"""What `towpath show` shows of a candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath.cli import output, standing_shown, walk
from towpath.cli.exports import report_folder, save
from towpath.cli.figures import figures
from towpath.core.digest import short
from towpath.core.errors import BadInput, IntegrityError, NotFound
from towpath.core.evidence import Candidate, Entry, Finding, Outcome
from towpath.core.gates import Stage, gate
from towpath.ports import Objects
from towpath.verbs import history

if TYPE_CHECKING:
    from towpath.verbs.candidates import Shown

_REASONS = "_reasons"
_FEW = 3  # findings of one gate that passed are shown one by one up to here


def whole(found: Shown, *, stage: str | None, as_json: bool) -> None:
    """The candidate, or one stage of it: refusals and approvals, then entries, findings, facts and attachments."""
    candidate = candidate_of(found)
    entries = (candidate.entry(stage),) if stage else candidate.entries
    rows = {str(row["digest"]): row for row in found.entries}
    if as_json:
        output.emit({**found.body, "entries": [rows[entry.digest] for entry in entries]})
        return
    console = output.results()
    console.print(f"{candidate.id}  {candidate.digest}", style="bold", soft_wrap=True)
    if candidate.outcome is not Outcome.PASS:
        walk.refusals(candidate)
    for record in found.decisions:
        why = f"{record.at:%Y-%m-%d %H:%M} UTC: {record.body.get('reason')}"
        console.print(f"{record.body.get('verdict')} by {record.actor}, {why}", soft_wrap=True)
    standing_shown.drawn(found)
    _entries(entries, rows)
    _findings(entries, every=stage is not None)
    if stage:
        console.print("Facts", style="bold")
        for name, value in entries[0].facts.items():
            console.print(f"  {name}: {_short(value)}", soft_wrap=True)
    _attachments(entries)


def candidate_of(found: Shown) -> Candidate:
    """The candidate that a document holds, its chain recomputed. Raises `IntegrityError` for one that is broken."""
    entries = [Entry.model_validate({name: row[name] for name in Entry.model_fields}) for row in found.entries]
    candidate = Candidate(project=found.project)
    for entry in entries:
        candidate = candidate.append(entry)
    if candidate.digest != found.digest:
        raise IntegrityError(
            f"What is told of {found.candidate} is not what its digest says.",
            gate="integrity.ledger",
            value=found.candidate,
        )
    return candidate


def finding(candidate: Candidate, code: str, *, as_json: bool) -> None:
    """Every finding of one gate, in full. Raises `DeclarationError` for no gate, `NotFound` for one not asked."""
    asked = gate(code)
    found = [(entry, item) for entry in candidate.entries for item in entry.findings if item.code == code]
    if not found:
        raise NotFound(
            f"Candidate {candidate.id} was not asked {code}.",
            value=code,
            valid=sorted({item.code for item in candidate.findings}),
        )
    if as_json:
        output.emit([{"stage": entry.stage, "entry": entry.digest, **history.refusal(item)} for entry, item in found])
        return
    console = output.results()
    console.print(f"{code}: {asked.asks}", style="bold", soft_wrap=True)
    for entry, item in found:
        _finding(entry, item)
    if any(item.outcome is not Outcome.PASS for _, item in found):
        console.print(asked.mend, soft_wrap=True)


def quarantine(candidate: Candidate, table: str, objects: Objects, *, limit: int, as_json: bool) -> None:
    """The first quarantined rows of a table, each with its reasons; what the contract classifies is withheld."""
    import pyarrow.parquet as pq

    entry = candidate.entry(Stage.VALIDATE)
    aside = entry.subjects_of("quarantine")
    tables = entry.subjects_of("table")
    if table not in tables:
        raise BadInput(f"Candidate {candidate.id} has no table {table!r}.", value=table, valid=sorted(tables))
    rows: list[dict[str, Any]] = []
    withheld: set[str] = set()
    if table in aside:
        with pq.ParquetFile(objects.fetch(aside[table].digest)) as file:
            rows = next(file.iter_batches(batch_size=limit)).to_pylist()
        withheld = _withheld(entry, table, objects)
    total = (aside[table].rows or 0) if table in aside else 0
    shown = [_row(row, withheld) for row in rows]
    if as_json:
        output.emit({"table": table, "quarantined": total, "withheld": sorted(withheld), "rows": shown})
        return
    console = output.results()
    console.print(f"{table}: {total:,} rows set aside" + (f", the first {len(shown):,}:" if total > len(shown) else ""))
    for number, row in enumerate(shown, start=1):
        for reason in row["reasons"]:
            console.print(f"{number:>6}  {reason}", soft_wrap=True)
        values = ", ".join(f"{name}={value}" for name, value in row["values"].items())
        console.print(f"        {values}", style="dim", soft_wrap=True)
    if total:
        console.print(
            f"All of them: towpath show {candidate.id} --save quarantine/{table} FILE.parquet", soft_wrap=True
        )


def write_out(candidate: Candidate, name: str, objects: Objects, *, target: Path | None, state: Path) -> Path:
    """Write an attachment, or a subject as `kind/name`, to `target` or to the candidate's report folder."""
    stored = {
        f"{subject.kind}/{subject.name}": subject.digest
        for entry in candidate.entries
        for subject in entry.subjects
        if subject.size is not None  # the others are named by digest only, and not stored
    }
    stored |= {item.name: item.digest for entry in candidate.entries for item in entry.attachments}
    if name not in stored:
        raise NotFound(f"Candidate {candidate.id} has nothing stored as {name!r}.", value=name, valid=sorted(stored))
    file = target or report_folder(state, candidate) / (name.replace("/", "-"))
    return save(objects, stored[name], file / Path(name).name if file.is_dir() else file).absolute()


def _withheld(entry: Entry, table: str, objects: Objects) -> set[str]:
    import yaml

    from towpath.core import contract as contracts

    subject = entry.subject("contract", table)
    document = yaml.safe_load(objects.fetch(subject.digest).read_text(encoding="utf-8"))
    columns = contracts.parse(document, origin=f"the contract of {table}").table(table).columns
    return {column.name for column in columns.values() if not column.shown}


def _row(row: Mapping[str, Any], withheld: set[str]) -> dict[str, Any]:
    values = {name: "(withheld)" if name in withheld else value for name, value in row.items() if name != _REASONS}
    return {"reasons": list(row.get(_REASONS) or []), "values": values}


def _entries(entries: tuple[Entry, ...], rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = output.table("record", "stage", "outcome", "entry", "when", "who", "figures", right=["record"])
    for entry in entries:
        row = rows[entry.digest]
        when = str(row["at"])[:16].replace("T", " ")
        outcome = output.badge(entry.outcome.value)
        table.add_row(
            str(row["sequence"]), entry.stage, outcome, short(entry.digest), when, str(row["actor"]), figures(entry)
        )
    output.results().print(table)


def _findings(entries: tuple[Entry, ...], *, every: bool) -> None:
    """The findings; unless every one is wanted, those of a gate that passed often in one line."""
    table = output.table("outcome", "gate", "subject", "reason")
    for entry in entries:
        passed = Counter(item.code for item in entry.findings if item.outcome is Outcome.PASS)
        crowds = set() if every else {code for code, count in passed.items() if count > _FEW}
        for code in sorted(crowds):
            table.add_row(output.badge("PASS"), code, f"{passed[code]} subjects", f"each of them: --finding {code}")
        for item in entry.findings:
            if item.outcome is Outcome.PASS and item.code in crowds:
                continue
            severity = " (warning)" if item.severity == "warning" and item.outcome is not Outcome.PASS else ""
            table.add_row(output.badge(item.outcome.value), item.code, item.subject, item.reason + severity)
    output.results().print(table)


def _finding(entry: Entry, item: Finding) -> None:
    console = output.results()
    subject = f" {item.subject}" if item.subject else ""
    console.print(output.badge(item.outcome.value), f"{entry.stage}{subject}: {item.reason}", soft_wrap=True)
    interval = f" [{item.interval[0]:g}, {item.interval[1]:g}]" if item.interval else ""
    lines = {
        "measured": f"{item.measured}{interval} {item.unit}".strip() if item.measured is not None else "",
        "bound": item.bound,
        "sample": f"{item.sample_size:,}" if item.sample_size is not None else "",
        "source": item.source,
        "severity": item.severity.value,
    }
    for name, value in lines.items():
        if value:
            console.print(f"    {name}: {value}", style="dim", soft_wrap=True)


def _attachments(entries: tuple[Entry, ...]) -> None:
    attached = [item for entry in entries for item in entry.attachments]
    if attached:
        names = ", ".join(f"{item.name} ({output.size(item.size)})" for item in attached)
        output.results().print(f"Attached: {names}. Open one with --open NAME.", soft_wrap=True)


def _short(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
