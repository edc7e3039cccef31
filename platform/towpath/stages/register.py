"""register: the model scanned, compiled and signed, a version in the registry that carries its evidence, its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from towpath.core import names
from towpath.core.bill import bill
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Subject
from towpath.core.gates import Stage
from towpath.core.terms import FACT, Terms
from towpath.measure import card
from towpath.measure.card import CardData, Cite, Feature, Figure, Judged, Plot, Table
from towpath.measure.importance import Importance
from towpath.measure.metrics import Estimate
from towpath.project import environment
from towpath.stages import judging
from towpath.stages.attest import Attesting, attest, attest_first, sign
from towpath.stages.cheaper import cheaper
from towpath.stages.compile import Served, compiled
from towpath.stages.scoring import Scoring
from towpath.stages.supply import refused
from towpath.stages.tracked import trained
from towpath.stages.work import Work, begin, compose, write

METRICS = {
    "roc_auc": "ROC AUC",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration": "Calibration error",
    "accuracy": "Accuracy",
    "rmse": "Root mean squared error",
    "mae": "Mean absolute error",
    "r2": "R²",
}
_UNITS = {"log_loss": "nats"}
_RUNTIMES = "3"  # of the compiled form, frozen terms and scan; another number registers every candidate anew


def register(candidate: Candidate, work: Work) -> Candidate:
    """Verify and scan the stored model, compile it, sign it, register the version with its evidence, attest it.

    A model whose files are refused is not loaded, and nothing is registered. The version number is the registry's and
    so no part of the entry's digest. Repeated after a kill, the version of the same run is found and completed, not
    doubled, and a candidate that was not attested is.
    """
    begun = begin(Stage.REGISTER, candidate, work, {"charter": work.project.charter_digest, "runtimes": _RUNTIMES})
    if begun.found is not None:
        grown = candidate.append(begun.found)
        if "version" in begun.found.notes:
            attest_first(grown, Attesting.of(work))
        return grown
    run = trained(candidate.entry(Stage.TRAIN))
    facts = {FACT: Terms.of(work.project.charter).body}
    with work.scratch() as folder:
        work.progress.step("the stored model, verified")
        saved = work.ports.models.verified(run, target=folder / "model")
        work.progress.step("its files, scanned")
        findings = [_registered(run.model_digest), *work.ports.supply.scanner.inspect(saved, subject="model")]
        subjects = [
            Subject(kind="model", name=work.name, digest=run.model_digest),
            Subject(kind="charter", name=work.name, digest=begun.inputs["charter"]),
        ]
        if refused(findings):
            return write(begun, compose(begun, subjects=subjects, findings=findings, facts=facts), work)
        work.progress.step("compile and compare")
        made = _served(candidate, work, saved, folder)
        findings += [finding for one in made.served for finding in one.findings]
        compiled_files = {one.kind: one.file for one in made.served if one.file is not None}
        subjects += [work.store("runtime", kind, file) for kind, file in compiled_files.items()]
        work.progress.step("signature")
        signed = sign(saved, compiled_files, Attesting.of(work))
        findings.append(signed.finding)
        draft = compose(begun, subjects=subjects, findings=findings, facts=facts)
        work.progress.step("registry")
        registered = work.ports.models.register(
            work.name,
            run,
            tags={
                names.TAG_PROJECT: work.name,
                names.TAG_CANDIDATE: draft.digest,
                names.TAG_MODEL: run.model_digest,
                names.TAG_OUTCOME: candidate.outcome.value,
            },
            alias=names.ALIAS_CANDIDATE,
        )
        work.progress.step("model card")
        files = [*_card(candidate, work, registered.version, folder, findings), _evidence(candidate, folder)]
        files.append(_bill(candidate, work, registered.version, made.architecture, subjects, folder))
        work.ports.models.attach(run.run_id, files, folder=names.EVIDENCE_FOLDER)
        entry = compose(
            begun,
            subjects=subjects,
            findings=findings,
            facts=facts,
            notes={"registered_model": registered.name, "version": registered.version},
            attachments=work.attach(*(file for file in files if file.suffix != ".png")),  # plots are evaluate's
        )
        grown = write(begun, entry, work)
        attest(grown, signed, Attesting.of(work))
        return grown


def _registered(model_digest: str) -> Finding:
    return Finding(
        code="register.model",
        outcome=Outcome.PASS,
        measured=model_digest,
        bound="the trained digest",
        reason="the registered model is, byte for byte, the one that was trained and evaluated",
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    """How a model will be served, the cheaper one included, and what kind of model it is in a word."""

    served: list[Served]
    architecture: str


def _served(candidate: Candidate, work: Work, saved: Path, folder: Path) -> _Made:
    """How the verified model of `saved` will be served, measured on the holdout, and the cheaper one when declared."""
    facts: Any = candidate.entry(Stage.TRAIN).facts
    holdout = pd.read_parquet(
        work.ports.objects.fetch(candidate.entry(Stage.FEATURIZE).subject("features", "holdout").digest)
    )
    model = work.ports.models.load(saved)
    main = compiled(
        model,
        saved,
        holdout=holdout,
        columns=list(facts["inputs"]),
        types=dict(facts["types"]),
        work=work,
        folder=folder / "compiled",
        scoring=Scoring.of(candidate.entry(Stage.TRAIN)),
    )
    second = cheaper(candidate, work, holdout=holdout, folder=folder / "cheaper")
    last = model.steps[-1][1] if hasattr(model, "steps") else model  # of a pipeline, the estimator
    return _Made(served=[main] if second is None else [main, second], architecture=type(last).__name__)


def _bill(
    candidate: Candidate, work: Work, version: str, architecture: str, subjects: Sequence[Subject], folder: Path
) -> Path:
    made = bill(
        candidate,
        work.project.charter,
        version=version,
        architecture=architecture,
        files=[item for item in subjects if item.kind == "runtime"],
        environment=environment(),
    )
    return work.ports.supply.bills.write(made, folder / names.BILL)


def _evidence(candidate: Candidate, folder: Path) -> Path:
    file = folder / "evidence.json"
    entries = [{**entry.model_dump(mode="json"), "digest": entry.digest} for entry in candidate.entries]
    file.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return file


def _card(candidate: Candidate, work: Work, version: str, folder: Path, findings: Sequence[Finding]) -> list[Path]:
    pictures = [
        (work.ports.objects.fetch(item.digest), item.name)
        for item in candidate.entry(Stage.EVALUATE).attachments
        if item.media_type == "image/png"
    ]
    files = []
    for source, name in pictures:
        files.append(folder / name)
        files[-1].write_bytes(source.read_bytes())
    markdown, html = card.render(_data(candidate, work, version, files, findings))
    for name, text in (("model_card.md", markdown), ("model_card.html", html)):
        files.append(folder / name)
        files[-1].write_text(text, encoding="utf-8")
    return files


def _data(
    candidate: Candidate, work: Work, version: str, pictures: list[Path], findings: Sequence[Finding]
) -> CardData:
    cites = {entry.stage: _cite(entry, work) for entry in candidate.entries}
    train, evaluation = candidate.entry(Stage.TRAIN), candidate.entry(Stage.EVALUATE)
    facts = _mapping(evaluation.facts)
    return CardData(
        name=work.name,
        version=version,
        charter=work.project.charter,
        candidate=candidate.id,
        candidate_digest=candidate.digest or "",
        model_digest=train.subject("model").digest,
        as_of=f"{work.as_of:%Y-%m-%d %H:%M} UTC",
        tables=_tables(candidate, cites),
        features=_features(candidate, work),
        features_at=cites[Stage.FEATURIZE],
        params=_mapping(train.facts["params"]),
        trained_at=cites[Stage.TRAIN],
        metrics=[
            Figure(
                name=METRICS[name],
                estimate=Estimate(**facts["metrics"][name]),
                unit=_UNITS.get(name, ""),
                cite=cites[Stage.EVALUATE],
            )
            for name in METRICS
            if name in facts["metrics"]
        ],
        evaluated_at=cites[Stage.EVALUATE],
        groups=[judging.group_of(group) for group in facts["groups"]],
        loss=judging.loss_name(work.project.charter.gates),
        importances=[Importance(**item) for item in facts["importance"]],
        findings=[
            Judged(finding=finding, cite=cites[entry.stage])
            for entry in candidate.entries
            for finding in entry.findings
        ],
        plots=[
            Plot(file=file.name, title=file.stem.capitalize(), png=file.read_bytes(), cite=cites[Stage.EVALUATE])
            for file in pictures
        ],
        serving=[item.reason for item in findings if item.code in ("register.parity", "register.cheaper")],
    )


def _cite(entry: Entry, work: Work) -> Cite:
    record = work.ports.ledger.find(entry.key)
    assert record is not None
    return Cite(sequence=record.sequence, stage=entry.stage, digest=entry.digest)


def _tables(candidate: Candidate, cites: Mapping[str, Cite]) -> list[Table]:
    found = []
    for kind, stage in (("dataset", Stage.INGEST), ("features", Stage.FEATURIZE)):
        for name, subject in candidate.entry(stage).subjects_of(kind).items():
            found.append(
                Table(
                    name=name,
                    rows=subject.rows or 0,
                    digest=subject.digest,
                    window=_window(candidate, name) if kind == "features" else "",
                    cite=cites[stage],
                )
            )
    return found


def _window(candidate: Candidate, name: str) -> str:
    facts = _mapping(candidate.entry(Stage.FEATURIZE).facts)
    start, end = facts["window"]
    split = facts["split"] or end
    since, until = (start, split) if name == "train" else (split, end)
    return f"{since[:10]} to {until[:10]}"


def _features(candidate: Candidate, work: Work) -> list[Feature]:
    views = _mapping(candidate.entry(Stage.FEATURIZE).facts["views"])
    kinds = _mapping(candidate.entry(Stage.TRAIN).facts["types"])
    origins = dict.fromkeys(work.project.charter.features.request, "request")
    origins |= {name: view for view, members in views.items() for name in members}
    return [Feature(name=name, origin=origin, kind=kinds[name]) for name, origin in origins.items()]


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value)
