"""`towpath rollout replay`: from the ledger, or from an export of it that was verified first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath.cli import opening, output, rollout_told
from towpath.cli.exits import Exit
from towpath.cli.rollout_opening import latest, opened, project_of
from towpath.core.errors import BadInput, IntegrityError, NotFound

if TYPE_CHECKING:
    from towpath.core.evidence import Record
    from towpath.core.rollout_orders import Replayed

Found = tuple[tuple["Record", "Replayed"], ...]


def replay(project: str | None, rollout_id: str | None, file: Path | None, *, as_json: bool) -> int:
    """Print what comes out of each decision. Returns an exit code."""
    from towpath.stages.canary import code_digest

    found = _recorded(project, rollout_id) if file is None else _exported(file, project, rollout_id)
    rows: list[dict[str, Any]] = [
        {
            "decision": one.decision.decision_id,
            "record": record.sequence,
            "verdict": one.decision.verdict.value,
            "same": not one.differences,
            "same_code": one.decision.code_digest == code_digest(),
            "differences": list(one.differences),
        }
        for record, one in found
    ]
    same = all(item["same"] for item in rows)
    if as_json:
        output.emit({"rollout": found[0][1].decision.rollout_id, "same": same, "decisions": rows})
    else:
        rollout_told.replayed(rows)
    return Exit.GOOD if same else Exit.INTEGRITY


def _recorded(project: str | None, rollout_id: str | None) -> Found:
    """Also holds the row to its last decision."""
    from towpath.stages.canary import replayed, require_decided

    with opened(opening.settings()) as ports:
        row = latest(ports, project_of(project, ports.ledger), rollout_id)
        require_decided(ports.ledger, row)
        return replayed(ports.ledger.records(project=row.project), row.rollout_id)


def _exported(file: Path, project: str | None, rollout_id: str | None) -> Found:
    from towpath.ledger.export import read_export, verify_export
    from towpath.stages.canary import replayed, rollout_of

    try:
        with file.open("rb") as stream:
            verification = verify_export(stream)
            if not verification.whole:
                first = verification.faults[0]
                raise IntegrityError(
                    f"{file} is not as it was exported: record {first.sequence}: {first.what}",
                    gate="integrity.ledger",
                    value=first.sequence,
                    hint=f"`towpath ledger verify --file {file}` names every bad record.",
                )
            stream.seek(0)
            records = [record for record in read_export(stream) if rollout_of(record) is not None]
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}.", value=str(file)) from error
    known = list(dict.fromkeys(str(rollout_of(record)) for record in records if project in (None, record.project)))
    wanted = rollout_id or next(reversed(known), None)
    if wanted is None or wanted not in known:
        what = f"no rollout {rollout_id}" if rollout_id else "no rollout"
        raise NotFound(f"{file} holds {what}.", value=rollout_id, valid=known)
    return replayed(records, wanted)
