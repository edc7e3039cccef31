"""reproduce: a candidate's model made again from its evidence alone, and what came out compared with what was recorded.

Nothing is read from a project's folder and nothing is written to the record. The features are built again from the
stored tables too, to say whether they still come out as they did; the model is fitted on those that were recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from towpath.core.errors import BadInput, NotFound
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.gates import Stage
from towpath.core.reproduction import Figure, Parts, Pin, Standing, What, compare
from towpath.core.task import Task
from towpath.measure import metrics, metrics_multiclass, metrics_regression
from towpath.ports import Ledger
from towpath.project import environment
from towpath.stages import pins, scratch
from towpath.stages import reproduce_again as made_again
from towpath.stages import reproduce_evidence as evidence
from towpath.stages.attested import require_attested
from towpath.stages.reproduce_again import Again, Reproducing
from towpath.stages.succession import require_whole
from towpath.stages.work import candidate_of, champion

CHAMPION: Final = "champion"
_MEASURES: Final[Mapping[Task, Callable[..., Any]]] = {
    Task.BINARY: metrics.measure,
    Task.MULTICLASS: metrics_multiclass.measure,
    Task.REGRESSION: metrics_regression.measure,
}
NEVER_PINNED: Final = (
    "what the training code reads beside its own Python files: other files, the network, the clock",
    "random numbers that it draws from anything but the seed that it is given",
    "the order of sets (PYTHONHASHSEED) and other variables of the environment",
    "libraries of the system that no Python distribution brings",
)
"""What no evidence says. When nothing that was pinned moved and the model differs all the same, it is one of these."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What was recorded, and what came out. `key`: the id of the key that attests the candidate, if it is registered.

    `gap`: the greatest difference of a prediction on the holdout; None where predictions cannot be compared.
    """

    candidate: str
    other: str | None = None
    key: str | None
    pins: tuple[Pin, ...]
    recorded: str
    found: str
    figures: tuple[Figure, ...]
    gap: float | None

    @property
    def same(self) -> bool:
        """Whether the model and every figure are the same, to the last bit."""
        return self.recorded == self.found and all(figure.same for figure in self.figures)

    @property
    def moved(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if pin.standing is Standing.MOVED)


def named(ledger: Ledger, project: str, version: str) -> Candidate:
    """The candidate of a registered version, or the ledger's champion. Raises `NotFound` with the versions there are.

    A version that was registered more than once (anew, after an update) is the last of its candidates.
    """
    if version == CHAMPION:
        crowned = champion(ledger, project)
        if crowned is None:
            raise NotFound(f"Project {project} has no champion.", value=project, hint="Name a version: NAME@3.")
        return crowned.candidate
    versions: dict[str, str] = {}
    for record in ledger.records(project=project, kind=RecordKind.ENTRY):
        if record.stage == Stage.REGISTER and "version" in record.entry().notes:
            versions[str(record.entry().notes["version"])] = record.digest
    if version not in versions:
        raise NotFound(
            f"{project} has no version {version!r}.", value=version, valid=[*versions, CHAMPION], hint="As NAME@3."
        )
    return candidate_of(ledger, project, versions[version])


def reproduce(candidate: Candidate, world: Reproducing) -> Reproduction:
    """Verify the evidence, make the model again, compare.

    Raises `NotFound` for a candidate whose evidence lacks something, `IntegrityError` for evidence that is not what was
    recorded or signed, `BadInput` for a candidate that has no model.
    """
    key = _verified(candidate, world)
    pinned = evidence.pinned(candidate, world.objects)
    recorded = evidence.recorded(candidate, pinned)
    found: dict[What, Parts] = {
        **_stored(candidate, world),
        What.CODE: recorded[What.CODE],  # verified, and what is run
        What.SEED: recorded[What.SEED],
        What.LIBRARIES: evidence.libraries(environment()),
        What.PYTHON: {"": environment()["python"]},
    }
    with scratch.made(world.scratch) as folder:
        again = made_again.model(candidate, pinned, world, folder)
        built, failed = made_again.features(candidate, pinned, world, folder)
    found[What.PLATFORM] = pins.machine()
    found[What.PARAMETERS] = evidence.parameters(again.params)
    if built is not None:
        found[What.FEATURES] = built
    train = candidate.entry(Stage.TRAIN)
    return Reproduction(
        candidate=candidate.id,
        key=key,
        pins=tuple(
            replace(pin, changes=(failed,)) if failed and pin.what is What.FEATURES else pin
            for pin in compare(recorded, found)
        ),
        recorded=train.subject("model").digest,
        found=again.digest,
        figures=(*_trials(train.facts, again), *_metrics(candidate, again)),
        gap=_gap(candidate, again, world),
    )


def against(candidate: Candidate, other: Candidate, world: Reproducing) -> Reproduction:
    """What two candidates were made of, and what came of it; nothing is made again. Raises as `reproduce` does."""
    key = _verified(candidate, world)
    _verified(other, world)
    first, second = (_recorded(one, world) for one in (candidate, other))
    before, after = (_figures(one) for one in (candidate, other))
    return Reproduction(
        candidate=candidate.id,
        other=other.id,
        key=key,
        pins=compare(first, second),
        recorded=candidate.entry(Stage.TRAIN).subject("model").digest,
        found=other.entry(Stage.TRAIN).subject("model").digest,
        figures=tuple(
            Figure(name=name, recorded=value, found=after.get(name, math.nan)) for name, value in before.items()
        ),
        gap=None,
    )


def _verified(candidate: Candidate, world: Reproducing) -> str | None:
    """The id of the key that attests it, if it is registered. The ledger is whole, and the candidate has a model."""
    world.told("the record and the signature, verified")
    require_whole(world.ledger.verify())
    if Stage.TRAIN not in candidate.stages or not candidate.entry(Stage.TRAIN).subjects_of("model"):
        raise BadInput(
            f"{candidate.id} has no model: it ended at {candidate.stages[-1] if candidate.stages else 'nothing'}.",
            value=candidate.id,
            hint="`towpath status` lists the candidates and where they ended.",
        )
    if Stage.REGISTER not in candidate.stages or "version" not in candidate.entry(Stage.REGISTER).notes:
        return None
    return require_attested(world.ledger, world.keys, candidate).key_id


def _recorded(candidate: Candidate, world: Reproducing) -> dict[What, Parts]:
    pinned = None if evidence.lacking(candidate) else evidence.pinned(candidate, world.objects)
    return evidence.recorded(candidate, pinned)


def _stored(candidate: Candidate, world: Reproducing) -> dict[What, Parts]:
    """The source tables, their bytes those that were recorded; nothing when one is no longer stored."""
    world.told("the data, verified")
    found = {}
    for name, subject in candidate.entry(Stage.INGEST).subjects_of("dataset").items():
        try:
            evidence.fetched(subject, world.objects)
        except NotFound:
            return {}
        found[name] = evidence.table(subject.rows or 0, subject.digest)
    return {What.DATA: found}


def _trials(facts: Mapping[str, Any], again: Again) -> Iterator[Figure]:
    """The sweep's metrics; one that did not come out again is no number, which equals none."""
    for number, before in enumerate(facts["trials"], start=1):
        found = again.trials[number - 1][1] if number <= len(again.trials) else {}
        for name, value in before["metrics"].items():
            yield Figure(name=f"trial {number} {name}", recorded=float(value), found=found.get(name, math.nan))


