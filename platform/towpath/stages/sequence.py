"""Going along the path: each stage in its order, until the end or the first refusal."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, Unwritable
from towpath.core.evidence import Candidate, Finding, Incident, Outcome, RecordKind
from towpath.core.gates import Stage
from towpath.ports import Draft
from towpath.stages.evaluate import evaluate
from towpath.stages.featurize import featurize
from towpath.stages.ingest import ingest
from towpath.stages.monitor import monitor
from towpath.stages.register import register
from towpath.stages.train import train
from towpath.stages.validate import validate
from towpath.stages.waived import goes_on
from towpath.stages.work import Work

FUNCTIONS: Mapping[Stage, Callable[[Candidate, Work], Candidate]] = {
    Stage.INGEST: ingest,
    Stage.VALIDATE: validate,
    Stage.FEATURIZE: featurize,
    Stage.TRAIN: train,
    Stage.EVALUATE: evaluate,
    Stage.REGISTER: register,
    Stage.MONITOR: monitor,
}
_NOT_WRITTEN = {
    *(errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.EISDIR, errno.ENOSPC, errno.ENOTDIR),
    *(errno.EPERM, errno.EROFS),
}


def step(stage: Stage, candidate: Candidate, work: Work) -> Candidate:
    """One stage. Bytes that are not what was recorded become an incident in the ledger before the error goes on.

    A ledger that is itself not what was written gets none: nothing is appended to a chain that cannot be trusted. A
    disk that takes no file raises `Unwritable`, wherever in the stage it was.
    """
    work.progress.begin(stage.value)
    try:
        grown = FUNCTIONS[stage](candidate, work)
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        where = error.filename or work.state
        raise Unwritable(
            f"Stage {stage} cannot write {where}: {error.strerror}.",
            value=str(where),
            hint="Make room, or remove what is in the way, or set TOWPATH_STATE to a folder that can be written.",
        ) from error
    except IntegrityError as error:
        if error.gate != "integrity.ledger":
            _incident(stage, candidate, work, error)
        raise
    work.progress.end(stage.value, grown.entries[-1].outcome.value)
    return grown


def run(work: Work) -> Candidate:
    """The whole path; a refused candidate is returned with the entry that refused it."""
    candidate = Candidate(project=work.name)
    for stage in work.order:
        candidate = step(stage, candidate, work)
        if not goes_on(candidate, work.ports.ledger):
            break
    return candidate


def _incident(stage: Stage, candidate: Candidate, work: Work, error: IntegrityError) -> None:
    finding = Finding(
        code=error.gate,
        outcome=Outcome.FAIL,
        subject=stage.value,
        measured=None if error.value is None else str(error.value),
        reason=error.message,
    )
    incident = Incident(project=work.name, candidate=candidate.id, stage=stage.value, findings=(finding,))
    body = incident.model_dump(mode="json")
    work.ports.ledger.append(
        Draft(
            kind=RecordKind.INCIDENT,
            project=work.name,
            candidate=candidate.id,
            stage=stage.value,
            key=None,
            digest=digests.of_json(body),
            body=body,
        ),
        actor=work.actor,
    )
