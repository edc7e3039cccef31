"""`towpath rollout replay`: from the ledger, or from an export of it that was verified first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from towpath.cli import output, rollout_told
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, IntegrityError, NotFound

if TYPE_CHECKING:
    from towpath.core.evidence import Record
    from towpath.core.rollout_orders import Replayed

Found = tuple[tuple["Record", "Replayed"], ...]


def replay(project: str | None, rollout_id: str | None, file: Path | None, *, as_json: bool) -> int:
    """Print what comes out of each decision. Returns an exit code."""
    from towpath.cli import asking
    from towpath.verbs import rollouts

    if file is not None:
        found = rollouts.replay_of(_exported(file, project, rollout_id))
    else:
        named = asking.rollout(project, rollout_id)
        found = asking.ask(rollouts.ROLLOUT_REPLAY, rollouts.AskRollout(rollout=named))
    if as_json:
        output.emit(found.body)
    else:
        rollout_told.replayed(found)
    return Exit.GOOD if found.same else Exit.INTEGRITY


def _exported(file: Path, project: str | None, rollout_id: str | None) -> Found:
    from towpath.ledger.export import read_export, verify_export
    from towpath.stages.canary import replayed
    from towpath.stages.rollout_row import rollout_of

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