def _metrics(candidate: Candidate, again: Again) -> Iterator[Figure]:
    """The evaluation's metrics, of the model that was made again; without their intervals."""
    before = _figures(candidate)
    if not before:
        return
    measure = _MEASURES[again.scoring.task]
    found = measure(again.labels, again.scores, resamples=2)  # only the interval, which is not compared, needs more
    for name, value in before.items():
        yield Figure(name=name, recorded=value, found=getattr(found, name).value)


def _figures(candidate: Candidate) -> dict[str, float]:
    """The evaluation's metrics by name; none of a candidate that was not evaluated."""
    if Stage.EVALUATE not in candidate.stages:
        return {}
    found: Any = candidate.entry(Stage.EVALUATE).facts.get("metrics", {})
    return {name: float(estimate["value"]) for name, estimate in found.items()}


def _gap(candidate: Candidate, again: Again, world: Reproducing) -> float | None:
    if Stage.EVALUATE not in candidate.stages:
        return None
    subjects = candidate.entry(Stage.EVALUATE).subjects_of("predictions")
    try:
        before = pd.read_parquet(evidence.fetched(subjects["holdout"], world.objects))["score"].to_numpy()
    except (KeyError, NotFound):
        return None
    found = np.asarray(again.scoring.columns(again.scores)["score"])
    return float(np.max(np.abs(before - found))) if before.shape == found.shape else None
