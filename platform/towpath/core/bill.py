"""What a model's bill of materials says: the model with its card, the data that it was made of, its libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towpath.core import digest as digests
from towpath.core.charter import Charter
from towpath.core.evidence import Candidate, Subject
from towpath.core.gates import Stage


@dataclass(frozen=True, kw_only=True)
class Part:
    """A component: a dataset, a compiled file or a library."""

    name: str
    version: str
    digest: str | None = None
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure of the model card, with its interval and the slice that it is of."""

    name: str
    value: str
    slice: str | None = None
    interval: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a bill of materials says of a candidate. Digests as this project writes them."""

    name: str
    version: str
    purpose: str
    owner: str
    risk: str
    architecture: str
    model_digest: str
    inputs: Sequence[str]
    target: str
    metrics: Sequence[Measured]
    datasets: Sequence[Part]
    files: Sequence[Part]
    libraries: Sequence[Part]
    limitations: Sequence[str]
    properties: Mapping[str, str]


def bill(
    candidate: Candidate,
    charter: Charter,
    *,
    version: str,
    architecture: str,
    files: Sequence[Subject],
    environment: Mapping[str, str],
) -> Bill:
    """The bill of an evaluated candidate. `environment`: distributions and their versions, and Python's."""
    train, evaluation = candidate.entry(Stage.TRAIN), candidate.entry(Stage.EVALUATE)
    inputs: Any = train.facts["inputs"]
    features = candidate.entry(Stage.FEATURIZE).subjects_of("features")
    datasets = candidate.entry(Stage.INGEST).subjects_of("dataset")
    datasets |= {f"features/{name}": item for name, item in features.items()}
    recorded = train.subject("environment").digest
    return Bill(
        name=candidate.project,
        version=version,
        purpose=charter.purpose,
        owner=f"{charter.owner.name} <{charter.owner.email}>",
        risk=charter.risk.value,
        architecture=architecture,
        model_digest=train.subject("model").digest,
        inputs=tuple(inputs),
        target=charter.training.target,
        metrics=_metrics(evaluation.facts),
        datasets=[_part(name, item) for name, item in sorted(datasets.items())],
        files=[_part(item.name, item) for item in files],
        libraries=[Part(name=name, version=found) for name, found in environment.items()],
        limitations=[
            f"{finding.code} {finding.subject}: {finding.reason}".replace(" :", ":")
            for finding in candidate.findings
            if finding.severity == "warning" and finding.outcome != "PASS"
        ],
        properties={
            "towpath:evaluated": str(evaluation.digest),
            "towpath:code": train.subject("code").digest,
            "towpath:commit": str(train.notes.get("commit", "")),
            "towpath:environment": recorded,
            "towpath:libraries": "as trained" if digests.of_json(dict(environment)) == recorded else "as registered",
        },
    )


def _metrics(facts: Mapping[str, Any]) -> list[Measured]:
    found = [_measured(name, estimate) for name, estimate in sorted(facts["metrics"].items())]
    found += [
        _measured(name, estimate, slice=f"{group['by']}={group['value']}")
        for group in facts["groups"]
        for name, estimate in (("roc_auc", group.get("roc_auc")), (group.get("measure", ""), group.get("estimate")))
        if estimate
    ]
    return found


def _measured(name: str, estimate: Mapping[str, Any], *, slice: str | None = None) -> Measured:  # noqa: A002 - its word
    low, high = (f"{estimate[end]:.6g}" for end in ("low", "high"))
    return Measured(name=name, value=f"{estimate['value']:.6g}", slice=slice, interval=(low, high))


def _part(name: str, item: Subject) -> Part:
    return Part(name=name, version=digests.short(item.digest), digest=item.digest, rows=item.rows)
